"""Names of what a sweep leaves in MLflow: tags of runs, and paths of a round's artifacts."""

DATABASE = "mlflow.db"

SWEEP = "rsrl.sweep"  # of every run: which sweep it belongs to
TRIAL = "rsrl.trial"  # of a trial's run: which trial it is; empty for a sweep's parent run
OPENED = "rsrl.opened"  # a sweep's place among the experiment's, in the order in which they were taken up last
LOGGED = "rsrl.rounds_logged"  # how many rounds of a trial are wholly logged
DRIVER = "rsrl.driver"  # the process that sweeps: host:pid
LEASE = "rsrl.lease"  # of an experiment: the process that may write to it, host:pid:random
REASON = "rsrl.reason"  # why a trial failed
KEY = "rsrl.key"  # of a registered model: its round in the archive


def round_folder(number: int) -> str:
    """The artifacts' folder of a round."""
    return f"rounds/{number:02d}"


def predictions_path(number: int) -> str:
    """The artifact that holds a round's table of photos, see `rsrl_ray.round_table.predictions`."""
    return f"{round_folder(number)}/predictions.parquet"


def conv1_path(number: int) -> str:
    """The artifact that holds a round's first convolution."""
    return f"{round_folder(number)}/conv1.npz"


def key_tag(number: int) -> str:
    """The tag of a trial's run that holds a round's key in the archive."""
    return f"{KEY}.round_{number:02d}"


def note_tag(number: int) -> str:
    """The tag of a trial's run that holds a round's note."""
    return f"note.round_{number:02d}"
