"""How far each trial of an experiment's sweep is. It is read when it is asked for, without the tables of rounds."""

import warnings
from collections.abc import Mapping
from functools import cached_property

from rsrl_ray.config import Experiment
from rsrl_ray.core.errors import one_line
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.display import Display
from rsrl_ray.experiment_file import given
from rsrl_ray.tracking.find import Chosen, Found, TrialState, find_results


class Standing:
    """Every attribute raises ValueError if there is no sweep of the experiment, or MLflow cannot be read."""

    def __init__(self, experiment: Experiment, display: Display | None = None) -> None:
        """Nothing is read yet. display : is told what is not as in the experiment; if None, a UserWarning says it."""
        self.experiment = given(experiment)
        self._display = display

    @cached_property
    def found(self) -> Found:
        """The sweep and its trials in MLflow."""
        found = find_results(self.experiment)
        for sentence in found.differs:
            if self._display is None:
                warnings.warn(sentence, stacklevel=2)
            else:
                self._display.said(sentence, "note")
        return found

    def __repr__(self) -> str:
        """Name, how many trials are done, and methods; or why nothing is known about them."""
        asked, name = self.experiment, f"{type(self).__name__} of {self.experiment.name}"
        try:
            runs = self.found.trials.values()
        except ValueError as error:
            return f"{name}: {one_line(error)}"
        done = sum(run.status == "FINISHED" and run.rounds >= asked.rounds for run in runs)
        return f"{name}: {done} of {len(asked.trials())} trials done; methods {', '.join(asked.method_names())}"

    @property
    def states(self) -> Mapping[TrialKey, TrialState]:
        """Every trial with its curves of macro F and of the kept photos."""
        return self.found.states

    @property
    def chosen(self) -> Chosen:
        """The chosen round of every trial."""
        return self.found.chosen()
