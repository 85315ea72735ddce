"""What a sweep's driver tells MLflow, as values: of the sweep, of a trial, of a round."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsrl_ray.core.trial import Link, TrialKey
from rsrl_ray.tracking.names import METHOD


@dataclass(frozen=True)
class FoldData:
    """Photos of a fold as a data set: ``context`` is train, validation or test.

    digest : of their names and scores, 36 characters at most. source : where the table lies. counts : photos by score.
    """

    context: str
    digest: str
    source: str
    counts: Mapping[int, int]


@dataclass(frozen=True)
class Trial:
    """A trial to log: ``id`` is the same for the same fold, method, recipe and data.

    note : its description. data : what it is trained and measured on.
    """

    id: str
    key: TrialKey
    tags: Mapping[str, str]
    note: str = ""
    data: tuple[FoldData, ...] = ()

    @property
    def name(self) -> str:
        """Name of the run in MLflow's UI."""
        return f"{self.key.method}, fold {self.key.fold}"

    @property
    def place(self) -> dict[str, str]:
        """Its place among the trials, as its run says it."""
        return {"fold": str(self.key.fold), METHOD: self.key.method}


@dataclass(frozen=True)
class BestSoFar:
    """A round that was better than all before it: at the end of a trial, the last of these is the chosen one.

    created : Unix time of the round. values : ``round``, its number, and its measures; nan if it lacks one that an
    earlier round has.
    """

    number: int
    created: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Round:
    """A round as it is logged: its metrics' values, and a note for the reader if not empty.

    link, created : the archived round's key and weights, and its Unix time. write : writes its files into a folder.
    choice : where it is better than all before it.
    """

    number: int
    values: Mapping[str, float]
    note: str
    link: Link
    created: float
    write: Callable[[Path], None]
    choice: BestSoFar | None = None


@dataclass(frozen=True)
class SweepRun:
    """What a sweep's parent run says. ``files`` : artifacts by name, as text.

    trials : of the file, by id; of each it asks for so many ``rounds``. scores : the distinct scores of the photos,
    ascending. former : the id that a sweep of these photos had whose groups were dealt to folds in another way.
    """

    id: str
    params: Mapping[str, Any]
    note: str
    files: Mapping[str, str]
    tags: Mapping[str, str]
    trials: Mapping[str, TrialKey] = field(default_factory=dict)
    scores: tuple[int, ...] = ()
    rounds: int = 1
    former: str = ""


@dataclass(frozen=True)
class Reading:
    """What a node was busy with at a Unix time: MLflow's names of system metrics, without ``system/``.

    node : its address; "" if there is one node only.
    """

    node: str
    time: float
    values: Mapping[str, float]
