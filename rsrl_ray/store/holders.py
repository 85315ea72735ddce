"""Who needs what lies in a storage: a note of each is a file, so those who share a storage never write the same one."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rsrl_ray.config import Experiment
from rsrl_ray.core.digest import digest
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.store.files import write_whole
from rsrl_ray.store.location import Location

EVERY_ROUND, WAITING = "every round", "trials that wait"  # for which a sweep itself needs weights
_END, _MODEL = ".user", "registered-"


@dataclass(frozen=True)
class Holder:
    """Somebody who needs something: ``id`` is the name of the note, ``experiment`` and ``who`` say it to people."""

    id: str
    experiment: str
    who: str
    kind: Literal["trial", "model", "sweep"] = "trial"

    @property
    def words(self) -> dict[str, str]:
        """The content of the note."""
        return {"experiment": self.experiment, self.kind: self.who}


def trial_holder(experiment: str, trial: TrialKey, trial_id: str) -> Holder:
    """A trial, which needs the weights of its newest and its best round."""
    return Holder(digest([experiment, trial_id]), experiment, str(trial))


def sweep_holder(experiment: str, sweep: str, why: str) -> Holder:
    """A sweep as a whole, which needs weights because of ``why``: `EVERY_ROUND` or `WAITING`."""
    return Holder(digest([experiment, sweep, why]), experiment, why)


def model_holder(experiment: str, name: str) -> Holder:
    """A registered model."""
    return Holder(f"{_MODEL}{name}", experiment, name, "model")


def is_model(holder_id: str) -> bool:
    """Whether it is the name of a note of `model_holder`; models of several experiments may share one."""
    return holder_id.startswith(_MODEL)


def data_holder(experiment: Experiment, sweep: str) -> Holder:
    """A sweep that uses decoded photos or features, by its id.

    Those of all buckets lie in one folder of a machine, so there the bucket belongs to the name of the experiment.
    """
    storage = Location(experiment.storage)
    owner = f"{experiment.name} in {storage}" if storage.is_uri else experiment.name
    return Holder(digest([owner, sweep]), owner, sweep, "sweep")


def hold_file(file: Path, holder: Holder) -> None:
    """Note beside a file of this machine who uses it; the note's time is that of the last use."""
    with suppress(OSError):  # a full disk: the file is one of which it is not known who needs it
        write_whole(_note(file, holder.id), json.dumps(holder.words))


def file_holders(file: Path) -> dict[str, Mapping[str, str]]:
    """By their names, the notes of who uses a file."""
    found = {}
    for note in file.parent.glob(f"{file.stem}.*{_END}"):
        with suppress(OSError):
            found[note.name.removeprefix(f"{file.stem}.").removesuffix(_END)] = words_of(note.read_bytes())
    return found


def release_file(file: Path, holder_id: str) -> None:
    """It uses the file no more."""
    _note(file, holder_id).unlink(missing_ok=True)


def words_of(content: bytes | None) -> Mapping[str, str]:
    """What a note says; nothing where it is gone or cannot be read."""
    try:
        found = json.loads(content or b"")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _note(file: Path, holder_id: str) -> Path:
    return file.with_suffix(f".{holder_id}{_END}")
