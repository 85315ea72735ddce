"""How many photos a round trains on: its passes over what is kept."""


def passes(kept: int, whole: int, batch_size: int, epochs: int, equal_steps: bool) -> list[int]:
    """Photos of each pass of a round over ``kept`` of ``whole`` photos; their sum is what the round has seen.

    ``epochs`` passes over what is kept (the paper's section V.A, so that who drops trains less); with ``equal_steps``
    as many batches as ``epochs`` passes over all photos have, so that the last pass may end early.
    """
    if not equal_steps:
        return [kept] * epochs
    left, each = epochs * batch_count(whole, batch_size), batch_count(kept, batch_size)
    full, rest = divmod(left, each)
    found = [kept] * full
    if rest:
        found.append(rest * batch_size)
    return found


def batch_count(photos: int, batch_size: int) -> int:
    """How many batches so many photos are cut into; a single one left over joins the last (batch normalisation)."""
    full, rest = divmod(photos, batch_size)
    joins_the_last = rest == 1 and batch_size > 1 and full > 0
    return full if rest == 0 or joins_the_last else full + 1
