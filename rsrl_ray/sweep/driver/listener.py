"""The base of all callbacks of Ray Tune in the driver."""

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from rsrl_ray.sweep.report import Failure, Report, told_in


class Listener(Callback):
    """Hears of rounds and failures. Ray pickles its callbacks, but threads, clients and the terminal stay here."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, because no callback is ever read back."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune."""
        told = told_in(result)
        if isinstance(told, Failure):
            self.on_failure(trial, told)
        else:
            self.on_round(trial, told)

    def on_round(self, trial: Trial, report: Report) -> None:
        """A round is done."""

    def on_failure(self, trial: Trial, failure: Failure) -> None:
        """The trial has given up."""
