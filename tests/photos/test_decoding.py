"""Many pictures at once: in threads, with what is wrong for each, and no photo decoded by two versions of Pillow."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from rsrl_ray.photos.decoding import (
    Decoder,
    Threads,
    chunks,
    decode_photos,
    digest_row,
    in_threads,
    read_digests,
)


@pytest.fixture
def pictures(tmp_path: Path) -> Any:
    """Good, no picture, not there."""
    Image.new("RGB", (8, 6), (10, 20, 30)).save(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("no picture")
    return [str(tmp_path / name) for name in ("good.png", "text.png", "gone.png")]


def outcome(found: Any) -> Any:
    return [one if isinstance(one, str) else one.tolist() for one in found]


def test_what_can_be_read(pictures: Any) -> None:
    good = digest_row(Path(pictures[0]).read_bytes()).tolist()
    text = digest_row(b"no picture").tolist()
    gone = f"missing (there is no {pictures[2]})"
    assert outcome(read_digests(pictures)) == [good, text, gone]


def test_rows_are_decoded(pictures: Any) -> None:
    decode = Decoder(2, 0.75).rows_of(pictures)
    good = np.broadcast_to([10, 20, 30], (2, 2, 3)).tolist()
    assert outcome(decode(range(0, 2))) == [good, "not a picture that Pillow can read"]
    assert decode(range(1, 2)) == ["not a picture that Pillow can read"]


def test_another_pillow_decodes_nothing(pictures: Any) -> None:
    assert len(decode_photos(pictures[:1], 2, 0.75, PIL.__version__)) == 1
    with pytest.raises(ValueError, match=rf"^Pillow is 1\.0 on one machine and {PIL.__version__} on another"):
        decode_photos(pictures[:1], 2, 0.75, "1.0")


def test_threads_take_what_is_good_and_tell_their_progress() -> None:
    told, taken = [], {}

    def work(rows: Any) -> Any:
        return ["odd" if row % 2 else np.full(1, row) for row in rows]

    causes = in_threads(chunks(70), work, taken.__setitem__, Threads("reading", lambda *what: told.append(what)))
    assert causes == dict.fromkeys(range(1, 70, 2), "odd")
    assert taken == {row: np.full(1, row) for row in range(0, 70, 2)}
    assert told == [("reading", 32, 70), ("reading", 64, 70), ("reading", 70, 70)]


def test_as_many_threads_as_are_asked_for() -> None:
    both = threading.Barrier(2, timeout=20)

    def work(rows: Any) -> Any:
        both.wait()
        return [""] * len(rows)

    in_threads(chunks(4 * 32), work, None, Threads("reading", None, 2))
    both = threading.Barrier(2, timeout=0.2)
    with pytest.raises(threading.BrokenBarrierError):
        in_threads(chunks(4 * 32), work, None, Threads("reading", None, 1))


def test_an_interrupt_does_not_wait_for_what_is_queued() -> None:
    done = []

    def work(rows: Any) -> Any:
        threading.Event().wait(0.03)
        done.extend(rows)
        return [""] * len(rows)

    def interrupt(what: Any, now: Any, total: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_threads(chunks(20_000), work, None, Threads("reading", interrupt))
    assert len(done) < 10_000
