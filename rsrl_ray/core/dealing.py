"""Deals groups of photos to parts of given sizes, so that each class is divided as evenly as the groups allow."""

from dataclasses import dataclass

import numpy as np

from rsrl_ray.core.arrays import Labels, Mask, Values

MOST_EXCHANGED = 300  # so many groups of a part are tried when two parts exchange groups


@dataclass(frozen=True)
class Deal:
    """N photos to be dealt to K parts.

    labels, groups : [N]. shares : [K], they add up to 1. given : [N], the part of photos that already have one and
    stay there; -1 for the others. kept : [N], labels; the first part needs each class of them, even if its share is
    small.
    """

    labels: Labels
    groups: Labels
    shares: Values
    given: Labels | None = None
    kept: Labels | None = None


def deal(asked: Deal, generator: np.random.Generator) -> Labels:
    """The part of each photo, [N]. A group is in one part, and classes are divided as evenly as the groups allow.

    1. The groups whose photos are spread least evenly over the classes come first, as in scikit-learn's
       StratifiedGroupKFold. Each goes to the part that it brings nearest to its share of the group's classes.
    2. Photos that are a group of their own come last. They fill up the parts, class by class.
    3. A part without a photo gets one that the other parts can spare. So does a part that lacks a class, if its share
       of this class is a photo or more and if the class is in as many groups as there are parts.
    4. Groups are moved until the size of each part is within one photo of its share, as far as the groups allow.
    """
    _, group, sizes = np.unique(asked.groups, return_inverse=True, return_counts=True)
    _, label = np.unique(asked.labels, return_inverse=True)
    kept = np.zeros((len(sizes), 0))
    if asked.kept is not None:
        kept = _of_groups(group, np.unique(asked.kept, return_inverse=True)[1])
    parts = _Parties(_of_groups(group, label), kept, asked.shares)
    places = np.full(len(sizes), -1, dtype=np.int64)
    if asked.given is not None:
        places[group] = asked.given
        parts.take(places)
    free = places < 0
    several = np.flatnonzero(free & (sizes > 1))
    several = several[generator.permutation(len(several))]
    for place in several[np.argsort(-parts.members[several].std(axis=1), kind="stable")]:
        places[place] = parts.nearest(parts.members[place])
        parts.held[places[place]] += parts.members[place]
    alone = free & (sizes == 1)
    owed = np.zeros(len(asked.shares))
    for one in range(parts.members.shape[1]):
        singles = np.flatnonzero(alone & (parts.members[:, one] > 0))
        more = parts.filled(one, len(singles), owed, generator)
        places[singles[generator.permutation(len(singles))]] = np.repeat(np.arange(len(more)), more)
        parts.held[:, one] += more
        owed += parts.targets[:, one] - parts.held[:, one]
    parts.supply(places, free)
    parts.level(places, free)
    return places[group]


class _Parties:
    """The photos of each class that the parts have so far, ``held`` [K, C], and should have, ``targets`` [K, C]."""

    def __init__(self, members: Values, kept: Values, shares: Values) -> None:
        """Members : [G, C], photos of each class in a group. kept : [G, D], the same for the classes of `Deal.kept`."""
        totals = members.sum(axis=0)
        self.members, self.shares = members, shares
        self.targets = np.outer(shares, totals)
        self.held = np.zeros_like(self.targets)
        self._weights = 1.0 / totals**2
        # What a part needs. The columns after the classes: the first part needs each kept class, each part any photo.
        self._there = np.hstack([members > 0, kept > 0, np.ones((len(members), 1), dtype=bool)])
        enough = (self.targets >= 1 - 1e-9) & ((members > 0).sum(axis=0) >= len(shares))
        first, others = np.ones((1, kept.shape[1] + 1), dtype=bool), np.zeros((len(shares) - 1, kept.shape[1] + 1))
        others[:, -1] = True
        self._needs = np.hstack([enough, np.vstack([first, others]).astype(bool)])
        # If no part has to keep all classes, a class of two groups is in two parts. Each can do without the other.
        self._scattered = np.arange(self._needs.shape[1]) < (0 if kept.shape[1] else members.shape[1])

    def take(self, places: Labels) -> None:
        """Count the groups that already have a part: ``places`` [G], -1 if there is none."""
        np.add.at(self.held, places[places >= 0], self.members[places >= 0])

    def nearest(self, group: Values) -> int:
        """The part that comes nearest to its target with this group, [C]; of equal ones the part with fewest photos."""
        cost = self._cost(group)
        least = np.flatnonzero(np.isclose(cost, cost.min()))
        return int(least[(self.held[least].sum(axis=1) / self.shares[least]).argmin()])

    def _cost(self, group: Values) -> Values:
        """The cost of a group in each part, [..., K] for [..., C]: the growth of the weighted squared distances."""
        group = group[..., None, :]
        growth = (self._weights * group * (group + 2 * (self.held - self.targets))).sum(axis=-1)
        return np.asarray(growth / self.shares)

    def filled(self, one: int, more: int, owed: Values, generator: np.random.Generator) -> Labels:
        """How many of ``more`` photos of class ``one`` each part gets, [K]: as near to its target as possible.

        A photo that is left over goes to the part that is ``owed`` most, [K]; of equal ones, to a random one.
        """
        exact = _levelled(self.targets[:, one], self.held[:, one], more)
        counts = np.floor(exact + 1e-9)
        rest = exact - counts
        order = generator.permutation(len(exact))
        order = order[np.argsort(-np.where(rest > 1e-9, owed + rest, -np.inf)[order], kind="stable")]
        counts[order[: more - int(counts.sum())]] += 1
        return counts.astype(np.int64)

    def supply(self, places: Labels, free: Mask) -> None:
        """Move free groups, in ``places`` [G], to parts that lack a class that they need, or have no photo.

        No part gives the last group of what it needs. Of several groups, the one that costs least is moved.
        """
        while True:
            has = self._has(places)
            spare = free & ~(self._there & self._last(has)[places]).any(axis=1)
            for part, kind in np.argwhere(self._lacking(has)):
                groups = np.flatnonzero(spare & self._there[:, kind] & (places != part))
                if len(groups):
                    self._move(places, groups, part)
                    break
            else:
                return

    def level(self, places: Labels, free: Mask) -> None:
        """Move or exchange free groups, in ``places`` [G], until each part's size is within one photo of its share.

        No part loses what it needs. It ends earlier if no exchange makes the sizes more even.
        """
        while True:
            off = (self.held - self.targets).sum(axis=1)
            for more, less in ((int(one), int(other)) for one in np.argsort(-off) for other in np.argsort(off)):
                if max(off[more], -off[less]) >= 1 and self._exchanged(places, free, more, less):
                    break
            else:
                return

    def _exchanged(self, places: Labels, free: Mask, more: int, less: int) -> bool:
        """Move a group from part ``more`` to part ``less``, and perhaps one back; False if no move evens their sizes.

        Of the moves that bring both parts within one photo of their shares, it takes the one that costs least. If there
        is none, it takes the one that brings them nearest.
        """
        there, back = (self._smallest(free & (places == part)) for part in (more, less))
        off, last = self.held - self.targets, self._last(self._has(places))
        given = self.members[there][:, None] - np.vstack([np.zeros_like(self.members[:1]), self.members[back]])
        goes, comes = self._there[there], np.vstack([np.zeros_like(self._there[:1]), self._there[back]])
        loses = (goes & last[more]) @ ~comes.T | ~goes @ (comes & last[less]).T
        moved, (above, below) = given.sum(axis=2), off[[more, less]].sum(axis=1)
        better = ~loses & (moved > 0) & (moved < above - below - 1e-6)
        if not better.any():
            return False
        cost = ((given + 2 * off[less]) / self.shares[less] + (given - 2 * off[more]) / self.shares[more]) * given
        rest = np.maximum(np.abs(above - moved), np.abs(below + moved))
        order = np.lexsort([(cost @ self._weights).ravel(), np.maximum(rest, 1).ravel(), ~better.ravel()])
        one, other = np.unravel_index(order[0], better.shape)
        for group, part in ((there[one], less), *([(back[other - 1], more)] if other else [])):
            self._move(places, np.array([group]), part)
        return True

    def _smallest(self, among: Mask) -> Labels:
        """The smallest of these groups, `MOST_EXCHANGED` at most, so that all pairs can be tried."""
        groups = np.flatnonzero(among)
        return groups[np.argsort(self.members[groups].sum(axis=1), kind="stable")[:MOST_EXCHANGED]]

    def _has(self, places: Labels) -> Labels:
        """For each part and each thing that parts need, how many groups of the part have it, [K, C + D + 1]."""
        return np.array([self._there[places == part].sum(axis=0) for part in range(len(self.shares))])

    def _last(self, has: Labels) -> Mask:
        """Whether a part has one group with this thing and must not lose it, [K, C + D + 1].

        A class that is in two parts stays in both.
        """
        return np.asarray((self._needs | ((has > 0).sum(axis=0) == 2) & self._scattered) & (has == 1))

    def _lacking(self, has: Labels) -> Mask:
        """What a part needs and does not have, [K, C + D + 1].

        A class that is in one part only is needed by the part that has fewest photos.
        """
        least = np.zeros((len(has), 1), dtype=bool)
        least[np.argsort((self.held - self.targets).sum(axis=1))[:2]] = True  # one of these two does not have the class
        alone = ((has > 0).sum(axis=0) == 1) & (has.sum(axis=0) > 1) & self._scattered
        return np.asarray((self._needs | least & alone) & (has == 0))

    def _move(self, places: Labels, groups: Labels, part: int) -> None:
        """Move one of these groups to the part: the one that costs least."""
        moved = groups[self._moving(groups, places[groups], part).argmin()]
        self.held[places[moved]] -= self.members[moved]
        self.held[part] += self.members[moved]
        places[moved] = part

    def _moving(self, groups: Labels, places: Labels, part: int) -> Values:
        """The cost of moving each of these groups to another part, [n]."""
        moved = self.members[groups]
        left = (self._weights * moved * (moved - 2 * (self.held - self.targets)[places])).sum(axis=1)
        return np.asarray(self._cost(moved)[:, part] + left / self.shares[places])


def _levelled(targets: Values, held: Values, more: int) -> Values:
    """Divide ``more`` photos among the parts, [K]. All parts that get some end at the same multiple of their target.

    targets : [K], above 0. held : [K], what the parts have.
    """
    getting = np.ones(len(targets), dtype=bool)
    while True:
        level = (more + held[getting].sum()) / targets[getting].sum()
        exact = np.where(getting, level * targets - held, 0.0)
        if (exact >= -1e-9).all():
            return np.maximum(exact, 0.0)
        getting &= exact >= -1e-9


def _of_groups(group: Labels, label: Labels) -> Values:
    """The number of photos of each class in each group, [G, C]."""
    groups, classes = int(group.max()) + 1, int(label.max()) + 1
    counts = np.bincount(group * classes + label, minlength=groups * classes)
    return counts.reshape(groups, classes).astype(np.float64)
