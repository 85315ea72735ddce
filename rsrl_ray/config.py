"""All knobs of an experiment with their types, on one page. An experiment file is one `Experiment`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rsrl_ray.core.compared import Leading
from rsrl_ray.core.draw import Draw, FoldKind
from rsrl_ray.core.passes import RoundSteps
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
    ImageSize: TypeAlias = int  # `auto` becomes a number when a file is read
else:  # jsonargparse checks these types when it reads files and command lines
    from jsonargparse.typing import ClosedUnitInterval as Share
    from jsonargparse.typing import NonNegativeFloat as NotNegative
    from jsonargparse.typing import NonNegativeInt as Natural
    from jsonargparse.typing import PositiveFloat as Positive
    from jsonargparse.typing import PositiveInt as Count
    from jsonargparse.typing import restricted_number_type, restricted_string_type

    HalfShare = restricted_number_type("HalfShare", float, [(">=", 0), ("<=", 0.5)])
    Momentum = restricted_number_type("Momentum", float, [(">=", 0), ("<", 1)])
    Name = restricted_string_type("Name", "^[A-Za-z0-9][A-Za-z0-9._-]*$")
    ImageSize = Count | Literal["auto"]


NAMED_WEIGHTS = ("imagenet", "none")  # values of `Network.weights` that are not files
WarmStart = Literal["all", "head", "cold"]
Precision = Literal["bf16", "fp32"]
Head = Literal["own", "linear"]


@dataclass(frozen=True)
class Folds:
    """Cross-validation."""

    count: Count = 5
    """Number of folds, 2 or more (the paper: 5)."""
    repeats: Count = 1
    """How often photos are dealt to the folds, 1 or more; fold 0 of the second deal has the number ``count``."""
    kind: FoldKind = "stratified"
    """How photos are dealt to folds: stratified (by class), or random (the paper's plain draw)."""
    validation: HalfShare = 0.1
    """Share of a fold's training photos, 0 to 0.5, held out to choose the round on; 0: it is chosen on test photos."""
    use: list[Natural] | None = None
    """Numbers of the folds to run, from 0 to count x repeats - 1; null: all folds."""


@dataclass(frozen=True)
class Network:
    """The network, and where its weights come from."""

    backbone: str = "alexnet"
    """Name of a torchvision classification network, `timm/NAME` for one of timm, or `small`: a tenth of AlexNet."""
    weights: str = "imagenet"
    """`imagenet` (its pretrained weights are downloaded), `none` (random), or a file: .pt, .pth or .safetensors."""
    image_size: ImageSize = 224
    """Height and width in pixels to which photos are warped (AlexNet: 224); `auto`: what the network was made for."""
    head: Head = "own"
    """linear: the maps of a SqueezeNet are averaged and get a linear last layer; own: its own, a convolution."""
    standardise: bool = False
    """Whether features less their mean, by their standard deviation, go into the last layer; for trainable: head."""

    @property
    def weights_file(self) -> Path | None:
        """The file of weights; None if no file is named."""
        return None if self.weights in NAMED_WEIGHTS else Path(self.weights)

    @property
    def own_head_is_linear(self) -> bool:
        """Whether the network's own last layer is linear; otherwise it is a convolution, as in SqueezeNet."""
        return not self.backbone.startswith("squeezenet")

    @property
    def has_linear_head(self) -> bool:
        """Whether the last layer that is trained is linear."""
        return self.head == "linear" or self.own_head_is_linear


@dataclass(frozen=True)
class Training:
    """One round of training: SGD on the cross-entropy of the kept photos."""

    trainable: Literal["all", "classifier", "head"] = "all"
    """Layers that learn: all; classifier (after the convolutions); head (the last). Photos pass the others once."""
    epochs: Count = 5
    """Passes over the kept photos in a round, 1 or more (the paper: 5)."""
    batch_size: Count = 32
    """Photos in a step, 1 or more."""
    learning_rate: Positive = 0.001
    """Step size of the pretrained layers, above 0."""
    head_factor: Positive = 10.0
    """The step size of the new last layer is this many times larger, above 0."""
    momentum: Momentum = 0.9
    """Momentum of SGD, from 0 to below 1."""
    weight_decay: NotNegative = 0.0001
    """L2 penalty, 0 or more."""
    precision: Precision = "bf16"
    """bf16: bfloat16 autocast with float32 weights; fp32: float32 everywhere."""
    threads: Count = 1
    """CPU threads of a trial, 1 or more. It is part of a round's identity, because the bits depend on it."""
    augmentation: list[Literal["flip", "crop"]] = field(default_factory=list)
    """flip: mirrors photos at random; crop: shifts them at random by up to an eighth of the size. Default: none."""
    steps: RoundSteps = "kept"
    """kept: epochs over the kept photos (the paper); all: as many steps as for all photos; weighted: drops weigh 0."""


@dataclass(frozen=True)
class Revision:
    """How the training photos are revised between two rounds."""

    membership: Literal["sigmoid", "centred", "softmax"] = "sigmoid"
    """Likelihood of a logit: sigmoid (the paper); centred: sigmoid after the photo's mean is subtracted; softmax."""
    majority_classes: Count = 3
    """How many of the largest classes are revised, 1 or more (the paper: 3)."""
    min_kept: Share = 0.01
    """Share of a class, 0 to 1, that always stays (5 photos at least), whatever the rule drops."""
    warm_start: WarmStart = "all"
    """A round starts from: all (the last network), head (the same with a new last layer), cold (pretrained weights)."""


@dataclass(frozen=True)
class Noise:
    """Wrong labels on purpose, in training and validation photos, never in test photos. Results say who drops them."""

    share: Share = 0.0
    """Share of the labels of a class, 0 to 1, that is made wrong; 0: labels stay as they are."""
    kind: Literal["shift", "invade"] = "shift"
    """shift: by one class among the largest; invade: photos of other classes get the nearest of the largest classes."""
    seed: Natural = 0
    """Seed of the draw, 0 or more."""


PHOTO_MEMORY = 0.75  # GiB; a laptop with 2 cores decodes six photos at once
NEAR_DUPLICATE = 0.85  # cosine of features less their mean, from which on two photos are nearly the same; see LOG.md


@dataclass(frozen=True)
class Resources:
    """What one trial takes of the machine or cluster."""

    cpus: Positive = 1.0
    """CPU cores of a trial, above 0."""
    gpus: NotNegative | Literal["auto"] = 0.0
    """GPUs of a trial, 0 to 1; 0: the CPU trains; 0.5: two trials share a GPU; auto: as many as fit on it, up to 4."""
    photo_memory: Positive = PHOTO_MEMORY
    """GiB that decoding one photo may take, above 0. Larger photos are refused. 0.75: 200 megapixels, JPEGs more."""


@dataclass(frozen=True)
class Retention:
    """What is kept of finished rounds."""

    weights: Literal["auto", "all", "needed"] = "auto"
    """all: of each round; needed: of the newest, the best and branch points; auto: all if a network is below 50 MB."""


Steps = dict[int, float | list[float]]


@dataclass(frozen=True)
class Experiment:
    """An experiment: photos, trials (each method in each fold), and where the results go."""

    name: Name
    """Name of the experiment in MLflow and of its folder in storage: letters, digits, `.`, `_` and `-`."""
    photos: str
    """Photos: .csv or .parquet (image, score), AVA.txt, or a folder per score; relative to the experiment file."""
    schedules: dict[str, Steps] = field(default_factory=dict)
    """Methods by name: {first revision: K for all majority classes, or [K1, K2, K3]}, K from 0 to 1."""
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Other methods by name: {revise, loss, predict, sampling, ...}, see experiments/README.md."""
    modules: dict[str, str] = field(default_factory=dict)
    """Source of modules with your own rules and losses, by name; by default of files beside the experiment file."""
    storage: str = "results"
    """Where archive and results go: a folder (relative to the experiment file), s3://... or gs://..."""
    folds: Folds = field(default_factory=Folds)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)
    revision: Revision = field(default_factory=Revision)
    noise: Noise = field(default_factory=Noise)
    rounds: Count = 30
    """Rounds of a trial, 1 or more (the paper: 30); round 1 trains on all training photos."""
    seed: Natural = 0
    """Seed of folds, new layers, shuffling and dropout, 0 or more."""
    resources: Resources = field(default_factory=Resources)
    archive: Retention = field(default_factory=Retention)
    mlflow: str | None = None
    """MLflow tracking URI; a path in it is relative to the experiment file; by default an SQLite file in storage."""
    system_metrics: bool = True
    """Whether MLflow gets the use of CPU, memory, disk, network and GPUs of the nodes that train, every 10 s."""
    measure: Leading = "macro_f1"
    """What results compare methods by first: macro_f1, quadratic_kappa, mae or spearman. Rounds do not depend on it."""

    def schedule(self, name: str) -> Schedule:
        """The schedule of this name, with a threshold for each majority class."""
        return make_schedule(self.schedules[name], self.revision.majority_classes)

    def method_names(self) -> tuple[str, ...]:
        """The names of the schedules and then of the other methods, in the file's order."""
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
        """All trials, method by method, in the file's order."""
        return [TrialKey(fold, name) for name in self.method_names() for fold in self.fold_numbers()]


def check(experiment: Experiment) -> None:
    """Raise ValueError if knobs contradict each other: with every contradiction and what to do about it."""
    wrong = []
    if experiment.folds.count < 2:
        wrong.append("folds.count: 1 leaves no photos to train on; give 2 or more")
    many = experiment.folds.count * experiment.folds.repeats
    outside = [n for n in experiment.folds.use or [] if n >= many]
    if outside:
        wrong.append(f"folds.use: {outside}, but there are {many} folds; give numbers from 0 to {many - 1}")
    if experiment.folds.use == []:
        wrong.append("folds.use: an empty list runs nothing; leave it out to run every fold")
    if not experiment.method_names():
        wrong.append("schedules: there are none, and no methods; name one at least, such as {none: {1: 0.0}}")
    twice = [name for name in experiment.methods if name in experiment.schedules]
    wrong += [f"methods.{name}: a schedule has this name too; give another name" for name in twice]
    for name in experiment.method_names():
        if not isinstance(name, str) or not name:
            wrong.append(f"{'schedules' if name in experiment.schedules else 'methods'}: {name!r} is not a name")
    for name in experiment.schedules:
        try:
            experiment.schedule(name)
        except ValueError as error:
            wrong.append(f"schedules.{name}: {error}")
    training = experiment.training
    if training.trainable != "all" and training.augmentation:
        wrong.append(
            f"training.augmentation: {training.augmentation} with trainable: {training.trainable}, but then each photo "
            "passes the frozen layers once, unchanged; leave augmentation out, or take trainable: all"
        )
    wrong += weighted_steps_errors(training)
    if experiment.network.standardise and training.trainable != "head":
        wrong.append(f"network.standardise: with trainable: {training.trainable}; it is for trainable: head")
    if experiment.network.backbone.startswith("timm/") and training.trainable == "classifier":
        wrong.append("training.trainable: classifier, which timm's networks have in many ways; give head or all")
    if wrong:
        raise ValueError("\n".join(wrong))


def weighted_steps_errors(training: Training) -> list[str]:
    """What is wrong with ``steps: weighted``, of an experiment or of a method of it."""
    if training.steps != "weighted" or training.trainable != "all":
        return []
    return [
        "training.steps: weighted with trainable: all, where batch normalisation would see the dropped photos; "
        "give steps: all, or train the classifier or the head alone"
    ]


def check_resources(experiment: Experiment) -> None:
    """Raise ValueError if trials cannot train with these resources. Older results are read whatever they say here."""
    gpus = experiment.resources.gpus
    if gpus != "auto" and gpus > 1:
        raise ValueError(
            f"resources.gpus: {gpus:g}, but a trial trains on one GPU; give 1, a fraction for trials that share a GPU, "
            "or auto. The results stay the same"
        )
