"""The measures by which methods are compared: their names in words, which way is better, what counts as none."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # else help at the terminal, which names the knobs, would load numpy
    import numpy as np
    from numpy.typing import NDArray

Leading = Literal["macro_f1", "quadratic_kappa", "mae", "spearman"]  # a reader may put one of these first


@dataclass(frozen=True)
class Measure:
    """A measure in words.

    ropes : half-width of the region of practical equivalence, in ropes of macro F. Kappa and rho go from -1 to 1, a
    range that is twice as wide. is_error : the lower, the better, and its unit is that of the scores.
    """

    words: str
    ropes: float = 1.0
    is_error: bool = False

    def half_width(self, rope: float, classes: "NDArray[np.int64]") -> float:
        """The rope in units of the measure.

        Of an error it is in steps from a score to the next: with 0.01 one photo of a hundred is assigned one score
        nearer. rope : that of macro F. classes : [C], the scores, ascending.
        """
        if not self.is_error or len(classes) < 2:
            return rope * self.ropes
        return rope * self.ropes * float(classes[-1] - classes[0]) / (len(classes) - 1)


COMPARED = {
    "macro_f1": Measure("macro F"),
    "macro_f1_50": Measure("macro F 50+"),
    "accuracy": Measure("accuracy"),
    "minority_f1": Measure("minority F"),
    "majority_f1": Measure("majority F"),
    "quadratic_kappa": Measure("quadratic kappa", ropes=2),
    "mae": Measure("MAE", is_error=True),
    "spearman": Measure("Spearman's rho", ropes=2),
}
LEADING: tuple[Leading, ...] = ("macro_f1", "quadratic_kappa", "mae", "spearman")
LOWER_IS_BETTER = "MAE: the lower, the better, so a difference below 0 is better."


def remark(leading: Leading) -> str:
    """What a reader should know if another measure than macro F is shown first; "" for macro F."""
    chosen = "" if leading == "macro_f1" else " Rounds are chosen by macro F all the same."
    return chosen + (f" {LOWER_IS_BETTER}" if COMPARED[leading].is_error else "")
