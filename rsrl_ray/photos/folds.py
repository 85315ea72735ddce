"""The folds of an experiment's photos, and what is unusual about them."""

from collections.abc import Sequence

import numpy as np

from rsrl_ray.config import Experiment
from rsrl_ray.core.arrays import Labels
from rsrl_ray.core.draw import Draw
from rsrl_ray.core.folds import Fold, make_folds
from rsrl_ray.core.noise import flipped
from rsrl_ray.photos.photo_set import Examination


def folds_of(experiment: Experiment, photos: Examination) -> list[Fold]:
    """All folds of an experiment, also those that it does not use.

    Raises ValueError if there are fewer scores than classes to revise, if the noise that is asked for makes no label
    wrong, or if a part of a fold would be empty.
    """
    classes, labels = np.unique(photos.scores, return_inverse=True)
    if experiment.revision.majority_classes > len(classes):
        raise ValueError(
            f"revision.majority_classes: {experiment.revision.majority_classes}, "
            f"but the photos have {len(classes)} scores: {classes.tolist()}; give {len(classes)} or fewer"
        )
    _check_noise(experiment, labels)
    return make_folds(labels, experiment.draw(), photos.groups, bool(photos.group_names))


def _check_noise(experiment: Experiment, labels: Labels) -> None:
    """Raises ValueError if `config.Noise` changes none of the labels, [N], so that nothing could be learnt from it."""
    noise, majority = experiment.noise, experiment.revision.majority_classes
    if not noise.share or (flipped(labels, noise.share, noise.kind, majority, noise.seed) != labels).any():
        return
    ways = {
        "shift": f"shift moves photos among neighbouring scores of the {majority} largest (revision.majority_classes)",
        "invade": f"invade moves photos of other scores into the {majority} largest (revision.majority_classes)",
    }
    raise ValueError(
        f"noise.share: {noise.share:g} makes no label wrong: {ways[noise.kind]}; give a larger share, another number "
        "of majority classes or another kind, or leave noise out"
    )


def describe_folds(photos: Examination, draw: Draw, folds: Sequence[Fold]) -> list[str]:
    """What is unusual about the folds, in lines: groups, and classes with fewer photos than there are folds."""
    grouped = []
    if photos.groups is not None:
        of = np.bincount(photos.groups)
        grouped = [
            f"{of[of > 1].sum():,} photos are in {(of > 1).sum():,} groups (by the table's column group, or because "
            "they have the same bytes): folds do not divide a group",
            *_other_shares(draw, folds),
        ]
    classes, sizes = np.unique(photos.scores, return_counts=True)
    small = [f"{score} ({size})" for score, size in zip(classes, sizes, strict=True) if size < draw.count]
    fewer = f"fewer photos than folds, so missing from some test sets: score {', '.join(small)}"
    return [*grouped, *([fewer] if small else [])]


def _other_shares(draw: Draw, folds: Sequence[Fold]) -> list[str]:
    """Lines on shares that differ from those that are asked for, because groups are too large."""
    rest = [len(fold.train) + len(fold.validation) for fold in folds]
    whole = [left + len(fold.test) for left, fold in zip(rest, folds, strict=True)]
    lines = []
    for knob, asked, parts in (
        ("folds.count", 1 / draw.count, zip([len(fold.test) for fold in folds], whole, strict=True)),
        ("folds.validation", draw.validation, zip([len(fold.validation) for fold in folds], rest, strict=True)),
    ):
        sizes = list(parts)
        if any(abs(size - asked * of) > 2 for size, of in sizes):
            shares = [size / of for size, of in sizes]
            found = f"folds have {min(shares):.1%} to {max(shares):.1%}"
            lines.append(f"{knob} asks for {asked:.1%} of the photos, but no group is divided: {found}")
    return lines
