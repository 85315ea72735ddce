"""Names of what a sweep leaves in MLflow: tags of experiments and runs, metrics, and paths of a round's artifacts."""

import re

from rsrl_ray.core.digest import short_digest

DATABASE = "mlflow.db"
PREDICTIONS, CONV1 = "predictions.parquet", "conv1.npz"  # files of a round's folder that are read back
CONFUSION = "confusion.png"  # of a round's folder, too, but not of every round

PARENT_RUN, RUN_NAME, RUN_NOTE = "mlflow.parentRunId", "mlflow.runName", "mlflow.note.content"  # MLflow's own
GIT_DIRTY, DATASET_CONTEXT = "mlflow.source.git.dirty", "mlflow.data.context"

EXPERIMENT = "rsrl.experiment"  # of an experiment: the file's name, whatever people call it in MLflow
SWEEP = "rsrl.sweep"  # of every run: which sweep it belongs to
TRIAL = "rsrl.trial"  # of a trial's run: which trial it is; empty for a sweep's parent run
OPENED = "rsrl.opened"  # place in the order in which sweeps were taken up; a trial's run has its sweep's
LOGGED = "rsrl.rounds_logged"  # how many rounds of a trial are wholly logged
DRIVER = "rsrl.driver"  # the process that sweeps, see `rsrl_ray.store.processes`
LEASE = "rsrl.lease"  # of an experiment: the process that may write to it, and a random number behind its name
ASKS = "rsrl.lease.claim."  # of an experiment, before a random number: a process that asks for `LEASE`, written alike
REASON = "rsrl.reason"  # why a trial failed
TABLE = "rsrl.photos"  # of a sweep: digest of the names and scores of its photos
GROUPS = "rsrl.groups"  # of a sweep whose table has groups: digest of the names of its photos and groups
WEIGHTS = "rsrl.weights"  # of a sweep: digest of the file of weights that it starts from; empty if there is none
CHOOSES = "rsrl.chooses"  # of a sweep: the photos that its rounds are chosen on, validation or test
CHAIN = "rsrl.chain"  # of a trial's run: what the keys of its rounds start from
DEVICE = "rsrl.device"  # of a trial's run: kind of device that its rounds were made on
VERSIONS = "rsrl.versions"  # of a trial's run: versions of the libraries that its rounds were made with
KEY = "rsrl.key"  # of a registered model: its round in the archive

TAKEN_UP = "rsrl.taken_up"  # of a trial's run: place in the order in which the trial's chains were taken up
NEWEST = "rsrl.newest"  # of a trial's run, for MLflow's UI: yes, or no if its fold and method have a newer one

METHOD, SCHEDULE = "method", "schedule"  # of a trial's run: its method; what versions up to 0.1 called it

CHOSEN = "chosen/"  # of a trial's run: a metric at the chosen round; of a sweep's: over the folds, by method

DATA = "data_fingerprint"  # of a trial's run, a parameter: digest of its photos' fingerprint and of their scores

FOLDS_FILE = "folds.csv"  # a sweep's photos: image, score, and the split of each in every fold
LEFT_OUT_FILE = "left_out.txt"  # the photos that `--skip_bad` left out, a line each


def round_folder(number: int) -> str:
    """The artifacts' folder of a round."""
    return f"rounds/{number:02d}"


def predictions_path(number: int) -> str:
    """The artifact that holds a round's table of photos, see `rsrl_ray.rounds.table.RoundTables`."""
    return f"{round_folder(number)}/{PREDICTIONS}"


def confusion_path(number: int) -> str:
    """The artifact that is the picture of a round's confusion matrix."""
    return f"{round_folder(number)}/{CONFUSION}"


def conv1_path(number: int) -> str:
    """The artifact that holds a round's first convolution."""
    return f"{round_folder(number)}/{CONV1}"


def key_tag(number: int) -> str:
    """The tag of a trial's run that holds a round's key in the archive."""
    return f"{KEY}.round_{number:02d}"


def weights_tag(number: int) -> str:
    """The tag of a trial's run that holds the checksum of a round's weights."""
    return f"rsrl.weights.round_{number:02d}"


def note_tag(number: int) -> str:
    """The tag of a trial's run that holds a round's note."""
    return f"note.round_{number:02d}"


def summed_name(method: str, column: str) -> str:
    """The metric of a sweep's parent run that tells of a method's chosen rounds over the folds.

    MLflow takes letters, digits and ``_-. `` in a part of a name; a method of another name has a digest behind it.
    """
    part = re.sub(r"[^\w\- ]", "_", method)[:100]
    if part != method:
        part += f"-{short_digest(method)}"
    return f"{CHOSEN}{part}/{column}"


def system_name(node: str, name: str) -> str:
    """The system metric of a node, as MLflow calls it; ``node`` is "" if there is one only."""
    return f"system/{node}/{name}" if node else f"system/{name}"
