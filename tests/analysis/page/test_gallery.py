"""What the page says of highlight maps."""
# ruff: noqa: RUF001

from dataclasses import replace

import numpy as np
import pytest

from rsrl_ray.analysis.page.gallery import Examples, find_examples, remark
from rsrl_ray.analysis.sweep.arrays import Sweep

ROW = {"J": 11, "correlation": 1 - 2e-7, "agreement": -0.25, "edges": 0.4, "reason": ""}
NONE = {"J": None, "correlation": np.nan, "agreement": np.nan, "edges": np.nan, "reason": "not a picture"}


def test_what_is_known_of_a_map() -> None:
    said = "J 11, 1 − correlation 2.0e-07; rank correlation −0.25 with the control, 0.40 with the edges"
    assert remark(ROW) == said
    assert remark(NONE) == "not a picture"
    alone = ROW | {"agreement": np.nan, "reason": "no control: none"}
    assert remark(alone) == "J 11, 1 − correlation 2.0e-07; rank correlation 0.40 with the edges; no control: none"


def test_the_surest_test_photos_of_the_first_method_that_drops(by_hand: Sweep) -> None:
    # fold 0 tests on photos 0, 1 of score 3 and 4 of score 5; the later a photo, the surer
    assert find_examples(by_hand) == Examples(("1.jpg", "0.jpg", "4.jpg"), 0, "paper", 2)


def test_a_map_compares_two_rounds(by_hand: Sweep) -> None:
    late = {key: trial for key, trial in by_hand.trials.items() if key.method == "late"}
    with pytest.raises(ValueError, match="no trial has two rounds yet"):
        find_examples(replace(by_hand, trials=late))
