"""The order in which a layer's points are taken, kept up while the layer changes: that of `pareto.take_greedily`."""

import itertools
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from analysis.pareto import take_greedily

Claim = tuple[float, tuple[float, float, float, Any]]
"""Of a point in a part: minus what it adds, and sum, row and key, which decide between equals. The least goes first.

What is inside a part claims less the smaller the part is, even as floats are rounded, and what splits it has the least
claim of all. So in the order of their claims no point is before the one that it waits for.
"""
Change = tuple[float, float]
"""First losses, from and to, between which points have come, or gone, or both."""
_MANY = 32
"""So many changes that nobody asked about are taken for a new layer."""
_SMALL = 128
"""So many points are faster put in order anew, as far as is asked for."""
_FEW = 100
"""A list of so many numbers is faster gone through than made an array of."""


class Points(Protocol):
    """A layer's: first losses rise, second losses fall, all are finite. Equal points are one, with all their keys."""

    first: list[float]
    second: list[float]
    keys: list[list[Any]]


class _Part:
    """The points between two that were taken, or between one and the end: which of them is next, and what it leaves.

    Where none of them adds anything there is nothing to split, and sum, row and key alone decide.
    """

    __slots__ = ("begin", "claim", "claims", "end", "left", "looked", "right", "top", "x", "y")

    def __init__(self, begin: float, end: float, top: float, x: float, y: float) -> None:
        self.begin, self.end, self.top = begin, end, top
        """First losses of the two that bound it, and the second loss of the first of them."""
        self.x, self.y = x, y
        """The point that splits it; any of its points where none does."""
        self.claim: Claim | None = None
        """The splitting point's."""
        self.claims: list[Claim] = []
        """Of all its points that are in neither of the two parts that it leaves."""
        self.left: _Part | None = None
        self.right: _Part | None = None
        self.looked = 0
        """The look that it was last found or dropped at."""

    def put(self, on_right: bool, part: "_Part | None") -> None:
        if on_right:
            self.right = part
        else:
            self.left = part

    def of(self, on_right: bool) -> tuple[float, float, float]:
        """Begin, end and top of a part that it leaves."""
        return (self.x, self.end, self.y) if on_right else (self.begin, self.x, self.top)


class GrowingSelection:
    """The greedy order of one layer of points with two losses.

    What a part of the layer looks like follows from the points in it and the two that bound it. So a change costs the
    parts that it is in, some log n where points come evenly, and those that it comes to bound; all others stay.
    A small layer is put in order anew, which costs less.
    """

    def __init__(self, reference: Sequence[float]) -> None:
        """`reference`: two values, the corner that volume is measured below."""
        self._right, self._top = map(float, reference)
        self._looks = 0
        self._taken: list[Any] = []
        """The first keys of a small layer, and those that come after them; none has been asked for after a change."""
        self._coming: Iterator[Any] | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._root: _Part | None = None
        self._claims: list[Claim] = []
        self._claim: dict[Hashable, Claim] = {}
        self._changes: list[Change] = [(-math.inf, math.inf)]

    def changed(self, begin: float, end: float) -> None:
        """Points with first losses from `begin` to `end` have come, or gone, or both."""
        self._coming = None
        if self._root is None:
            return
        self._changes.append((begin, end))
        if len(self._changes) > _MANY:
            self._begin_anew()

    def before(self, key: Hashable, points: Points) -> int:
        """How many of the layer's points are taken before this one."""
        if self._is_small(points):
            return next(i for i, each in enumerate(self._anew(points)) if each == key)
        self._look(points)
        return bisect_left(self._claims, self._claim[key])

    def order(self, points: Points) -> Iterator[Any]:
        """The keys of the layer's points as they are taken."""
        if self._is_small(points):
            return self._anew(points)
        self._look(points)
        return (tie[3] for _, tie in self._claims)

    def _is_small(self, points: Points) -> bool:
        if len(points.first) > (_SMALL if self._root is None else _SMALL // 2):
            return False
        if self._root is not None:
            self._begin_anew()
        return True

    def _anew(self, points: Points) -> Iterator[Any]:
        if self._coming is None:
            self._taken, self._coming = [], _one_by_one(points, (self._right, self._top))
        taken, coming = self._taken, self._coming
        for i in itertools.count():
            if i == len(taken):
                taken += itertools.islice(coming, 1)
            if i == len(taken):
                return
            yield taken[i]

    def _look(self, points: Points) -> None:
        """Takes in what has changed."""
        if not self._changes:
            return
        self._looks += 1
        head = _Part(-math.inf, math.inf, self._top, -math.inf, self._top)  # the layer is what is right of it
        todo, dropped, came = [(head, True, self._root, self._changes)], [self._root], list[Claim]()
        while todo:
            above, on_right, old, changes = todo.pop()
            begin, end, top = above.of(on_right)
            part = old = _topmost(old, begin, end)
            same = old is not None and old.begin == begin and old.end == end and old.top == top
            if same and self._stays(old, changes, points):
                for side in (False, True) if changes else ():
                    if inner := _inside(changes, *old.of(side)):
                        child = old.right if side else old.left
                        dropped.append(child)
                        todo.append((old, side, child, inner))
            else:
                part = self._part(begin, end, top, points)
                if part is not None:
                    came += part.claims
                    if part.claim is not None:
                        todo += ((part, side, old, _inside(changes, *part.of(side))) for side in (False, True))
            if part is not None:
                part.looked = self._looks
            above.put(on_right, part)
        self._root, self._changes = head.right, []
        self._sort(came, self._gone(dropped))

    def _stays(self, part: _Part, changes: list[Change], points: Points) -> bool:
        """Whether what splits a part, or that nothing does, is as it was; its bounds are."""
        if part.claim is None:
            return not changes
        gain, tie = -part.claim[0], part.claim[1]
        right = min(part.end, self._right)
        for begin, end in changes:
            if begin <= part.x <= end:
                return False
            start = bisect_left(points.first, begin) if begin > part.begin else bisect_right(points.first, part.begin)
            stop = bisect_right(points.first, end) if end < part.end else bisect_left(points.first, part.end)
            for i in range(start, stop):
                more = (right - points.first[i]) * (part.top - points.second[i])
                if more < gain or points.first[i] >= right or points.second[i] >= part.top:
                    continue
                if more > gain or _tie(points, i, min(points.keys[i])) < tie:
                    return False
        return True

    def _part(self, begin: float, end: float, top: float, points: Points) -> _Part | None:
        """As its points make it; None where there are none."""
        start, stop = bisect_right(points.first, begin), bisect_left(points.first, end)
        if start >= stop:
            return None
        i, claim = self._best(end, top, start, stop, points)
        part = _Part(begin, end, top, points.first[i], points.second[i])
        if claim[0] < 0:
            part.claim, equal = claim, points.keys[i]
            rest = sorted(equal)[1:] if len(equal) > 1 else []
            part.claims = [claim, *[(0.0, _tie(points, i, key)) for key in rest]]
        else:
            part.claims = [(0.0, _tie(points, j, key)) for j in range(start, stop) for key in points.keys[j]]
        return part

    def _best(self, end: float, top: float, start: int, stop: int, points: Points) -> tuple[int, Claim]:
        """The next of the points from `start` to `stop` between two others, and its claim."""
        end = min(end, self._right)
        if stop - start == 1:  # half of them
            gain = (end - min(points.first[start], self._right)) * (top - min(points.second[start], self._top))
            return start, (-gain, _tie(points, start, min(points.keys[start])))
        xs, ys = points.first[start:stop], points.second[start:stop]
        if xs[-1] > self._right:
            xs = [min(x, self._right) for x in xs]
        if ys[0] > self._top:
            ys = [min(y, self._top) for y in ys]
        if stop - start > _FEW:
            gains = (end - np.array(xs)) * (top - np.array(ys))
            gain = float(gains.max())
            those = np.flatnonzero(gains == gain).tolist()
        else:
            gains = [(end - x) * (top - y) for x, y in zip(xs, ys, strict=True)]
            gain = max(gains)
            those = [gains.index(gain)] if gains.count(gain) == 1 else [i for i, g in enumerate(gains) if g == gain]
        ties = [(_tie(points, i, min(points.keys[i])), i) for i in (start + i for i in those)]
        tie, i = min(ties) if len(ties) > 1 else ties[0]
        return i, (-gain, tie)

    def _gone(self, dropped: list[_Part | None]) -> list[Claim]:
        """Of the parts that were dropped, with all that is in them but what was found again."""
        gone = list[Claim]()
        while dropped:
            part = dropped.pop()
            if part is not None and part.looked < self._looks:
                part.looked = self._looks
                gone += part.claims
                dropped += (part.left, part.right)
        return gone

    def _sort(self, came: list[Claim], gone: list[Claim]) -> None:
        for _, tie in gone:
            del self._claim[tie[3]]
        self._claim |= {claim[1][3]: claim for claim in came}
        if len(came) + len(gone) > max(_MANY, len(self._claims) // 4):
            self._claims = [claim for claim in self._claims if self._claim.get(claim[1][3]) is claim] + sorted(came)
            self._claims.sort()
            return
        for claim in gone:
            del self._claims[bisect_left(self._claims, claim)]
        for claim in came:
            insort(self._claims, claim)


def _one_by_one(points: Points, reference: Sequence[float]) -> Iterator[Any]:
    first, second, keys = points.first, points.second, [key for each in points.keys for key in each]
    if len(keys) > len(first):  # equal points
        steps = zip(first, second, map(sorted, points.keys), strict=True)
        first, second, keys = map(list, zip(*((x, y, key) for x, y, many in steps for key in many), strict=True))
    tie = lambda i: (first[i] + second[i], first[i], second[i], keys[i])  # noqa: E731
    return (keys[i] for i in take_greedily(first, second, tie, reference))


def _topmost(part: _Part | None, begin: float, end: float) -> _Part | None:
    """The largest part that is split between two first losses."""
    while part is not None and not begin < part.x < end:
        part = part.right if part.x <= begin else part.left
    return part


def _inside(changes: list[Change], begin: float, end: float, top: float) -> list[Change]:
    return [change for change in changes if change[0] < end and change[1] > begin] if changes else changes


def _tie(points: Points, i: int, key: Hashable) -> tuple[float, float, float, Any]:
    x, y = points.first[i], points.second[i]
    return x + y, x, y, key
