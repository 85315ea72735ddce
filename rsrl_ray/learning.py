"""How a method trains: all that the bits of its rounds depend on, besides the kept photos."""

from dataclasses import dataclass, replace
from typing import Any

from rsrl_ray.config import Training, WarmStart
from rsrl_ray.core.passes import ROUND_STEPS, RoundSteps, Sampling, sampling_in
from rsrl_ray.core.ridge import Ridge
from rsrl_ray.core.value import as_text, check_choice, check_count, check_number
from rsrl_ray.vision.losses import CROSS_ENTROPY, Loss

_REAL = ("learning_rate", "head_factor", "momentum", "weight_decay")


@dataclass(frozen=True)
class MethodTraining:
    """What a method trains with in place of the experiment's `Training`; None : as the experiment."""

    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    head_factor: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    steps: RoundSteps | None = None

    def __post_init__(self) -> None:
        given = self.given()
        for name in ("epochs", "batch_size"):
            if name in given:
                check_count(name, given[name])
        for name in _REAL:
            if name in given:
                check_number(name, given[name], 0)
        for name in ("learning_rate", "head_factor"):
            if given.get(name) == 0:
                raise ValueError(f"{name}: 0; give a number above 0")
        if given.get("momentum", 0) >= 1:
            raise ValueError(f"momentum: {self.momentum!r}; give a number from 0 to below 1")
        if self.steps is not None:
            check_choice("steps", self.steps, ROUND_STEPS)

    def __str__(self) -> str:
        """For people."""
        words = {name: value if isinstance(value, str) else as_text(value) for name, value in self.given().items()}
        return ", ".join(f"{name.replace('_', ' ')} {word}" for name, word in words.items())

    def given(self) -> dict[str, Any]:
        """What is not None, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def in_place_of(self, training: Training) -> Training:
        """The training of the method in an experiment with this ``training``."""
        changed: dict[str, Any] = {
            name: float(value) if name in _REAL else value for name, value in self.given().items()
        }
        return replace(training, **changed)

    def besides(self, training: Training) -> "MethodTraining":
        """The same without what the experiment's ``training`` says too."""
        meant = vars(self.in_place_of(training))
        return MethodTraining(**{name: meant[name] for name in self.given() if meant[name] != getattr(training, name)})


AS_THE_EXPERIMENT = MethodTraining()


@dataclass(frozen=True)
class Learning:
    """The part of a method that the bits of rounds depend on, besides the kept photos.

    sampling : from round ``balanced_from`` on. mixup : alpha, see `rsrl_ray.vision.mixup`; 0 mixes nothing.
    training : what differs from the experiment's. ridge : the last layer is solved and not trained.
    """

    loss: Loss = CROSS_ENTROPY
    sampling: Sampling = "shuffled"
    warm_start: WarmStart = "all"
    balanced_from: int = 1
    mixup: float = 0.0
    training: MethodTraining = AS_THE_EXPERIMENT
    ridge: Ridge | None = None

    @property
    def judges_left_out(self) -> bool:
        """Whether the logits of training photos are of layers that were solved without them."""
        return self.ridge is not None and self.ridge.judged == "left_out"

    def __str__(self) -> str:
        """For people: what is not at its default."""
        late = f" from round {self.balanced_from}" if self.balanced_from > 1 else ""
        parts = [
            "" if self.ridge is None else str(self.ridge),
            "" if self.loss == CROSS_ENTROPY else str(self.loss),
            "" if self.sampling == "shuffled" else f"class-balanced batches{late}",
            f"balanced mixup {as_text(self.mixup)}" if self.mixup else "",
            "" if self.warm_start == "all" else f"warm start: {self.warm_start}",
            str(self.training),
        ]
        return "; ".join(filter(None, parts))

    def until(self, number: int) -> "Learning":
        """What rounds 1 to ``number`` have of it: methods that differ in later rounds only have the same."""
        sampling = sampling_in(number, self.sampling, self.balanced_from)
        return self if sampling == self.sampling else replace(self, sampling=sampling, balanced_from=1)
