"""A method as a value: the rule that drops photos, the loss and sampling of training, and the prediction."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from rsrl_ray.config import Experiment, Training, WarmStart, weighted_steps_errors
from rsrl_ray.core.own import WRITE
from rsrl_ray.core.passes import Sampling
from rsrl_ray.core.prediction import LARGEST_LOGIT, Prediction
from rsrl_ray.core.ridge import Ridge
from rsrl_ray.core.rules.own import OwnRule
from rsrl_ray.core.rules.rule import KEEPS, NO_FEATURES, Rule
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.value import build, check_choice, check_count, check_number
from rsrl_ray.learning import Learning, MethodTraining
from rsrl_ray.parts import loss_of, rule_of
from rsrl_ray.vision.own_loss import OwnLoss

WARM_STARTS, SAMPLINGS = get_args(WarmStart), get_args(Sampling)


@dataclass(frozen=True)
class Knobs:
    """A method in an experiment file. Each part is optional; without any part it is equal training.

    revise : a rule, which says which photos are dropped, and its knobs: ``{quantile: 0.2, likelihood: mean}``.
    loss : what a step minimises, and its knobs: ``{balanced: 0.5, ordinal: 1.0}``.
    predict : how logits become scores, see `Prediction`. sampling : ``class_balanced`` draws all classes equally often,
    so it repeats photos. warm_start : as ``revision.warm_start``, for this method only. balanced_from : the round from
    which ``sampling: class_balanced`` holds; the rounds before it are shuffled, and shared with methods that stay so.
    mixup : alpha, by which batches are mixed with class-balanced ones, see `rsrl_ray.vision.mixup`; 0 mixes nothing.
    training : knobs of the experiment's `Training` with another value: ``{weight_decay: 0.3}``, see `MethodTraining`.
    learn : a last layer that is solved and not trained, see `Ridge`: ``{ridge: auto}``.
    """

    revise: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)
    predict: Mapping[str, Any] = field(default_factory=dict)
    sampling: Sampling = "shuffled"
    warm_start: WarmStart | None = None
    balanced_from: int = 1
    mixup: float = 0.0
    training: Mapping[str, Any] = field(default_factory=dict)
    learn: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for part, example in EXAMPLES.items():
            value = getattr(self, part)
            if not isinstance(value, Mapping) and (part, value) != ("learn", None):
                own = f", or the import path of your own class; {WRITE}" if hasattr(value, "__module__") else ""
                raise ValueError(f"{part}: {value!r}; give knobs, such as {example}{own}")
        check_choice("sampling", self.sampling, SAMPLINGS)
        if self.warm_start is not None:
            check_choice("warm_start", self.warm_start, WARM_STARTS)
        check_number("mixup", self.mixup, 0)
        if self.mixup and self.sampling != "shuffled":
            raise ValueError(f"mixup: {self.mixup}, which draws class-balanced batches itself; leave sampling out")
        check_count("balanced_from", self.balanced_from, "a round")
        if self.balanced_from != 1 and self.sampling == "shuffled":
            raise ValueError(f"balanced_from: {self.balanced_from}, but no sampling; give sampling: class_balanced")


EXAMPLES = {
    "revise": "{quantile: 0.2}",
    "loss": "{balanced: 1.0}",
    "predict": "{average: half}",
    "training": "{weight_decay: 0.3}",
    "learn": "{ridge: auto}",
}


@dataclass(frozen=True)
class Method:
    """A rule, a way to train and a prediction.

    is_schedule : whether it is one of ``schedules``. MLflow gets only the thresholds of these.
    """

    rule: Rule
    learning: Learning = field(default_factory=Learning)
    prediction: Prediction = LARGEST_LOGIT
    is_schedule: bool = False

    def __str__(self) -> str:
        """For people."""
        prediction = "" if self.prediction.plain else str(self.prediction)
        return "; ".join(filter(None, (str(self.rule), str(self.learning), prediction)))

    @property
    def judged_in_sample(self) -> bool:
        """Whether its rule goes by what networks make of photos that they were trained on."""
        return self.rule.looks_at_logits and not self.learning.judges_left_out

    @property
    def params(self) -> dict[str, str]:
        """Its parameters in MLflow, which differ from those of the other methods of a sweep."""
        if self.is_schedule:
            return {"thresholds": str(self.rule)}
        loss = str(self.learning) or str(self.learning.loss)
        return {"rule": str(self.rule), "loss": loss, "prediction": str(self.prediction)}


def method_of(experiment: Experiment, name: str) -> Method:
    """The schedule or method of this name. Raises ValueError in one line."""
    warm_start = experiment.revision.warm_start
    if name in experiment.schedules:
        return Method(Thresholds(experiment.schedule(name)), Learning(warm_start=warm_start), is_schedule=True)
    asked = build(Knobs, experiment.methods[name], "a method")
    prediction = build(Prediction, asked.predict, "predict")
    rule = rule_of(asked.revise, experiment.revision.majority_classes, experiment.modules)
    if rule.needs_features and experiment.training.trainable == "all":
        raise ValueError(f"revise: {rule}: {NO_FEATURES}")
    learning = _trained(asked, experiment) if asked.learn is None else _solved(asked.learn, asked, experiment)
    from_training = prediction.learns_cuts_alone and learning.judges_left_out
    if prediction.learns and not experiment.folds.validation and not from_training:
        raise ValueError(
            f"predict: {prediction} learns from validation photos, but folds.validation is 0; give a share above 0"
        )
    method = Method(rule, learning, prediction)
    if not isinstance(rule, OwnRule):  # `check_own` makes these
        _check_weights(method, experiment)
    return method


def _check_weights(method: Method, experiment: Experiment) -> None:
    """Raise ValueError if the rule gives weights and the training of the method does not take them."""
    steps = method.learning.training.in_place_of(experiment.training).steps
    if method.rule.weighs and method.learning.ridge is None and steps != "weighted":
        raise ValueError(
            f"revise: {method.rule}: it gives photos weights, but training.steps is {steps}; give steps: weighted, for "
            "the experiment or this method (with training.trainable: head or classifier)"
        )


def _trained(asked: Knobs, experiment: Experiment) -> Learning:
    """The way to learn of a method without a part ``learn``. Raises ValueError."""
    own = build(MethodTraining, asked.training, "training").besides(experiment.training)
    training = own.in_place_of(experiment.training)
    wrong = weighted_steps_errors(training)
    if wrong:
        raise ValueError(wrong[0])
    if asked.mixup and training.steps == "weighted":
        same = "in which the methods of a fold pass the same photos"
        raise ValueError(f"mixup: {asked.mixup} with training.steps: weighted, {same}; give steps: kept or all")
    return Learning(
        loss_of(asked.loss, experiment.modules),
        asked.sampling,
        asked.warm_start or experiment.revision.warm_start,
        asked.balanced_from,
        asked.mixup,
        own,
    )


def _solved(learn: Mapping[str, Any], asked: Knobs, experiment: Experiment) -> Learning:
    """The way to learn of a method with a part ``learn``. Raises ValueError."""
    ridge = build(Ridge, learn, "learn")
    given = {
        "loss": bool(asked.loss),
        "training": bool(asked.training),
        "sampling": asked.sampling != "shuffled",
        "mixup": bool(asked.mixup),
        "warm_start": asked.warm_start is not None,
    }
    beside = [name for name, is_given in given.items() if is_given]
    if beside:
        raise ValueError(
            f"{' and '.join(beside)} beside learn: a layer that is solved is not trained; give one of them"
        )
    if experiment.training.trainable != "head":
        raise ValueError(
            f"learn: the last layer is solved, but training.trainable is {experiment.training.trainable}; give head"
        )
    if not experiment.network.has_linear_head:
        raise ValueError(
            f"learn: the last layer of {experiment.network.backbone} is a convolution; give network.head linear"
        )
    return Learning(warm_start=experiment.revision.warm_start, ridge=ridge)


def largest_training(experiment: Experiment) -> Training:
    """The experiment's training, with the largest batches and the most layers at once of all its methods."""
    every = [method.learning.training.in_place_of(experiment.training) for method in methods_of(experiment).values()]
    steps = "weighted" if any(one.steps == "weighted" for one in every) else experiment.training.steps
    return replace(experiment.training, batch_size=max(one.batch_size for one in every), steps=steps)


def methods_of(experiment: Experiment) -> dict[str, Method]:
    """The schedules and methods of an experiment, by name. Raises ValueError with one line for each wrong method."""
    found: dict[str, Method] = {}
    wrong = []
    for name in experiment.method_names():
        try:
            found[name] = method_of(experiment, name)
        except ValueError as error:
            wrong.append(f"{'schedules' if name in experiment.schedules else 'methods'}.{name}: {error}")
    if wrong:
        raise ValueError("\n".join(wrong))
    return found


def check_own(experiment: Experiment) -> None:
    """Make the user's own rules and losses once, because else they are first made in a worker.

    Raises ValueError with one line for each that cannot be made.
    """
    wrong = []
    for name, method in methods_of(experiment).items():
        for part in (method.rule, method.learning.loss):
            try:
                if isinstance(part, OwnRule | OwnLoss):
                    part.check()
                if isinstance(part, OwnRule):
                    _check_weights(method, experiment)
            except ValueError as error:
                wrong.append(f"methods.{name}: {error}")
    if wrong:
        raise ValueError("\n".join(wrong))


def drops_photos(experiment: Experiment, name: str) -> bool:
    """Whether a method's rule may drop photos, or let them weigh less, in the experiment's rounds, by its knobs."""
    rule = method_of(experiment, name).rule
    return any(rule.at(revision) != KEEPS for revision in range(1, experiment.rounds))


def controls_of(experiment: Experiment, name: str) -> list[str]:
    """The methods with the same training that drop nothing, in the file's order."""
    methods = methods_of(experiment)
    alike = [other for other, method in methods.items() if method.learning == methods[name].learning]
    return [other for other in alike if not drops_photos(experiment, other)]


def main_method(experiment: Experiment) -> str:
    """The first method that drops photos; the first method if none does."""
    names = experiment.method_names()
    return next((name for name in names if drops_photos(experiment, name)), names[0])
