"""The sweep and the trials that an experiment file stands for, found among all that MLflow holds of its name.

A sweep is compared by recipe, starting weights and photos, a trial by its method. All commands that read results use
this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from rsrl_ray.config import NAMED_WEIGHTS, Experiment
from rsrl_ray.core.selection import (
    TEST,
    VALIDATION,
    Curves,
    Split,
    choose,
    default_criterion,
    split_of_curves,
)
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.identity import photos_digest, recipe, weights_digest
from rsrl_ray.method import Method, methods_of
from rsrl_ray.photos.groups import names_digest
from rsrl_ray.photos.table import Table, read_table
from rsrl_ray.tracking.names import CHOOSES, DEVICE, GROUPS, LEFT_OUT_FILE, TABLE, VERSIONS, WEIGHTS
from rsrl_ray.tracking.read import TrackedResults, TrackedRun, cut, open_results

WEIGHTS_KNOB = "network.weights"
ScoredName = tuple[str, int]  # name and score


@dataclass(frozen=True)
class TrialState:
    """A trial's run and some of its curves by metric, [R] each, R the rounds that it is cut to."""

    run: TrackedRun
    curves: Curves


@dataclass(frozen=True)
class Chosen:
    """The chosen round of every trial that has one, and the photos that rounds of this sweep are chosen on."""

    split: Split
    rounds: dict[TrialKey, int]


@dataclass(frozen=True)
class Found:
    """A file's results: the sweep's parent run and the trials that were begun, method by method as in the file.

    A trial's rounds are cut to those that the file asks for. differs : sentences on what is not as in the file.
    is_own : whether the sweep is the file's own, and not an older one with another recipe, other weights or photos.
    """

    results: TrackedResults
    sweep: TrackedRun
    trials: dict[TrialKey, TrackedRun]
    differs: tuple[str, ...]
    is_own: bool

    @cached_property
    def states(self) -> Mapping[TrialKey, TrialState]:
        """Every trial with its curves of macro F and of the kept photos."""
        runs = list(self.trials.values())
        found = {name: self.results.curves(runs, name) for name in (VALIDATION, TEST, "train_size")}
        return {
            key: TrialState(run, {name: curves[run.id] for name, curves in found.items()})
            for key, run in self.trials.items()
        }

    @cached_property
    def split(self) -> Split:
        """The photos that the sweep's rounds are chosen on; the curves tell it if an older version made the sweep."""
        told = self.sweep.tags.get(CHOOSES)
        if told is None:
            return split_of_curves(state.curves for state in self.states.values())
        return "validation" if told == "validation" else "test"

    def chosen(self, first: int = 1) -> Chosen:
        """The chosen rounds among those from ``first`` on."""
        curves = {key: state.curves for key, state in self.states.items()}
        return Chosen(self.split, choose(curves, default_criterion(self.split), first=first))


def find_results(experiment: Experiment) -> Found:
    """The newest sweep that is the file's own; if there is none, the newest, and what differs.

    Raises
    ------
    ValueError
        If there is no sweep yet, or MLflow cannot be read.
    """
    results = open_results(experiment)
    sweeps = results.sweep_runs()
    if not sweeps:
        raise ValueError(
            f"no sweep of {experiment.name} is in MLflow; run `rsrl sweep` on the file first, or restore its runs "
            "if they were deleted"
        )
    table = _table(experiment)
    first: list[str] = []
    for sweep in sweeps:
        differs = _differences(sweep, experiment, table)
        if not differs:
            unknown = [f"{experiment.photos} cannot be read here, so the sweep's photos were not compared with it."]
            return _found(results, sweep, experiment, unknown if table is None else [], True)
        first = first or differs
    told = f"The file has changed since it was last swept; these are the older results: {'; '.join(first)}."
    return _found(results, sweeps[0], experiment, [told], False)


def own_sweeps(experiment: Experiment) -> list[TrackedRun]:
    """All sweeps that do not differ from the file; the one that was taken up last comes first.

    Raises
    ------
    ValueError
        If there is none; it says how the newest differs.
    """
    table, sweeps = _table(experiment), open_results(experiment).sweep_runs()
    differences = [_differences(sweep, experiment, table) for sweep in sweeps]
    own = [sweep for sweep, differs in zip(sweeps, differences, strict=True) if not differs]
    if not own:
        differs = "; ".join(differences[0] if differences else ["no sweep of it is in MLflow"])
        raise ValueError(
            f"{experiment.name} was not swept as the file stands now ({differs}); run `rsrl sweep` on it first"
        )
    return own


def changed_knobs(before: dict[str, str], now: dict[str, object]) -> list[str]:
    """The knobs in which two recipes differ, in words; without the file of weights, whose place may be another one."""
    names = dict.fromkeys([*now, *before])
    return [
        f"{knob} was {before.get(knob, 'not there')}, is {now.get(knob, 'its default')}"
        for knob in names
        if knob != WEIGHTS_KNOB and before.get(knob) != (str(now[knob]) if knob in now else None)
    ]


def _found(
    results: TrackedResults, sweep: TrackedRun, experiment: Experiment, differs: list[str], is_own: bool
) -> Found:
    runs = results.trial_runs(sweep)
    methods = methods_of(experiment)
    own = {run.key: cut(run, experiment.rounds) for run in runs if _is_asked(run, methods)}
    trials = {key: own[key] for key in experiment.trials() if key in own}
    differs = [*differs, *_other_methods(runs, trials, methods), *_other_machines(trials)]
    return Found(results, sweep, trials, tuple(differs), is_own)


def _is_asked(run: TrackedRun, methods: Mapping[str, Method]) -> bool:
    """Whether its method is that of the file: a method of this name may have been another one before."""
    return run.method in methods and methods[run.method].params.items() <= run.params.items()


def _other_methods(
    runs: list[TrackedRun], trials: dict[TrialKey, TrackedRun], methods: Mapping[str, Method]
) -> list[str]:
    """A sentence for every method that was swept only with other settings, such as thresholds or a loss."""
    lacking = methods.keys() - {key.method for key in trials}
    before = {run.method: run for run in runs if run.method in lacking}
    sentences = []
    for name, run in before.items():
        now = methods[name].params
        was, names = ({part: other.get(part, "") for part in now} for other in (run.params, now))
        changed = [f"{part} was {was[part] or 'another'}, is {names[part]}" for part in now if was[part] != names[part]]
        sentences.append(f"Method {name} was swept with other settings ({'; '.join(changed)}): those are other trials.")
    return sentences


def _other_machines(trials: dict[TrialKey, TrackedRun]) -> list[str]:
    """A sentence if trials were made on several kinds of machine, because their numbers differ by that too."""
    made = {
        f"{run.tags[DEVICE]} ({run.tags.get(VERSIONS, '')})": run for run in trials.values() if run.tags.get(DEVICE)
    }
    return [f"The trials were made on several kinds of machine: {', '.join(made)}."] if len(made) > 1 else []


def _differences(sweep: TrackedRun, experiment: Experiment, table: Table | None) -> list[str]:
    """How a sweep differs from the file, in words; nothing if it is the file's own."""
    changed = changed_knobs(dict(sweep.params), recipe(experiment))
    if not changed:  # what takes longer is compared only if it is needed
        changed = _weights(sweep, experiment)
    if changed or table is None:
        return changed
    photos = _photos(table)
    if not _has_photos(sweep, photos):
        return ["the photos or their scores are different"]
    if table.groups is None and not sweep.tags.get(GROUPS):
        return []
    return (
        []
        if names_digest(table, set(sweep.photos()["image"])) == sweep.tags.get(GROUPS, "")
        else ["the groups of the photos are different"]
    )


def _weights(sweep: TrackedRun, experiment: Experiment) -> list[str]:
    before, now = sweep.params.get(WEIGHTS_KNOB, ""), experiment.network.weights
    digests = sweep.tags.get(WEIGHTS, ""), weights_digest(experiment)
    if all(digests):
        same = digests[0] == digests[1]
    elif {before, now} & set(NAMED_WEIGHTS):
        same = before == now
    else:  # the file is not here, or the sweep is older than the digest
        same = PurePosixPath(before).name == PurePosixPath(now).name
    return [] if same else [f"{WEIGHTS_KNOB} was {before}, is {now}"]


def _table(experiment: Experiment) -> Table | None:
    """The file's table; None if it cannot be read here, as on another machine."""
    try:
        return read_table(experiment.photos)
    except ValueError:
        return None


def _photos(table: Table) -> frozenset[ScoredName]:
    """The photos that the table names."""
    return frozenset(
        (image, int(table.scores[row])) for row, image in enumerate(table.images) if row not in table.faults
    )


def _has_photos(sweep: TrackedRun, photos: frozenset[ScoredName]) -> bool:
    """Whether a sweep's photos are those of the file's table, apart from those that it left out."""
    if sweep.tags.get(TABLE) == photos_digest(photos):
        return True
    swept = frozenset(sweep.photos().itertuples(index=False, name=None))
    others = photos - swept
    if not swept <= photos or not others:
        return swept <= photos
    try:
        left_out = sweep.artifacts.read_text(LEFT_OUT_FILE)
    except ValueError:  # nothing was left out
        return False
    named = {line.partition(": ")[0].rpartition(", ")[2] for line in left_out.splitlines()}
    return all(image in named or image.rpartition(", ")[2] in named for image, _ in others)
