"""Every knob of an experiment, typed, on one page: the experiment file is one `Experiment`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rsrl_ray.core.draw import Draw, FoldKind
from rsrl_ray.core.schedule import Schedule, make_schedule
from rsrl_ray.core.trial import TrialKey

if TYPE_CHECKING:
    Count: TypeAlias = int
    Natural: TypeAlias = int
    Positive: TypeAlias = float
    NotNegative: TypeAlias = float
    Share: TypeAlias = float
    HalfShare: TypeAlias = float
    Momentum: TypeAlias = float
    Name: TypeAlias = str
else:  # jsonargparse checks these while it reads files and command lines
    from jsonargparse.typing import ClosedUnitInterval as Share
    from jsonargparse.typing import NonNegativeFloat as NotNegative
    from jsonargparse.typing import NonNegativeInt as Natural
    from jsonargparse.typing import PositiveFloat as Positive
    from jsonargparse.typing import PositiveInt as Count
    from jsonargparse.typing import restricted_number_type, restricted_string_type

    HalfShare = restricted_number_type("HalfShare", float, [(">=", 0), ("<=", 0.5)])
    Momentum = restricted_number_type("Momentum", float, [(">=", 0), ("<", 1)])
    Name = restricted_string_type("Name", "^[A-Za-z0-9][A-Za-z0-9._-]*$")


NAMED_WEIGHTS = ("imagenet", "none")  # of `Network.weights`: these are no files
WarmStart = Literal["all", "head", "cold"]
Precision = Literal["bf16", "fp32"]
Sampling = Literal["shuffled", "class_balanced"]  # of a method


@dataclass(frozen=True)
class Folds:
    """Cross-validation."""

    count: Count = 5
    """Number of folds, 2 or more (the paper: 5)."""
    repeats: Count = 1
    """How often photos are dealt to that many folds anew; fold 0 of the second deal has the number ``count``."""
    kind: FoldKind = "stratified"
    """How photos are dealt to folds: by class, or the paper's plain random draw."""
    validation: HalfShare = 0.1
    """Share of a fold's training photos, 0 to 0.5, held out to choose the round on; 0 chooses on the test photos."""
    use: list[Natural] | None = None
    """Numbers of the folds to run, from 0 to count x repeats less 1; all of them if null."""


@dataclass(frozen=True)
class Network:
    """The network and where its weights come from."""

    backbone: str = "alexnet"
    """Any torchvision classification network by name, or `small`: AlexNet's layout at a tenth of its width."""
    weights: str = "imagenet"
    """`imagenet` (torchvision's download), `none` (random), or a file: .pt, .pth or .safetensors."""
    image_size: Count = 224
    """Height and width in pixels that photos are warped to (AlexNet: 224)."""

    @property
    def weights_file(self) -> Path | None:
        """The file of weights, if one is named."""
        return None if self.weights in NAMED_WEIGHTS else Path(self.weights)


@dataclass(frozen=True)
class Training:
    """One round of training: SGD on the cross-entropy of the kept photos."""

    trainable: Literal["all", "classifier", "head"] = "all"
    """all; classifier: what follows the convolutions; head: the last layer. Photos pass the others once, for all."""
    epochs: Count = 5
    """Passes over the kept photos a round, 1 or more (the paper: 5)."""
    batch_size: Count = 32
    """Photos a step, 1 or more."""
    learning_rate: Positive = 0.001
    """Step size of the pretrained layers, above 0."""
    head_factor: Positive = 10.0
    """The new last layer learns this many times as fast, above 0."""
    momentum: Momentum = 0.9
    """Momentum of SGD, 0 to below 1."""
    weight_decay: NotNegative = 0.0001
    """L2 penalty, 0 or more."""
    precision: Precision = "bf16"
    """bf16: bfloat16 autocast with float32 weights; fp32: float32 throughout."""
    threads: Count = 1
    """CPU threads a trial computes with, 1 or more; part of a round's identity, because the bits depend on it."""
    augmentation: list[Literal["flip", "crop"]] = field(default_factory=list)
    """flip: mirrored at random; crop: shifted at random by up to an eighth of the size. None by default."""
    steps: Literal["kept", "all"] = "kept"
    """kept: epochs over what is kept, so who drops trains less (the paper); all: as many steps as if all were kept."""


@dataclass(frozen=True)
class Revision:
    """How the training set is revised between two rounds."""

    membership: Literal["sigmoid", "centred", "softmax"] = "sigmoid"
    """Likelihood of a logit: the paper's sigmoid, the sigmoid of logits less their mean per photo, or softmax."""
    majority_classes: Count = 3
    """How many of the largest classes are revised, 1 or more (the paper: 3)."""
    min_kept: Share = 0.01
    """Share of a class, 0 to 1, that always stays (5 photos at least), whatever K says."""
    warm_start: WarmStart = "all"
    """all: from the last network; head: likewise, with a new last layer; cold: from the pretrained network."""


@dataclass(frozen=True)
class Noise:
    """Wrong labels on purpose, in training and validation photos, never in test photos; who drops them is told."""

    share: Share = 0.0
    """Share of the labels of each class concerned, 0 to 1, that is made wrong; 0: labels as they are."""
    kind: Literal["shift", "invade"] = "shift"
    """shift: by one among the largest classes; invade: photos of the other classes get the nearest of these."""
    seed: Natural = 0
    """Seed of the draw, 0 or more."""


PHOTO_MEMORY = 0.75  # GiB; on 2 cores of a laptop six photos are decoded at once


@dataclass(frozen=True)
class Resources:
    """What one trial takes of the machine or cluster."""

    cpus: Positive = 1.0
    """CPU cores a trial, above 0."""
    gpus: NotNegative | Literal["auto"] = 0.0
    """Share of a GPU a trial, 0 to 1; 0: trains on the CPU, 0.5: two trials on a GPU, auto: what it holds, up to 4."""
    photo_memory: Positive = PHOTO_MEMORY
    """GiB that decoding one photo may take, above 0, or it is refused; 0.75: 200 megapixels, of a JPEG many more."""


@dataclass(frozen=True)
class Retention:
    """What is kept of finished rounds."""

    weights: Literal["auto", "all", "needed"] = "auto"
    """all: every round's; needed: newest, best and branch points; auto: all for networks under 50 MB."""


Steps = dict[int, float | list[float]]


@dataclass(frozen=True)
class Experiment:
    """An experiment: photos, folds x schedules of trials, and where the results go."""

    name: Name
    """Name of the experiment in MLflow and of its folder in storage: letters, digits, `.`, `_` and `-`."""
    photos: str
    """The photos: .csv or .parquet (image, score), AVA.txt, or a folder per score; relative to the experiment file."""
    schedules: dict[str, Steps] = field(default_factory=dict)
    """Methods by name: {first revision: K for all majority classes, or [K1, K2, K3]}, K between 0 and 1."""
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Other methods by name: {revise, loss, predict, sampling, warm_start}, see experiments/README.md."""
    modules: dict[str, str] = field(default_factory=dict)
    """Source of modules with rules and losses of one's own, by name; by default that of the files beside this one."""
    storage: str = "results"
    """Where archive and results go: a directory (relative to the experiment file), s3://... or gs://..."""
    folds: Folds = field(default_factory=Folds)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)
    revision: Revision = field(default_factory=Revision)
    noise: Noise = field(default_factory=Noise)
    rounds: Count = 30
    """Rounds a trial, 1 or more; round 1 trains on all training photos (the paper: 30)."""
    seed: Natural = 0
    """Seed of folds, new layers, shuffling and dropout, 0 or more."""
    resources: Resources = field(default_factory=Resources)
    archive: Retention = field(default_factory=Retention)
    mlflow: str | None = None
    """MLflow tracking URI, a path in it relative to the experiment file; by default a SQLite file in storage."""
    system_metrics: bool = True
    """Whether MLflow is told, every 10 s, how busy CPU, memory, disk, network and GPUs of the nodes that train are."""

    def schedule(self, name: str) -> Schedule:
        """The named schedule, one threshold for each majority class."""
        return make_schedule(self.schedules[name], self.revision.majority_classes)

    def method_names(self) -> tuple[str, ...]:
        """Of schedules and of the other methods, in the file's order."""
        return (*self.schedules, *self.methods)

    def draw(self) -> Draw:
        """How its photos are dealt to folds."""
        folds = self.folds
        return Draw(folds.count, folds.kind, folds.validation, self.seed, folds.repeats)

    def fold_numbers(self) -> list[int]:
        """The folds that are run, ascending."""
        all_folds = range(self.folds.count * self.folds.repeats)
        return list(all_folds) if self.folds.use is None else sorted(set(self.folds.use))

    def trials(self) -> list[TrialKey]:
        """All that it asks for; method by method, in the file's order."""
        return [TrialKey(fold, name) for name in self.method_names() for fold in self.fold_numbers()]


def check(experiment: Experiment) -> None:
    """Check what one knob says against another.

    Raises
    ------
    ValueError
        With every contradiction and what to do about it.
    """
    wrong = []
    if experiment.folds.count < 2:
        wrong.append("folds.count: 1 leaves no photos to train on; give 2 or more")
    many = experiment.folds.count * experiment.folds.repeats
    outside = [n for n in experiment.folds.use or [] if n >= many]
    if outside:
        wrong.append(f"folds.use: {outside} with {many} folds; they are numbered from 0")
    if experiment.folds.use == []:
        wrong.append("folds.use: an empty list runs nothing; leave it out to run every fold")
    if not experiment.method_names():
        wrong.append("schedules: none given, and no methods; name at least one, such as {none: {1: 0.0}}")
    wrong += [
        f"methods.{name}: a schedule has that name" for name in experiment.methods if name in experiment.schedules
    ]
    for name in experiment.method_names():
        if not isinstance(name, str) or not name:
            wrong.append(f"{'schedules' if name in experiment.schedules else 'methods'}: {name!r} is no name")
    for name in experiment.schedules:
        try:
            experiment.schedule(name)
        except ValueError as error:
            wrong.append(f"schedules.{name}: {error}")
    training = experiment.training
    if training.trainable != "all" and training.augmentation:
        wrong.append(
            f"training.augmentation: {training.augmentation} with trainable: {training.trainable}, for which every "
            "photo passes the frozen layers once, as it is; leave it out, or take trainable: all"
        )
    if wrong:
        raise ValueError("\n".join(wrong))


def check_resources(experiment: Experiment) -> None:
    """What only those who train need to have right; results of before are read whatever they were trained with.

    Raises
    ------
    ValueError
        With what is wrong and what to do about it.
    """
    gpus = experiment.resources.gpus
    if gpus != "auto" and gpus > 1:
        raise ValueError(
            f"resources.gpus: {gpus:g}, but a trial trains on one GPU; give 1, a fraction for trials that share a GPU, "
            "or auto. The results stay the same"
        )
