"""The passes of a round over the kept photos, and how photos are drawn for them."""

from typing import Literal, get_args

RoundSteps = Literal["kept", "all", "weighted"]
ROUND_STEPS = get_args(RoundSteps)
Sampling = Literal["shuffled", "class_balanced"]


def sampling_in(number: int, sampling: Sampling, balanced_from: int) -> Sampling:
    """How round ``number`` draws its photos: as ``sampling`` says from round ``balanced_from`` on, shuffled before.

    References
    ----------
    K. Cao et al., Learning imbalanced datasets with label-distribution-aware margin loss, NeurIPS 2019 (deferred
    re-balancing).
    B. Kang et al., Decoupling representation and classifier for long-tailed recognition, ICLR 2020.
    """
    return sampling if number >= balanced_from else "shuffled"


def passes(kept: int, whole: int, batch_size: int, epochs: int, steps: RoundSteps) -> list[int]:
    """The number of photos in each pass of a round, if ``kept`` of ``whole`` photos are kept.

    steps : ``kept``: ``epochs`` passes over the kept photos (the paper's section V.A), so a method that drops photos
    trains less. ``all``: as many batches as in ``epochs`` passes over all photos; the last pass may end early.
    ``weighted``: all photos pass, and those that are dropped weigh 0.
    """
    if steps == "weighted":
        return [whole] * epochs
    if steps == "kept":
        return [kept] * epochs
    left, each = epochs * batch_count(whole, batch_size), batch_count(kept, batch_size)
    full, rest = divmod(left, each)
    found = [kept] * full
    if rest:
        found.append(rest * batch_size)
    return found


def batch_count(photos: int, batch_size: int) -> int:
    """The number of batches of so many photos. A single photo at the end joins the last batch (batch normalisation)."""
    full, rest = divmod(photos, batch_size)
    joins_the_last = rest == 1 and batch_size > 1 and full > 0
    return full if rest == 0 or joins_the_last else full + 1
