"""A sweep's folder of tables and figures."""

from pathlib import Path

from rich.console import Console

from rsrl_ray.analysis import measures
from rsrl_ray.analysis.data import read_sweep
from rsrl_ray.analysis.figures import write_figures
from rsrl_ray.analysis.markup import markdown
from rsrl_ray.analysis.tables import tables, write_tables
from rsrl_ray.config import Experiment
from rsrl_ray.tracked import open_results


def analyze(experiment: Experiment, out: Path | None, baseline: str, console: Console) -> None:
    """Write tables and figures of what is logged so far, log them to the sweep's run, and print the first table.

    Raises
    ------
    ValueError
        Where there is nothing to analyse yet, or the folder cannot be written to.
    """
    folder = out or default_folder(experiment)
    with console.status("reading the rounds"):
        sweep = read_sweep(experiment)
    with console.status("writing tables and figures"):
        frames = write_tables(sweep, folder, baseline)
        rule = measures.default_rule(sweep)
        schedules = measures.begun(sweep)
        chosen = {
            (fold, schedule): number
            for schedule in schedules
            for fold, number in measures.chosen_rounds(sweep, schedule, rule).items()
        }
        write_figures(sweep, chosen, folder / "figures", Path(experiment.photos).parent)
        open_results(experiment).log_folder(sweep.run_id, folder, "analysis")
    console.print(markdown(tables(sweep, frames)[0]), markup=False, highlight=False, soft_wrap=True)
    for sentence in (*sweep.missing, *frames.notes):
        console.print(f"note: {sentence}", markup=False, highlight=False)
    console.print(f"written to {folder}, and to the sweep's run in MLflow", markup=False, soft_wrap=True)


def default_folder(experiment: Experiment) -> Path:
    """``analysis/NAME`` in storage, or in the working directory where storage is a bucket."""
    root = Path() if "://" in experiment.storage else Path(experiment.storage)
    return root / "analysis" / experiment.name
