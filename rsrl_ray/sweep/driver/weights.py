"""Notes in the archive on who needs which weights, written in the background. What nobody holds is deleted."""

import functools
from collections import defaultdict
from collections.abc import Mapping

from ray.tune.experiment import Trial

from rsrl_ray.core.trial import TrialKey
from rsrl_ray.store.archive import Archive
from rsrl_ray.store.holders import EVERY_ROUND, WAITING, Holder, sweep_holder, trial_holder
from rsrl_ray.sweep.driver.listener import Listener
from rsrl_ray.sweep.driver.retention import Hold, WeightRetention
from rsrl_ray.sweep.driver.writer import Writer
from rsrl_ray.sweep.report import Report
from rsrl_ray.sweep.task import Task
from rsrl_ray.tracking.entries import Trial as TrackedTrial


class KeptWeights(Listener):
    """Writes what `WeightRetention` says into the archive: in order for each round, and no round waits."""

    def __init__(
        self, task: Task, retention: WeightRetention, trials: Mapping[TrialKey, TrackedTrial], writer: Writer
    ) -> None:
        """``writer`` : not that of MLflow, so that a bucket that does not answer does not stop MLflow."""
        self._experiment, self._archive = task.experiment.name, Archive(task.experiment.storage)
        self._retention, self._trials, self._writer = retention, trials, writer

    def on_round(self, block: Trial, report: Report) -> None:
        """A trial has one more round: note which weights are needed now, and then which are not."""
        key = report.trial
        changes = self._retention.finished(key, report)
        for hold in changes.hold:
            if hold != Hold(report.key, key):  # the trial has noted this itself
                self._writer.put(_line(hold.key), functools.partial(self._hold, hold))
        gone: defaultdict[str, list[str]] = defaultdict(list)
        for hold in changes.release:
            gone[hold.key].append(self._holder(hold).id)
        for unneeded, holders in gone.items():
            self._writer.put(_line(unneeded), functools.partial(self._archive.release, unneeded, *holders))

    def close(self) -> None:
        """Wait until all is written. What is not costs disk, or time if another sweep deletes weights."""
        self._writer.close()

    def _hold(self, hold: Hold) -> None:
        if self._retention.is_held(hold):  # it may be released again, because replayed rounds come fast
            holder = self._holder(hold)
            self._archive.hold(hold.key, holder.id, holder.words)

    def _holder(self, hold: Hold) -> Holder:
        if hold.trial is not None:
            return trial_holder(self._experiment, hold.trial, self._trials[hold.trial].id)
        why = EVERY_ROUND if self._retention.keep_all else WAITING
        return sweep_holder(self._experiment, self._retention.sweep, why)


def _line(key: str) -> str:
    return f"a note on who needs the weights of round {key}"
