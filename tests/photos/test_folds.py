"""What is refused of an experiment once the scores of its photos are known."""

import re
from typing import Any

import numpy as np
import pytest

from rsrl_ray.config import Experiment, Folds, Noise, Revision
from rsrl_ray.photos.folds import folds_of
from rsrl_ray.photos.photo_set import Examination

SCORES = np.repeat([1, 2, 3], [10, 20, 6])
PHOTOS = Examination(tuple(map(str, range(36))), SCORES, (), ())


def asked(majority: int, **noise: Any) -> Experiment:
    revision = Revision(majority_classes=majority)
    return Experiment("a", "a.csv", {"none": {1: 0.0}}, folds=Folds(2), revision=revision, noise=Noise(**noise))


@pytest.mark.parametrize(
    ("majority", "noise", "way"),
    [
        (1, {"share": 0.2}, "shift moves photos among neighbouring scores of the 1 largest"),
        (2, {"share": 0.04}, "shift moves photos among neighbouring scores of the 2 largest"),  # 0.4 and 0.8 photos
        (3, {"share": 0.2, "kind": "invade"}, "invade moves photos of other scores into the 3 largest"),
    ],
)
def test_noise_that_makes_no_label_wrong_is_refused(majority: int, noise: dict[str, Any], way: str) -> None:
    said = (
        f"noise.share: {noise['share']} makes no label wrong: {way} (revision.majority_classes); give a larger share, "
        "another number of majority classes or another kind, or leave noise out"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        folds_of(asked(majority, **noise), PHOTOS)


@pytest.mark.parametrize(("majority", "noise"), [(2, {"share": 0.05}), (1, {"share": 0.2, "kind": "invade"}), (1, {})])
def test_other_noise_and_none_are_not(majority: int, noise: dict[str, Any]) -> None:
    assert len(folds_of(asked(majority, **noise), PHOTOS)) == 2
