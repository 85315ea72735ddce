"""Groups of photos that belong together. Each fold has a group in one part."""

from collections import Counter
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rsrl_ray.core.arrays import Pixels
from rsrl_ray.core.digest import bytes_digest
from rsrl_ray.photos.table import Table


def groups_of(table: Table, digests: Pixels, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The group of each of these rows, [n], numbered from 0; None if each photo is alone.

    Photos are in one group if they have the same bytes or the same name in the table's column ``group``. Groups that
    share a photo are one group. digests : [N, 16], of all rows of the table.
    """
    count = len(rows)
    _, same = np.unique(np.ascontiguousarray(digests[rows]).view("V16").ravel(), return_inverse=True)
    named = np.arange(count)
    if table.groups is not None:
        names = [table.groups[row] or f"\0{row}" for row in rows]  # a photo without a name is alone
        _, named = np.unique(names, return_inverse=True)
    # A graph with photos on one side and what they share on the other. Its connected parts are the groups.
    ends = np.concatenate([count + same, count + same.max(initial=0) + 1 + named])
    links = coo_array((np.ones(2 * count), (np.tile(np.arange(count), 2), ends)), shape=(3 * count + 2,) * 2)
    _, found = connected_components(links, directed=False)
    _, groups = np.unique(found[:count], return_inverse=True)
    return None if groups.max(initial=-1) + 1 == count else groups.astype(np.int64)


def names_digest(table: Table, images: Collection[str]) -> str:
    """A digest of the groups that a table names, if they have two of these photos or more; "" if there are none."""
    names = table.groups or ()
    named = [(image, name) for image, name in zip(table.images, names, strict=False) if name and image in images]
    sizes = Counter(name for _, name in named)
    together = sorted((image, name) for image, name in named if sizes[name] > 1)
    text = repr(together).encode("utf-8", "surrogateescape")
    return bytes_digest(text) if together else ""
