"""Notes on who needs data and weights in a storage. Each note is a file, so no two processes write the same file."""

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

EVERY_ROUND, WAITING = "every round", "trials that wait"  # reasons why a sweep itself needs weights
_END, _MODEL = ".user", "registered-"


@dataclass(frozen=True)
class Holder:
    """Somebody who needs something. id : name of the note. experiment, who : for people."""

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
    """A whole sweep, which needs weights. why : `EVERY_ROUND` or `WAITING`."""
    return Holder(digest([experiment, sweep, why]), experiment, why)


def model_holder(experiment: str, name: str) -> Holder:
    """A registered model."""
    return Holder(f"{_MODEL}{name}", experiment, name, "model")


def is_model(holder_id: str) -> bool:
    """Whether this is the name of a note of `model_holder`. Models of several experiments may have the same note."""
    return holder_id.startswith(_MODEL)


def data_holder(experiment: Experiment, sweep: str) -> Holder:
    """A sweep that uses decoded photos or features. sweep : its id.

    If the storage is a bucket, it is part of the experiment's name, because a machine has one folder for all buckets.
    """
    storage = Location(experiment.storage)
    owner = f"{experiment.name} in {storage}" if storage.is_uri else experiment.name
    return Holder(digest([owner, sweep]), owner, sweep, "sweep")


def hold_file(file: Path, holder: Holder) -> None:
    """Note beside a file of this machine who uses it. The note has the time of the last use."""
    with suppress(OSError):  # on a full disk there is no note, so it is not known who needs the file
        write_whole(_note(file, holder.id), json.dumps(holder.words))


def file_holders(file: Path) -> dict[str, Mapping[str, str]]:
    """The notes of who uses a file, by their names."""
    found = {}
    for note in file.parent.glob(f"{file.stem}.*{_END}"):
        with suppress(OSError):
            found[note.name.removeprefix(f"{file.stem}.").removesuffix(_END)] = words_of(note.read_bytes())
    return found


def release_file(file: Path, holder_id: str) -> None:
    """Delete the note that this holder uses the file."""
    _note(file, holder_id).unlink(missing_ok=True)


def words_of(content: bytes | None) -> Mapping[str, str]:
    """The words of a note; empty if it is gone or cannot be read."""
    try:
        found = json.loads(content or b"")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _note(file: Path, holder_id: str) -> Path:
    return file.with_suffix(f".{holder_id}{_END}")
