"""Dealing groups of photos to parts of given shares, so that every class is shared as evenly as groups allow."""

from dataclasses import dataclass

import numpy as np

from rsrl_ray.core.arrays import Labels, Mask, Values

MOST_EXCHANGED = 300  # groups of a part, of which some are exchanged with those of another


@dataclass(frozen=True)
class Deal:
    """Photos to be dealt to K parts of these ``shares``, [K], which add up to 1.

    labels, groups : [N]. given : [N], the part of each photo that has one already, and stays there; -1 of the others.
    kept : [N], labels of which the first part needs every class, however small its share.
    """

    labels: Labels
    groups: Labels
    shares: Values
    given: Labels | None = None
    kept: Labels | None = None


def deal(asked: Deal, generator: np.random.Generator) -> Labels:
    """Deal photos, each group to one part, so that every class is shared as evenly as groups allow; the parts, [N].

    The groups whose photos are spread least evenly over the classes come first, as in scikit-learn's
    StratifiedGroupKFold; each goes to the part that it brings nearest to its share of the group's classes. Photos that
    are a group of their own come last and fill up, class by class. Then a part that has no photo, or lacks a class of
    which its share comes to a photo and which is in as many groups as there are parts, gets one that others can spare,
    and the sizes of the parts are brought within a photo of their shares, as far as groups allow.
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
    """How many photos of each class the parts have so far, ``held`` [K, C], and what they should have, ``targets``."""

    def __init__(self, members: Values, kept: Values, shares: Values) -> None:
        """Members, kept : [G, C] and [G, D], photos that a group has of each class, and of each `Deal.kept`."""
        totals = members.sum(axis=0)
        self.members, self.shares = members, shares
        self.targets = np.outer(shares, totals)
        self.held = np.zeros_like(self.targets)
        self._weights = 1.0 / totals**2
        # what a part needs: in the last columns the first part every kept class, and every part any photo
        self._there = np.hstack([members > 0, kept > 0, np.ones((len(members), 1), dtype=bool)])
        enough = (self.targets >= 1 - 1e-9) & ((members > 0).sum(axis=0) >= len(shares))
        first, others = np.ones((1, kept.shape[1] + 1), dtype=bool), np.zeros((len(shares) - 1, kept.shape[1] + 1))
        others[:, -1] = True
        self._needs = np.hstack([enough, np.vstack([first, others]).astype(bool)])
        # if no part is the one that keeps all, a class of two groups is in two parts: one can do without the other
        self._scattered = np.arange(self._needs.shape[1]) < (0 if kept.shape[1] else members.shape[1])

    def take(self, places: Labels) -> None:
        """The groups in ``places``, [G], are there already; not those at -1."""
        np.add.at(self.held, places[places >= 0], self.members[places >= 0])

    def nearest(self, group: Values) -> int:
        """The part that a group, [C], takes least away from its target, or brings nearest to it; of equal ones the
        part that has least.
        """
        cost = self._cost(group)
        least = np.flatnonzero(np.isclose(cost, cost.min()))
        return int(least[(self.held[least].sum(axis=1) / self.shares[least]).argmin()])

    def _cost(self, group: Values) -> Values:
        """By how much the weighted squares of what is lacking or too much grow, in each part, [..., K] for [..., C]."""
        group = group[..., None, :]
        growth = (self._weights * group * (group + 2 * (self.held - self.targets))).sum(axis=-1)
        return np.asarray(growth / self.shares)

    def filled(self, one: int, more: int, owed: Values, generator: np.random.Generator) -> Labels:
        """How many of ``more`` photos of a class each part gets, [K]: as near to its target as what it has allows.

        Of a photo that is left over, the parts that are ``owed`` most, [K], come first; of equal ones, any.
        """
        exact = _levelled(self.targets[:, one], self.held[:, one], more)
        counts = np.floor(exact + 1e-9)
        rest = exact - counts
        order = generator.permutation(len(exact))
        order = order[np.argsort(-np.where(rest > 1e-9, owed + rest, -np.inf)[order], kind="stable")]
        counts[order[: more - int(counts.sum())]] += 1
        return counts.astype(np.int64)

    def supply(self, places: Labels, free: Mask) -> None:
        """Move free groups, in ``places`` [G], to parts that lack a class they need, or have no photo at all.

        What is moved is no part's last of what it needs itself; of several groups, the one that costs least.
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
        """Move free groups, in ``places`` [G], or exchange two, until every part's size is within a photo of its share.

        No part loses what it needs by it. It ends earlier if no exchange makes the sizes more even.
        """
        while True:
            off = (self.held - self.targets).sum(axis=1)
            for more, less in ((int(one), int(other)) for one in np.argsort(-off) for other in np.argsort(off)):
                if max(off[more], -off[less]) >= 1 and self._exchanged(places, free, more, less):
                    break
            else:
                return

    def _exchanged(self, places: Labels, free: Mask, more: int, less: int) -> bool:
        """Move a group from one part to another and perhaps take one back, if that brings their sizes nearer.

        What brings both within a photo of their shares at the least cost; else what brings them nearest.
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
        """The smallest of these groups, at most so many that all pairs of them can be looked at."""
        groups = np.flatnonzero(among)
        return groups[np.argsort(self.members[groups].sum(axis=1), kind="stable")[:MOST_EXCHANGED]]

    def _has(self, places: Labels) -> Labels:
        """How many groups a part has of what parts need, [K, C + D + 1]."""
        return np.array([self._there[places == part].sum(axis=0) for part in range(len(self.shares))])

    def _last(self, has: Labels) -> Mask:
        """Of what a part must not lose the last group, [K, C + D + 1]; of a class in two parts neither one."""
        return np.asarray((self._needs | ((has > 0).sum(axis=0) == 2) & self._scattered) & (has == 1))

    def _lacking(self, has: Labels) -> Mask:
        """What a part needs and has not, [K, C + D + 1]; of a class that is in one part, the part that has least."""
        least = np.zeros((len(has), 1), dtype=bool)
        least[np.argsort((self.held - self.targets).sum(axis=1))[:2]] = True  # one of the two has none of it
        alone = ((has > 0).sum(axis=0) == 1) & (has.sum(axis=0) > 1) & self._scattered
        return np.asarray((self._needs | least & alone) & (has == 0))

    def _move(self, places: Labels, groups: Labels, part: int) -> None:
        """Move that one of these groups which costs least."""
        moved = groups[self._moving(groups, places[groups], part).argmin()]
        self.held[places[moved]] -= self.members[moved]
        self.held[part] += self.members[moved]
        places[moved] = part

    def _moving(self, groups: Labels, places: Labels, part: int) -> Values:
        """What it costs to move each of these groups to another part, [n]."""
        moved = self.members[groups]
        left = (self._weights * moved * (moved - 2 * (self.held - self.targets)[places])).sum(axis=1)
        return np.asarray(self._cost(moved)[:, part] + left / self.shares[places])


def _levelled(targets: Values, held: Values, more: int) -> Values:
    """``more`` photos divided among the parts, [K], so that all that get some end at the same multiple of their target.

    targets : [K], above 0. held : [K], what they have.
    """
    getting = np.ones(len(targets), dtype=bool)
    while True:
        level = (more + held[getting].sum()) / targets[getting].sum()
        exact = np.where(getting, level * targets - held, 0.0)
        if (exact >= -1e-9).all():
            return np.maximum(exact, 0.0)
        getting &= exact >= -1e-9


def _of_groups(group: Labels, label: Labels) -> Values:
    """How many photos of each class a group has, [G, C]."""
    groups, classes = int(group.max()) + 1, int(label.max()) + 1
    counts = np.bincount(group * classes + label, minlength=groups * classes)
    return counts.reshape(groups, classes).astype(np.float64)
