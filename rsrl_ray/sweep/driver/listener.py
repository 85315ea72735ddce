"""The base of all callbacks of Ray Tune in the driver."""

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from rsrl_ray.sweep.report import Failure, Report, told_in


class Listener(Callback):
    """Hears of rounds and failures. What Ray Tune calls a trial is a block of trials.

    Ray pickles its callbacks, but threads, clients and the terminal stay here.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, because no callback is ever read back."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune."""
        for told in told_in(result):
            if isinstance(told, Failure):
                self.on_failure(trial, told)
            else:
                self.on_round(trial, told)

    def on_round(self, block: Trial, report: Report) -> None:
        """A round of a trial is done."""

    def on_failure(self, block: Trial, failure: Failure) -> None:
        """A trial has given up; others of its block may go on."""
