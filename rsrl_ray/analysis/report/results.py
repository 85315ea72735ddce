"""A sweep's results in Python: frames as in the CSV files, predictions, figures and the page, read when asked for."""

from functools import cached_property
from html import escape
from io import BytesIO
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from rsrl_ray.analysis.figures.drawings import figure
from rsrl_ray.analysis.figures.style import styled
from rsrl_ray.analysis.numbers.comparisons import ROPE
from rsrl_ray.analysis.numbers.frames import Frames, summarise
from rsrl_ray.analysis.numbers.histories import ledger_parts
from rsrl_ray.analysis.numbers.solved import against_solved
from rsrl_ray.analysis.report.folder import Wanted, Written, analyze
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.analysis.sweep.read import read_sweep
from rsrl_ray.analysis.tables.closing import explained, methods_table
from rsrl_ray.config import Experiment
from rsrl_ray.core.trial import Outcome, TrialKey
from rsrl_ray.display import Display, Silent
from rsrl_ray.method import main_method
from rsrl_ray.tracking.names import predictions_path
from rsrl_ray.tracking.standing import Standing


class Results(Standing):
    """What is logged of an experiment's sweep when it is first asked for; call `results` again for newer rounds.

    Every attribute and method raises ValueError if there is no sweep of the experiment, or no round of it yet.
    """

    def __init__(self, experiment: Experiment, baseline: str = "none", rope: float = ROPE) -> None:
        """Nothing is read yet. baseline, rope : of the comparisons, see
        `rsrl_ray.analysis.numbers.frames.summarise`.
        """
        super().__init__(experiment)
        self._baseline, self._rope = baseline, rope

    def _repr_html_(self) -> str:
        """What a notebook shows: the table of methods with which `rsrl analyze` ends."""
        try:
            table = methods_table(self.frames).to_html(index=False, na_rep="")
            said = f"{explained(self.frames)} {against_solved(self.frames.solved)}".strip()
        except ValueError:  # nothing is logged yet
            table = said = ""
        return f"<p>{escape(repr(self))}</p>{table}<p>{escape(said)}</p>"

    @property
    def rounds(self) -> pd.DataFrame:
        """``rounds.csv``: fold, method, round, and every metric that MLflow holds."""
        return self.frames.rounds

    @property
    def folds(self) -> pd.DataFrame:
        """``folds.csv``: what each criterion chooses in each fold, and how good it is."""
        return self.frames.folds

    @property
    def summary(self) -> pd.DataFrame:
        """``summary.csv``: means and standard deviations over the folds."""
        return self.frames.summary

    @property
    def classes(self) -> pd.DataFrame:
        """``classes.csv``: precision, recall and F of each score."""
        return self.frames.classes

    @property
    def comparisons(self) -> pd.DataFrame:
        """``comparisons.csv``: every method against the baseline."""
        return self.frames.comparisons

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """``ledger.csv``: the photos that were dropped at least once."""
        return pd.concat(ledger_parts(self.sweep), ignore_index=True)

    def predictions(self, method: str, fold: int = 0, round: int | None = None) -> pd.DataFrame:
        """A row for each photo: image, split, score, predicted, kept, returned, self_confidence, a logit a score.

        round : the chosen one if None. If the rule gives weights, there is a column weight too.
        """
        key = TrialKey(fold, method)
        run = self.found.trials.get(key)
        if run is None or not run.rounds:
            there = "; ".join(
                f"{key.method!r} in fold {key.fold}" for key, run in self.found.trials.items() if run.rounds
            )
            logged = f"rounds are logged of {there}" if there else "no other method has a logged round either"
            raise ValueError(f"no round of method {method!r} in fold {fold} is logged; {logged}")
        number = self.chosen.rounds[key] if round is None else round
        if not 1 <= number <= run.rounds:
            raise ValueError(f"round {number}: of {key} the rounds 1 to {run.rounds} are logged; give one of these")
        return run.artifacts.read(predictions_path(number), pd.read_parquet)

    def figure(self, name: str, method: str | None = None) -> Figure:
        """A figure by name, such as macro_f.

        method : of the figures that show one method; by default the first that drops photos.
        """
        begun, main = self.sweep.begun, main_method(self.experiment)
        if method not in (None, *begun):
            raise ValueError(f"method {method!r}: no round of it is logged; give one of {', '.join(begun)}")
        of = method or (main if main in begun else begun[0])
        return _shown(figure(self.sweep, self.frames, self.experiment.photos, name, of))

    def page(self, out: str | Path | None = None, display: Display | None = None) -> Path:
        """Write tables, figures, highlight maps and a page of all of them; returns the page's path.

        out : the folder (by default analysis/NAME in storage).
        """
        return self.write(out, display).page

    def write(self, out: str | Path | None = None, display: Display | None = None, pictures: bool = False) -> Written:
        """As `page`, but returns all that was written.

        pictures : whether every round gets a picture of its confusion matrix, in ``confusion/``.
        """
        folder = None if out is None else Path(out)
        if display is None:  # else the caller shows the notes
            _ = self.found
        wanted = Wanted(folder, self._baseline, self._rope, pictures)
        return analyze(self.experiment, wanted, display or Silent())

    @cached_property
    def frames(self) -> Frames:
        """All frames, and the sentences that belong to them."""
        return summarise(self.sweep, self._baseline, self._rope)

    @cached_property
    def sweep(self) -> Sweep:
        """The rounds as arrays."""
        return read_sweep(self.experiment, self.found)


class Swept(Results):
    """The results of a sweep that has just been run; outcome : how it ended."""

    def __init__(self, experiment: Experiment, outcome: Outcome) -> None:
        super().__init__(experiment)
        self.outcome = outcome


def _shown(figure: Figure) -> Figure:
    """The figure with its PNG for a notebook, which knows by itself only figures that pyplot has made."""

    @styled
    def png() -> bytes:
        content = BytesIO()
        figure.savefig(content, format="png", dpi=150)
        return content.getvalue()

    figure._repr_png_ = png  # type: ignore[attr-defined]
    return figure
