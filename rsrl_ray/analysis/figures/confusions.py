"""A picture of the confusion matrix of every round, as MLflow has it of each trial's first, chosen and last round."""

from pathlib import Path

from rsrl_ray.analysis.numbers.measures import confusion
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.rounds.files import draw_confusion
from rsrl_ray.store.file_names import file_names


def write_confusions(sweep: Sweep, folder: Path) -> int:
    """Write ``METHOD_fold_F/NN.png`` into ``folder`` for every logged round; how many pictures there are."""
    files = file_names(sweep.methods)
    rounds = [(key, number) for key, trial in sweep.trials.items() for number in range(1, 1 + len(trial.metrics))]
    for key, number in rounds:
        place = folder / f"{files[key.method]}_fold_{key.fold}"
        place.mkdir(parents=True, exist_ok=True)
        counts = confusion(sweep, sweep.trials[key], number)
        draw_confusion(place / f"{number:02d}.png", counts, sweep.classes, key, number)
    return len(rounds)
