"""Mutated bytes of every format: a picture or a cause, never a crash, and within the memory that one photo may take.

`RSRL_FUZZ=100000 pytest -n 0 -s tests/photos/test_fuzz.py` mutates more, and asks for 5 seconds of CPU a photo at most.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from photos.test_kinds import COLOUR, READ, as_8, heif

LONG = "RSRL_FUZZ" in os.environ
COUNT = int(os.environ.get("RSRL_FUZZ", "600"))

FUZZ = """
import faulthandler, resource, sys, time
from collections import Counter
from pathlib import Path
import numpy as np
from rsrl_ray.photos.picture import decode_photo
faulthandler.enable()
SIZES = [0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]
seeds = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
generator = np.random.default_rng(int(sys.argv[3]))
outcomes, slowest = Counter(), 0.0
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def mutated(data):
    data = bytearray(data)
    for _ in range(generator.integers(1, 6)):
        place = int(generator.integers(min(len(data), 64) if generator.random() < 0.5 else len(data)))
        kind = generator.integers(5)
        if kind == 0:
            data[place] = int(generator.integers(256))
        elif kind == 1:
            data[place] ^= 1 << int(generator.integers(8))
        elif kind == 2:
            del data[place : place + int(generator.integers(1, 9))]
        elif kind == 3:
            data[place:place] = bytes(generator.integers(0, 256, int(generator.integers(1, 9)), dtype=np.uint8))
        else:  # a length or a size
            data[place : place + 4] = int(generator.choice(SIZES)).to_bytes(4, "big")
        if not data:
            break
    return bytes(data)

for number in range(int(sys.argv[2])):
    data = mutated(seeds[int(generator.integers(len(seeds)))])
    Path(sys.argv[4]).write_bytes(data)
    began = time.process_time()
    try:
        assert decode_photo(data, 8).shape == (8, 8, 3)
        outcomes["read"] += 1
    except ValueError as error:
        outcomes[type(error).__name__] += 1
    took = time.process_time() - began
    if took > slowest:
        slowest = took
        Path(sys.argv[4]).with_suffix(".slow").write_bytes(data)
took = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
print(dict(outcomes), f"{slowest:.2f} s", file=sys.stderr)
print(sum(outcomes.values()), outcomes["read"], took, slowest)
"""


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    for place, data in enumerate([*READ.values(), heif(as_8(COLOUR))]):
        (folder / f"{place:02}").write_bytes(data)
    return folder


def test_mutated_pictures(seeds: Path, tmp_path: Path) -> None:
    last = tmp_path / "last"  # what a crash was of
    seed = int(np.random.default_rng().integers(2**31)) if LONG else 0
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, seeds, str(COUNT), str(seed), last], capture_output=True, text=True, timeout=36_000
    )
    print(done.stderr, seed, last.with_suffix(".slow"))
    assert done.returncode == 0, (done.stderr, last.read_bytes()[:200])
    count, read, took, slowest = map(float, done.stdout.split())
    assert count == COUNT and 0 < read < COUNT
    assert took < 2**30
    assert slowest < 5 or not LONG
