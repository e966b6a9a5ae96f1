"""Fronts and layers of points that come one at a time, equal to what `pareto.py` says of the same points at once.

Everything minimises. A point is m losses; its key is whatever tells it apart, no two points have the same. A point
with a NaN is on no front, on no layer, and adds no volume.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.pareto import Floats, added_volume
from analysis.selection import GrowingSelection

Key = Hashable


@dataclass
class _Stairs:
    """Points none of which dominates another: first losses rise, second losses fall. Equal points share a step."""

    first: list[float] = field(default_factory=list)
    second: list[float] = field(default_factory=list)
    keys: list[list[Key]] = field(default_factory=list)

    def dominates(self, x: float, y: float) -> bool:
        """Only the last step that is not right of the point can: it is the lowest of them."""
        i = bisect_right(self.first, x) - 1
        return i >= 0 and self.second[i] <= y and (self.first[i] < x or self.second[i] < y)

    def join(self, x: float, y: float, key: Key) -> bool:
        """Whether there is an equal point, which then has the key too."""
        i = bisect_left(self.first, x)
        if i == len(self.first) or self.first[i] != x or self.second[i] != y:
            return False
        self.keys[i].append(key)
        return True

    def place(self, x: float, y: float) -> slice:
        """The steps at or right of x and at or above y: what (x, y) is put in the place of."""
        begin = bisect_left(self.first, x)
        return slice(begin, bisect_right(self.second, -y, lo=begin, key=lambda second: -second))

    def replace(self, place: slice, new: "_Stairs") -> "_Stairs":
        """Puts other steps in a place; what was there."""
        old = _Stairs(self.first[place], self.second[place], self.keys[place])
        self.first[place], self.second[place], self.keys[place] = new.first, new.second, new.keys
        return old


class GrowingFront:
    """The front of all points so far and the hypervolume below a reference.

    With two objectives a point is placed in O(log n) comparisons, and leaves at most once; the steps behind its
    place move as one block of memory. With others one pass over the front, and WFG for what the point adds.
    """

    def __init__(self, reference: Sequence[float]) -> None:
        """`reference`: m values, the corner that volume is measured below."""
        self.volume = 0.0
        self._reference = np.asarray(reference, dtype=float)
        self._stairs = _Stairs()
        self._rows: Floats = np.zeros((0, len(self._reference)))
        self._keys: list[list[Key]] = []

    @property
    def keys(self) -> list[Key]:
        """Of the points on the front."""
        return [key for keys in (self._stairs.keys if len(self._reference) == 2 else self._keys) for key in keys]

    def __len__(self) -> int:
        return sum(map(len, self._stairs.keys if len(self._reference) == 2 else self._keys))

    def add(self, point: Sequence[float], key: Key) -> list[Key] | None:
        """The keys of the points that this one drives off the front; None when it is not on the front itself."""
        if any(math.isnan(loss) for loss in point):
            return None
        return self._add_2d(*map(float, point), key) if len(self._reference) == 2 else self._add(point, key)

    def would_grow(self, point: Sequence[float]) -> bool:
        """Whether the point would add volume: it is better than the reference, and no other is as good."""
        if not all(loss < corner for loss, corner in zip(point, self._reference.tolist(), strict=True)):
            return False
        if len(self._reference) == 2:
            i = bisect_right(self._stairs.first, point[0]) - 1
            return i < 0 or self._stairs.second[i] > point[1]
        return not (self._rows <= np.asarray(point, dtype=float)).all(axis=1).any()

    def _add_2d(self, x: float, y: float, key: Key) -> list[Key] | None:
        stairs = self._stairs
        if stairs.dominates(x, y):
            return None
        if stairs.join(x, y, key):
            return []
        place = stairs.place(x, y)
        self.volume += self._gain(x, y, place)
        gone = stairs.replace(place, _Stairs([x], [y], [[key]]))
        return [key for keys in gone.keys for key in keys]

    def _gain(self, x: float, y: float, place: slice) -> float:
        """The area between the stairs as they are and the corner (x, y), strip by strip."""
        right, top = self._reference.tolist()
        if x >= right or y >= top:
            return 0.0
        first, second = self._stairs.first, self._stairs.second
        top = min(top, second[place.start - 1]) if place.start else top
        gain, left = 0.0, x
        for i in range(place.start, place.stop):
            edge = min(first[i], right)
            gain += (edge - left) * (top - y)
            left, top = edge, min(top, second[i])
        end = min(first[place.stop], right) if place.stop < len(first) else right
        return gain + (end - left) * (top - y)

    def _add(self, point: Sequence[float], key: Key) -> list[Key] | None:
        row = np.asarray(point, dtype=float)
        no_worse = (self._rows <= row).all(axis=1)
        equal = np.flatnonzero(no_worse & (self._rows == row).all(axis=1))
        if len(equal):
            self._keys[equal[0]].append(key)
            return []
        if no_worse.any():
            return None
        if (row < self._reference).all():
            self.volume += added_volume(row, self._rows, self._reference)
        kept = ~(self._rows >= row).all(axis=1)
        gone = [key for keys, stays in zip(self._keys, kept, strict=True) if not stays for key in keys]
        self._keys = [*(keys for keys, stays in zip(self._keys, kept, strict=True) if stays), [key]]
        self._rows = np.vstack([self._rows[kept], row])
        return gone


class GrowingLayers:
    """The non-dominated layers of all points with two losses so far.

    A new point finds its layer by bisection. What it dominates there moves to the next layer as one piece, which
    takes the place of another piece there, and so on (Buzdalov, Yakupov and Stankevich 2015): O(log n) for each layer
    that changes, and for each point that moves.
    """

    def __init__(self, reference: Sequence[float]) -> None:
        """`reference`: two values, the corner below which the points of a layer are ordered."""
        self._reference = reference
        self._layers: list[_Stairs] = []
        self._selections: list[GrowingSelection] = []
        self._sizes: list[int] = []
        self._ranks: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def __contains__(self, key: Key) -> bool:
        return key in self._ranks

    def rank(self, key: Key) -> int:
        """The layer that a point is on, 0 is the front. KeyError when there is no such point."""
        return self._ranks[key]

    def before(self, layer: int) -> int:
        """How many points are on earlier layers."""
        return sum(self._sizes[:layer])

    def on(self, layer: int) -> Iterator[Key]:
        """The keys of a layer's points."""
        return (key for keys in self._layers[layer].keys for key in keys)

    @property
    def depth(self) -> int:
        """How many layers there are; each has a point."""
        return sum(size > 0 for size in self._sizes)

    def order(self, layer: int) -> Iterator[Key]:
        """The keys of a layer's points in the order of `order_selection`.

        Keys have to be sortable: of equal points the smaller key is first.
        """
        return self._selections[layer].order(self._layers[layer])

    def ahead(self, key: Key) -> int:
        """How many points are before one in that order, on its own layer. KeyError when there is no such point."""
        rank = self._ranks[key]
        return self._selections[rank].before(key, self._layers[rank])

    def add(self, point: Sequence[float], key: Key) -> None:
        """Takes a point in. ValueError for a key that is there already."""
        x, y = map(float, point)
        if key in self._ranks:
            raise ValueError(f"{key} is there already")
        if math.isnan(x) or math.isnan(y):
            return
        rank = bisect_left(self._layers, True, key=lambda stairs: not stairs.dominates(x, y))
        self._ranks[key] = rank
        if rank < len(self._layers) and self._layers[rank].join(x, y, key):
            self._sizes[rank] += 1
            self._selections[rank].changed(x, x)
            return
        moving, arriving = _Stairs([x], [y], [[key]]), 1
        while arriving:
            if rank == len(self._layers):
                self._layers.append(_Stairs())
                self._sizes.append(0)
                self._selections.append(GrowingSelection(self._reference))
            stairs, begin, end = self._layers[rank], moving.first[0], moving.first[-1]
            moving = stairs.replace(stairs.place(begin, moving.second[-1]), moving)
            self._selections[rank].changed(begin, max([end, *moving.first[-1:]]))
            leaving = sum(map(len, moving.keys))
            self._sizes[rank] += arriving - leaving
            rank, arriving = rank + 1, leaving
            for keys in moving.keys:
                for moved in keys:
                    self._ranks[moved] = rank
