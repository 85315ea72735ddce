"""The knobs of a last layer that is solved by ridge regression, and not trained; see `rsrl_ray.vision.solving`."""

from dataclasses import dataclass

from rsrl_ray.core.value import as_text, check_choice, check_number

TARGETS = ("score", "hard", "soft")
JUDGED = ("in_sample", "left_out")
STRENGTHS = tuple(10 ** (step / 2) for step in range(3, 11))  # of `ridge: auto`: 10^1.5 to 10^5


@dataclass(frozen=True)
class Ridge:
    """A last layer in closed form: ridge regression on the features of the kept photos.

    ridge : the strength, the factor of the squared weights beside the sum of squared errors, 0 or more; ``auto`` takes
    the one of `STRENGTHS` that predicts kept photos best that were left out. targets : ``score``, the class as a
    number; ``hard``, 1 for the photo's class and 0 for the others; ``soft``, shares of near classes. balance : b, 0 to
    1; photos weigh as 1 / n_c^b, where n_c is the number of kept photos of their class; 0 : all photos weigh the same.
    What a rule lets photos weigh is a factor of this, and n_c is then the sum of it in the class.
    judged : ``left_out`` gives each kept photo the logits of the layer that all other kept photos have, with the same
    strength; ``in_sample``, those of the layer itself.
    """

    ridge: float | str = "auto"
    targets: str = "score"
    balance: float = 0.0
    judged: str = "in_sample"

    def __post_init__(self) -> None:
        if self.ridge != "auto":
            check_number("ridge", self.ridge, 0, what="auto or a number")
        check_choice("targets", self.targets, TARGETS)
        check_number("balance", self.balance, 0, 1)
        check_choice("judged", self.judged, JUDGED)

    def __str__(self) -> str:
        """For people."""
        strength = "" if isinstance(self.ridge, str) else f", strength {as_text(self.ridge)}"
        balance = f", balance {as_text(self.balance)}" if self.balance else ""
        judged = ", judged left out" if self.judged == "left_out" else ""
        return f"ridge regression on {self.targets} targets{strength}{balance}{judged}"
