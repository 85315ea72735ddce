"""Which photos are alike: cosines of features, nearest photos, pairs that folds divide, groups that no fold divides."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rsrl_ray.core.arrays import Labels, Mask

BLOCK = 2**26  # cosines that are held at once: 256 MiB
MOST_PAIRS = 10_000_000  # 200 MB; more are no near-duplicates
COSINE_ROUNDING = 1e-6  # of a cosine in float32: equal photos may have a little less than 1
COSINE_DECIMALS = 9  # of a cosine in float64: sums of another order, of another CPU, are still equal


@dataclass(frozen=True)
class SimilarPairs:
    """P pairs of photos, the most similar first. first, second : [P], indices, first < second. cosine : [P]."""

    first: Labels
    second: Labels
    cosine: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.cosine)

    def of(self, chosen: Mask) -> "SimilarPairs":
        """Those that are ``chosen``, [P]."""
        return SimilarPairs(self.first[chosen], self.second[chosen], self.cosine[chosen])


def similar_pairs(
    features: NDArray[np.float32], least: float, told: Callable[[int, int], None] | None = None
) -> SimilarPairs:
    """All pairs of photos whose features have a cosine of ``least`` or more. features : [N, D].

    The mean of all photos is subtracted first, because features of photos of one kind all point the same way: any two
    leaves have a plain cosine of 0.7, and no plain cosine tells the same leaf from others as it tells the same photo
    from other photos. A photo whose features are the mean itself is like no other.

    A block of rows is multiplied with all rows after it: N x N x D additions and multiplications in sum, N x D x 4
    bytes for a copy of the features and 256 MiB for a block. For 20,000 photos with 1,280 features this took 7 s of one
    core; 255,000 would take 20 minutes and 1.6 GB. told : is called with the rows that are done, and N.

    Raises
    ------
    ValueError
        If there are more than `MOST_PAIRS`.
    """
    unit, count = _unit_rows(features), len(features)
    size = max(1, BLOCK // max(1, count))
    found, pairs = [], 0
    for start in range(0, count, size):
        cosines = unit[start : start + size] @ unit[start:].T
        rows, columns = np.nonzero(cosines >= least - COSINE_ROUNDING)
        later = columns > rows
        rows, columns = rows[later], columns[later]
        found.append((rows + start, columns + start, cosines[rows, columns]))
        pairs += len(rows)
        if pairs > MOST_PAIRS:
            raise ValueError(f"more than {MOST_PAIRS:,} pairs of photos have a cosine of {least:g} or more; give more")
        if told is not None:
            told(min(start + size, count), count)
    first, second, cosine = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(-cosine, kind="stable")
    return SimilarPairs(first[order], second[order], np.minimum(cosine[order], np.float32(1)))


def nearest(features: NDArray[np.float32], count: int) -> Labels:
    """The ``count`` photos that are most like each photo, the nearest first, without itself; of equal ones the earlier.

    If there are no more than ``count`` photos, all others. features : [N, D]. Returns indices, [N, min(count, N - 1)].

    The cosine is that of `similar_pairs`, but in float64, so that equal photos are equally near on every machine. It
    takes N x N x D additions and multiplications, N x D x 12 bytes for copies of the features, and 256 MiB for a block
    of rows. For 2,500 photos with 1,280 features this took 0.3 s of one core, for 20,000 it took 21 s; 255,000 would
    take an hour and 4 GB.
    """
    unit, size = _unit_rows(features).astype(np.float64), max(1, BLOCK // 2 // max(1, len(features)))
    found = np.empty((len(unit), max(0, min(count, len(unit) - 1))), dtype=np.int64)
    for start in range(0, len(unit), size):
        cosines = np.round(unit[start : start + size] @ unit.T, COSINE_DECIMALS)
        rows = np.arange(len(cosines))
        cosines[rows, rows + start] = -np.inf
        for place in range(found.shape[1]):
            found[start + rows, place] = best = cosines.argmax(axis=1)
            cosines[rows, best] = -np.inf
    return found


def _unit_rows(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Less their mean, and each of length 1."""
    rows: NDArray[np.float32] = features - features.mean(axis=0, dtype=np.float64).astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    rows /= np.where(lengths > 0, lengths, 1)
    return rows


def divided(pairs: SimilarPairs, tested_in: Labels) -> Mask:
    """Which pairs two folds test, for each deal, [R, P]. tested_in : [R, N], the fold that tests a photo.

    Then the network of either fold was trained on one of the two photos, or chosen by it, and is tested on the other.
    """
    return np.asarray(tested_in[:, pairs.first] != tested_in[:, pairs.second])


def share_divided(pairs: SimilarPairs, tested_in: Labels) -> float:
    """The share of all photos that have a similar photo in another fold, mean over the deals."""
    marked = np.zeros(tested_in.shape, dtype=bool)
    deal, pair = np.nonzero(divided(pairs, tested_in))
    marked[deal, pairs.first[pair]] = True
    marked[deal, pairs.second[pair]] = True
    return float(marked.mean())


def joined(pairs: SimilarPairs, groups: Labels) -> Labels:
    """The group of each photo, [N], numbered from 0 in the order of their first photos.

    Photos of a pair are in one group, also over several pairs, and so are photos of one of the ``groups``, [N], before.
    """
    count = len(groups)
    ends = np.concatenate([pairs.second, count + groups])
    starts = np.concatenate([pairs.first, np.arange(count)])
    size = count + int(groups.max(initial=-1)) + 1
    links = coo_array((np.ones(len(ends), dtype=bool), (starts, ends)), shape=(size, size))
    _, found = connected_components(links, directed=False)
    _, first, of = np.unique(found[:count], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[of].astype(np.int64)
