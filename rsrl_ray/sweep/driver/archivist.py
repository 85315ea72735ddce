"""Notes in the archive on who needs which weights, made in the background; what nobody needs is deleted."""

import functools
from collections import defaultdict
from collections.abc import Mapping

from rsrl_ray.core.trial import TrialKey
from rsrl_ray.store.archive import Archive
from rsrl_ray.store.holders import EVERY_ROUND, WAITING, Holder, sweep_holder, trial_holder
from rsrl_ray.sweep.driver.retention import Need, Retention
from rsrl_ray.sweep.driver.writer import Writer
from rsrl_ray.sweep.report import Report
from rsrl_ray.tracking.entries import Trial


class Archivist:
    """Tells the archive what `Retention` says: of each round in order, and no round waits for another one."""

    def __init__(
        self,
        experiment: str,
        archive: Archive,
        retention: Retention,
        trials: Mapping[TrialKey, Trial],
        writer: Writer,
    ) -> None:
        """``writer`` is the archivist's own: a bucket that is away does not hold up MLflow."""
        self._experiment, self._archive, self._writer = experiment, archive, writer
        self._retention, self._trials = retention, trials

    def note(self, key: TrialKey, report: Report) -> None:
        """A trial has a round more: note which weights are needed now, then which are not."""
        changes = self._retention.finished(key, report)
        for need in changes.hold:
            if need != Need(report.key, key):  # which the trial itself holds since it has it
                self._writer.put(_line(need.key), functools.partial(self._hold, need))
        gone: defaultdict[str, list[str]] = defaultdict(list)
        for need in changes.release:
            gone[need.key].append(self._holder(need).id)
        for unneeded, holders in gone.items():
            self._writer.put(_line(unneeded), functools.partial(self._archive.release, unneeded, *holders))

    def close(self) -> None:
        """Wait for it. What is not noted costs disk, or time where another sweep deletes weights."""
        self._writer.close()

    def _hold(self, need: Need) -> None:
        if self._retention.needs(need):  # still: rounds that are replayed pass by
            holder = self._holder(need)
            self._archive.hold(need.key, holder.id, holder.words)

    def _holder(self, need: Need) -> Holder:
        if need.trial is not None:
            return trial_holder(self._experiment, need.trial, self._trials[need.trial].id)
        why = EVERY_ROUND if self._retention.keep_all else WAITING
        return sweep_holder(self._experiment, self._retention.sweep, why)


def _line(key: str) -> str:
    return f"a note on who needs the weights of round {key}"
