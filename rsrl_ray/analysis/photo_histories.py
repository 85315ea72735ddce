"""Which photos a method dropped most, which came back, which it never kept; and single photos under every method."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rsrl_ray.analysis.data import Sweep
from rsrl_ray.analysis.ledger import History, came_back, dropped_most, history, never_kept
from rsrl_ray.analysis.measures import TEST, TRAIN, VALIDATION, incomplete, trials_of

EACH = 8  # photos of a list, and
LISTS = 200  # photos of all lists together, but for
FEWEST = 2  # photos of a list


@dataclass(frozen=True)
class Listed:
    """A list of photos. count : how many there are of this kind. rows : of those to show, among the sweep's photos."""

    heading: str
    count: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Course:
    """What became of one photo under one method; R rounds, as many as its longest trial has.

    folds, dropping : how many folds train on it, and how many of them dropped it for a round at least.
    times, of : in how many of their rounds it was dropped, and of how many (round 1, which drops nothing, not counted).
    returned : how often it came back, all these folds together.
    dropped : [R], share of these folds that dropped it. self_confidence : [R], their mean. tested : [R], the mean of
        the folds that test on it. NaN where there is none.
    assigned, as_test : the score that most last networks of these, of the testing folds assign (ties: the lower); None
        where there is none.
    """

    method: str
    folds: int
    dropping: int
    times: int
    of: int
    returned: int
    dropped: NDArray[np.float64]
    self_confidence: NDArray[np.float64]
    tested: NDArray[np.float64]
    assigned: int | None
    as_test: int | None


def lists(sweep: Sweep, methods: Sequence[str]) -> dict[str, list[Listed]]:
    """By method, what it never kept, what else it dropped most, and what came back; none for one that drops nothing."""
    so_far = dict.fromkeys(incomplete(sweep), " so far")
    # one method's history at a time is held
    found = {method: _lists(history(sweep, method), so_far.get(method, "")) for method in methods}
    dropping = {method: each for method, each in found.items() if any(listed.count for listed in each)}
    most = longest(len(dropping))
    return {method: [replace(each, rows=each.rows[:most]) for each in found] for method, found in dropping.items()}


def longest(methods: int) -> int:
    """How many photos a list holds at most: so many that the lists of all these methods fit one page."""
    return max(FEWEST, min(EACH, LISTS // (3 * max(1, methods))))


def _lists(found: History, so_far: str) -> list[Listed]:
    """so_far : a word for a method that lacks rounds or folds, of which more may say otherwise."""
    most = dropped_most(found)
    kinds = {
        f"Never kept once dropping began{so_far}": never_kept(found),
        f"Dropped most often, but kept at times{so_far}": most[~found.is_never_kept[most]],
        f"Dropped, and back in the last round{so_far}": came_back(found),
    }
    return [Listed(heading, len(rows), tuple(rows[:EACH].tolist())) for heading, rows in kinds.items()]


def courses(sweep: Sweep, method: str, rows: Sequence[int]) -> list[Course]:
    """The photos at ``rows`` under a method with a logged round."""
    trials, picked = trials_of(sweep, method), np.array(rows, dtype=np.int64)
    shape = max(len(trial.kept) for trial in trials), len(picked)
    dropped, trained, tests = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    confidence, tested = np.zeros(shape), np.zeros(shape)
    votes, test_votes = np.zeros((2, len(picked), len(sweep.classes)), np.int64)
    dropping, of, returned = np.zeros((3, len(picked)), np.int64)
    for trial in trials:
        rounds, split = len(trial.kept), trial.split[picked]
        gone = ~trial.kept[:, picked] & (split == TRAIN)
        dropped[:rounds] += gone
        dropping += gone.any(axis=0)
        returned += (gone[:-1] & ~gone[1:]).sum(axis=0)
        of += np.where(split == TRAIN, rounds - 1, 0)
        place = np.searchsorted(sweep.classes, trial.predicted[-1, picked])
        sure = trial.self_confidence[:, picked]  # once: of a large sweep it is read from files
        for part, count, total, vote in ((TRAIN, trained, confidence, votes), (TEST, tests, tested, test_votes)):
            within = split == part
            count[:rounds] += within
            total[:rounds] += np.where(within, sure, 0)
            vote[within, place[within]] += 1
    with np.errstate(invalid="ignore"):
        shares, means, test_means = dropped / trained, confidence / trained, tested / tests
    return [
        Course(
            method=method,
            folds=int(votes[place].sum()),
            dropping=int(dropping[place]),
            times=int(dropped[:, place].sum()),
            of=int(of[place]),
            returned=int(returned[place]),
            dropped=shares[:, place],
            self_confidence=means[:, place],
            tested=test_means[:, place],
            assigned=_most(votes[place], sweep.classes),
            as_test=_most(test_votes[place], sweep.classes),
        )
        for place in range(len(picked))
    ]


def fold_words(sweep: Sweep, row: int) -> str:
    """Which folds train, choose the round and test on a photo."""
    parts = {trial.fold: int(trial.split[row]) for trial in sweep.trials.values()}
    said = []
    for part, words in ((TEST, "test photo"), (VALIDATION, "validation photo"), (TRAIN, "training photo")):
        folds = sorted(fold for fold, own in parts.items() if own == part)
        if folds:
            said.append(f"{words} of fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}")
    return "; ".join(said)


def _most(votes: NDArray[np.int64], classes: NDArray[np.int64]) -> int | None:
    return int(classes[votes.argmax()]) if votes.any() else None
