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

    digest : of their names and scores, at most 36 characters. source : where the table lies. counts : photos by score.
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
        return self.key.title

    @property
    def place(self) -> dict[str, str]:
        """Its fold and method, as its run says them."""
        return {"fold": str(self.key.fold), METHOD: self.key.method}


@dataclass(frozen=True)
class BestSoFar:
    """A round that is better than all rounds before it. At the end of a trial the last such round is the chosen one.

    created : Unix time of the round. values : ``round`` (its number) and its measures; nan for a measure that only an
    earlier round has.
    """

    number: int
    created: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Round:
    """A round as it is logged: the values of its metrics, and a note for the reader, which may be empty.

    link, created : key and weights of the archived round, and its Unix time. write : writes its files into a folder.
    choice : if it is better than all rounds before it.
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

    trials : those of the file, by id. rounds : how many the file asks for in each. scores : the distinct scores of the
    photos, ascending. former : the id of this sweep in versions that dealt groups to folds in another way; "" if
    there is none.
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
    """How busy a node was at a Unix time. values : by MLflow's names of system metrics, without ``system/``.

    node : its address; "" if there is one node only.
    """

    node: str
    time: float
    values: Mapping[str, float]
