"""Which photos belong together, and so fall into one part of every fold."""

import hashlib
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rsrl_ray.photos.decoding import DIGEST, Pixels
from rsrl_ray.photos.table import Table


def groups_of(table: Table, digests: Pixels, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """A group for each of these rows, [n], numbered from 0; None where every photo is alone.

    Together are photos of the same bytes and those that the table's column ``group`` names alike, and whoever shares
    a photo with them. digests : [N, 16] of all rows of the table.
    """
    count = len(rows)
    _, same = np.unique(np.ascontiguousarray(digests[rows]).view("V16").ravel(), return_inverse=True)
    named = np.arange(count)
    if table.groups is not None:
        names = [table.groups[row] or f"\0{row}" for row in rows]  # without a name: alone
        _, named = np.unique(names, return_inverse=True)
    # photos on one side, what they share on the other: a group is what hangs together
    ends = np.concatenate([count + same, count + same.max(initial=0) + 1 + named])
    links = coo_array((np.ones(2 * count), (np.tile(np.arange(count), 2), ends)), shape=(3 * count + 2,) * 2)
    _, found = connected_components(links, directed=False)
    _, groups = np.unique(found[:count], return_inverse=True)
    return None if groups.max(initial=-1) + 1 == count else groups.astype(np.int64)


def names_digest(table: Table, images: Collection[str] | None = None) -> str:
    """What tells the table's column ``group`` from another one, of all photos or of these; "" where there is none."""
    if table.groups is None:
        return ""
    named = sorted((image, group) for image, group in zip(table.images, table.groups, strict=True) if group)
    of_these = named if images is None else [one for one in named if one[0] in images]
    return hashlib.blake2b(repr(of_these).encode("utf-8", "surrogateescape"), digest_size=DIGEST).hexdigest()
