"""What highlight maps are worth, from literal correlations."""

import pandas as pd

from rsrl_ray.maps.sanity import random_words, verdict

MEANING = "(alike: a rank correlation of 0.5 or more either way)"


def rows(*values: tuple[str, float | None, bool | None]) -> pd.DataFrame:
    """For each map: its path, how similar it is to the edges, and whether it differs from both."""
    frame = pd.DataFrame(values, columns=["map", "edges", "differs"])
    frame["random"], frame["random_edges"] = (
        [0.6, -0.8, None, 0.1][: len(values)],
        [-0.5, 0.3, None, 0.4][: len(values)],
    )
    return frame.astype({"differs": "boolean", "edges": "float64", "random": "float64", "random_edges": "float64"})


def test_how_many_maps_differ_from_both() -> None:
    found = rows(("a", 0.1, True), ("b", 0.7, False), ("", None, None), ("d", 0.2, None))
    assert verdict(found) == f"1 of 2 maps differ from both their control and the photo's edges {MEANING}"
    assert random_words(found) == (
        "of 3 maps of random weights, which have learnt nothing, 1 are like the edges (mean size of the rank "
        "correlation 0.40) and 2 like the highlight map (0.50)"
    )


def test_without_controls_there_are_still_edges() -> None:
    found = rows(("a", -0.6, None), ("b", 0.4, None))
    assert verdict(found) == f"1 of 2 maps are like the photo's edges; none has a control to differ from {MEANING}"


def test_without_maps() -> None:
    found = rows(("", None, None)).assign(random=float("nan"))
    assert verdict(found) == "no highlight map was made" and random_words(found) == ""
