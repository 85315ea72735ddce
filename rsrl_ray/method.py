"""A method as a value: the rule that drops photos, the loss and sampling of training, and the prediction."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from rsrl_ray.config import Experiment, WarmStart
from rsrl_ray.core.own import WRITE, Own, is_own, module_of, source_of
from rsrl_ray.core.passes import Sampling, sampling_in
from rsrl_ray.core.prediction import LARGEST_LOGIT, Prediction
from rsrl_ray.core.rules.keep import Keep
from rsrl_ray.core.rules.own import OwnRule
from rsrl_ray.core.rules.rule import KEEPS, Rule
from rsrl_ray.core.rules.table import RULES
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.core.value import as_text, build, check_choice, check_count, check_number, make
from rsrl_ray.vision.losses import CROSS_ENTROPY, LOSSES, Loss
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
    """

    revise: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)
    predict: Mapping[str, Any] = field(default_factory=dict)
    sampling: Sampling = "shuffled"
    warm_start: WarmStart | None = None
    balanced_from: int = 1
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for part, example in EXAMPLES.items():
            value = getattr(self, part)
            if not isinstance(value, Mapping):
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


EXAMPLES = {"revise": "{quantile: 0.2}", "loss": "{balanced: 1.0}", "predict": "{average: half}"}


@dataclass(frozen=True)
class Learning:
    """The part of a method that the bits of rounds depend on, besides the kept photos.

    sampling : from round ``balanced_from`` on. mixup : alpha, see `rsrl_ray.vision.mixup`; 0 mixes nothing.
    """

    loss: Loss = CROSS_ENTROPY
    sampling: Sampling = "shuffled"
    warm_start: WarmStart = "all"
    balanced_from: int = 1
    mixup: float = 0.0

    def __str__(self) -> str:
        """For people: what is not at its default."""
        late = f" from round {self.balanced_from}" if self.balanced_from > 1 else ""
        parts = [
            "" if self.loss == CROSS_ENTROPY else str(self.loss),
            "" if self.sampling == "shuffled" else f"class-balanced batches{late}",
            f"balanced mixup {as_text(self.mixup)}" if self.mixup else "",
            "" if self.warm_start == "all" else f"warm start: {self.warm_start}",
        ]
        return "; ".join(filter(None, parts))

    def until(self, number: int) -> "Learning":
        """What rounds 1 to ``number`` have of it: methods that differ in later rounds only have the same."""
        sampling = sampling_in(number, self.sampling, self.balanced_from)
        return self if sampling == self.sampling else replace(self, sampling=sampling, balanced_from=1)


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
    warm_start = asked.warm_start or warm_start
    if asked.mixup and experiment.training.steps == "weighted":
        same = "in which the methods of a fold pass the same photos"
        raise ValueError(f"mixup: {asked.mixup} with training.steps: weighted, {same}; give steps: kept or all")
    loss = loss_of(asked.loss, experiment.modules)
    prediction = build(Prediction, asked.predict, "predict")
    if prediction.learns and not experiment.folds.validation:
        raise ValueError(
            f"predict: {prediction} learns from validation photos, but folds.validation is 0; give a share above 0"
        )
    rule = rule_of(asked.revise, experiment.revision.majority_classes, experiment.modules)
    return Method(rule, Learning(loss, asked.sampling, warm_start, asked.balanced_from, asked.mixup), prediction)


def loss_of(knobs: Mapping[str, Any], modules: Mapping[str, str]) -> Loss:
    """The loss of these knobs; the cross-entropy without knobs. modules : sources by name. Raises ValueError."""
    if not knobs:
        return CROSS_ENTROPY
    return OwnLoss(Own.of(knobs, modules)) if is_own(knobs) else make(knobs, LOSSES, "loss")


def rule_of(knobs: Mapping[str, Any], majority_classes: int, modules: Mapping[str, str]) -> Rule:
    """The rule of these knobs; it keeps all without knobs. modules : sources by name. Raises ValueError."""
    if not knobs:
        return Keep()
    if is_own(knobs):
        return OwnRule(Own.of(knobs, modules))
    if "thresholds" in knobs:  # one K may stand for all majority classes, but a rule does not know their number
        steps = knobs["thresholds"]
        if not isinstance(steps, Mapping):
            raise ValueError(f"thresholds: {steps!r}; give steps, such as {{1: 0.9}}")
        knobs = {**knobs, "thresholds": make_schedule(steps, majority_classes)}
    return make(knobs, RULES, "rule")


def as_rule(given: Any, majority_classes: int) -> Rule:
    """The rule that a user gave in Python: an object with ``drops``, or knobs as in a file. Raises ValueError."""
    if isinstance(given, Mapping):
        rule = rule_of(given, majority_classes, _sources(given, "rule"))
        if isinstance(rule, OwnRule):
            rule.check()
        return rule
    if isinstance(given, type) or not callable(getattr(given, "drops", None)):
        raise ValueError(f'rule: {given!r}; give knobs, such as {{"quantile": 0.2}}, or an object: rules.Quantile(0.2)')
    lacking = [name for name in ("looks_back", "recalls") if not hasattr(given, name)]
    if lacking:
        raise ValueError(
            f"rule: {given!r} has no {' and no '.join(lacking)}; derive its class from rsrl_ray.rules.Rule"
        )
    return given  # type: ignore[no-any-return]


def as_loss(given: Any) -> Loss:
    """The loss that a user gave in Python: an object that can be called as `Loss`, or knobs. Raises ValueError."""
    if isinstance(given, Mapping):
        loss = loss_of(given, _sources(given, "loss"))
        if isinstance(loss, OwnLoss):
            loss.check()
        return loss
    if isinstance(given, type) or not callable(given):
        raise ValueError(
            f'loss: {given!r}; give knobs, such as {{"balanced": 0.5}}, or an object: losses.Balanced(0.5)'
        )
    return given  # type: ignore[no-any-return]


def _sources(knobs: Mapping[str, Any], what: str) -> dict[str, str]:
    """The sources of modules that knobs name by import paths, in the working folder or installed."""
    found = {}
    for path in knobs if is_own(knobs) else ():
        name = module_of(path)
        source = source_of(name, Path.cwd())
        if source is None:
            raise ValueError(
                f"{what}: {path}, but the module {name} is not in the working folder, and it is not installed; give "
                "the object itself, such as Mine(0.2)"
            )
        found[name] = source
    return found


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
            except ValueError as error:
                wrong.append(f"methods.{name}: {error}")
    if wrong:
        raise ValueError("\n".join(wrong))


def drops_photos(experiment: Experiment, name: str) -> bool:
    """Whether the rule of a method may drop photos in the experiment's rounds, by its knobs."""
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
