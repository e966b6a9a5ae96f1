"""Pareto fronts, layers, hypervolume and what follows from them.

Everything minimises. `losses` is n x m: a row for each point, a column for each objective; `reference` is m
values, or one for all. A row with a NaN is never on a front, adds no volume and comes after all others.
"""

import heapq
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def non_dominated(losses: ArrayLike) -> NDArray[np.bool_]:
    """Which of the n x m points no other point dominates (n booleans).

    a dominates b when a <= b in every objective and a < b in one, so equal points are on the front together.
    """
    points = _points(losses)
    front = np.zeros(len(points), dtype=bool)
    complete = np.flatnonzero(~np.isnan(points).any(axis=1))
    unique, inverse = np.unique(points[complete], axis=0, return_inverse=True)
    front[complete] = _first_layer(unique)[inverse.ravel()]
    return front


def rank_layers(losses: ArrayLike) -> NDArray[np.int64]:
    """The non-dominated layer of each of the n x m points: 0 is the front, 1 the front without it, and so on.

    Goldberg's (1989) ranking. With two objectives by bisection over the layers' best second objectives, in
    O(n log n) (Jensen 2003); with others by peeling. Rows with NaN share the rank after the last layer.
    """
    points = _points(losses)
    complete = ~np.isnan(points).any(axis=1)
    unique, inverse = np.unique(points[complete], axis=0, return_inverse=True)
    layers = _layers_2d(unique) if points.shape[1] == 2 else _layers_by_peeling(unique)
    ranks = np.full(len(points), layers.max(initial=-1) + 1)
    ranks[complete] = layers[inverse.ravel()]
    return ranks


def hypervolume(losses: ArrayLike, reference: ArrayLike) -> float:
    """The volume that the n x m points dominate below the m reference values (Zitzler and Thiele 1998).

    Exact: O(n log n) for up to two objectives, WFG (While, Bradstreet and Barone 2012) for more.
    """
    points, reference = _points_and_reference(losses, reference)
    return _volume(_below(points, reference), reference)


def hypervolume_contributions(losses: ArrayLike, reference: ArrayLike) -> Floats:
    """What the hypervolume would lose without each of the n x m points: H(S) - H(S \\ {s}), n values.

    Dominated and repeated points lose nothing. O(n log n) with two objectives.
    """
    points, reference = _points_and_reference(losses, reference)
    inside = np.flatnonzero((points < reference).all(axis=1))  # False for NaN
    unique, index, counts = np.unique(points[inside], axis=0, return_index=True, return_counts=True)
    exclusive = _exclusive_2d if points.shape[1] == 2 else _exclusive
    contributions = np.zeros(len(points))
    contributions[inside[index]] = np.where(counts == 1, exclusive(unique, reference), 0.0)
    return contributions


def order_selection(losses: ArrayLike, reference: ArrayLike) -> NDArray[np.int64]:
    """Indices of the n x m points, best first: any head of it is the subset to keep.

    By layer; inside a layer greedily by the volume that a point adds to those already taken from it, which
    reaches 1 - 1/e of the best subset's volume (Guerreiro, Fonseca and Paquete 2016). Ties go to the smaller
    sum of losses, then to the lexicographically smaller row, then to the earlier row.
    """
    points, reference = _points_and_reference(losses, reference)
    canonical = np.lexsort((*points.T[::-1], points.sum(axis=1)))  # so that rows may come in any order
    ranks = rank_layers(points)[canonical]
    complete = ~np.isnan(points[canonical]).any(axis=1)
    greedy = _greedy_2d if points.shape[1] == 2 else _greedy
    order = [np.zeros(0, dtype=np.int64)]
    for layer in np.unique(ranks[complete]):
        members = canonical[complete & (ranks == layer)]
        order.append(members[greedy(np.minimum(points[members], reference), reference)])
    return np.concatenate([*order, np.flatnonzero(np.isnan(points).any(axis=1))])


def knee(losses: ArrayLike) -> int | None:
    """Index of the front's knee: the point that lies furthest below the plane through the front's extremes.

    The front is scaled to 0..1 in each objective, where that plane is sum = 1 (Das 1999, for two objectives).
    Where no point is below it (one point, two points, a concave front) the smallest sum of losses decides.
    None if there is no front.
    """
    points = _points(losses)
    front = np.flatnonzero(non_dominated(points))
    if len(front) == 0:
        return None
    ideal, nadir = points[front].min(axis=0), points[front].max(axis=0)
    scaled = (points[front] - ideal) / np.where(nadir > ideal, nadir - ideal, 1.0)
    below = (1.0 - scaled.sum(axis=1)) / np.sqrt(points.shape[1])
    return int(front[np.lexsort((*points[front].T[::-1], points[front].sum(axis=1), -below))[0]])


def _points(losses: ArrayLike) -> Floats:
    points = np.asarray(losses, dtype=float)
    if points.ndim != 2:
        raise ValueError(f"losses should be n x m, not of shape {points.shape}")
    return points


def _points_and_reference(losses: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    points = _points(losses)
    return points, np.broadcast_to(np.asarray(reference, dtype=float), points.shape[1:])


def _first_layer(rows: Floats) -> NDArray[np.bool_]:
    """The front of rows in lexicographic order, of equal rows only the first."""
    if rows.shape[1] == 2:
        best_before = np.minimum.accumulate(np.append(np.inf, rows[:, 1]))[:-1]
        return (rows[:, 1] < best_before) | (np.arange(len(rows)) == 0)
    candidates, found = np.arange(len(rows)), []
    while len(candidates):  # the lexicographically first of what is left is dominated by nothing that is left
        first, rest = candidates[0], candidates[1:]
        found.append(first)
        candidates = rest[(rows[rest] < rows[first]).any(axis=1)]
    front = np.zeros(len(rows), dtype=bool)
    front[found] = True
    return front


def _layers_2d(unique: Floats) -> NDArray[np.int64]:
    """A row is dominated by a layer before it when that layer's smallest second loss is not above its own."""
    smallest: list[float] = []
    layers = np.empty(len(unique), dtype=np.int64)
    for i, second in enumerate(unique[:, 1].tolist()):
        layers[i] = layer = bisect_right(smallest, second)
        smallest[layer : layer + 1] = [second]
    return layers


def _layers_by_peeling(unique: Floats) -> NDArray[np.int64]:
    layers, left, layer = np.empty(len(unique), dtype=np.int64), np.arange(len(unique)), 0
    while len(left):
        front = _first_layer(unique[left])
        layers[left[front]] = layer
        left, layer = left[~front], layer + 1
    return layers


def _below(points: Floats, reference: Floats) -> Floats:
    """The front of the points better than the reference everywhere, each once, in lexicographic order."""
    inside = points[(points < reference).all(axis=1)]  # False for NaN
    inside = inside[np.lexsort(inside.T[::-1])]
    return inside[_first_layer(inside)]


def _volume(front: Floats, reference: Floats) -> float:
    """Hypervolume of a front in lexicographic order.

    For m > 2 the sum of what each point adds to those before it, which are better in the first objective:
    limited to that point they are all as deep in it, so one dimension falls away.
    """
    if len(front) == 0:
        return 0.0
    if front.shape[1] == 1:
        return float(reference[0] - front[0, 0])
    if front.shape[1] == 2:
        tops = np.append(reference[1], front[:-1, 1])
        return float(((reference[0] - front[:, 0]) * (tops - front[:, 1])).sum())
    depths, faces, corner = reference[0] - front[:, 0], front[:, 1:], reference[1:]
    return float(
        sum(
            depth * added_volume(face, faces[:i], corner)
            for i, (depth, face) in enumerate(zip(depths, faces, strict=True))
        )
    )


def added_volume(point: Floats, others: Floats, reference: Floats) -> float:
    """The volume that a point adds to others: its own, less the others' limited to it (WFG's exclhv)."""
    limited = np.maximum(point, others)
    return float(np.prod(reference - point)) - _volume(_below(limited, reference), reference)


def _exclusive(unique: Floats, reference: Floats) -> Floats:
    front = _first_layer(unique)
    rows = np.arange(len(unique))
    return np.array(
        [added_volume(point, unique[rows != i], reference) if front[i] else 0.0 for i, point in enumerate(unique)]
    )


def _exclusive_2d(unique: Floats, reference: Floats) -> Floats:
    """A front point's own box ends at its neighbours; dominated points inside it take their share."""
    front = np.flatnonzero(_first_layer(unique))
    ends = np.append(unique[front, 0], reference[0])[1:]
    tops = np.append(reference[1], unique[front, 1])[:-1]
    volumes = np.zeros(len(unique))
    for i, end, top in zip(front, ends, tops, strict=True):
        behind = unique[i + 1 : bisect_left(unique[:, 0], end)]
        corner = np.array([end, top])
        volumes[i] = np.prod(corner - unique[i]) - _volume(_below(behind, corner), corner)
    return volumes


_FEW = 24
"""A loop over so many points is faster than numpy's start."""


def take_greedily(
    first: Sequence[float], second: Sequence[float], tie: Callable[[int], Any], reference: Sequence[float]
) -> Iterator[int]:
    """Places of a layer's points with losses `first`, which rise, and `second`, which fall; the next is always the one
    that adds most below the reference to those before it, and of several the one whose `tie` is the smallest.

    What a point adds is a box that ends at the nearest taken point on either side. So taking one splits the points
    between two taken ones in two parts, and only these have to be looked through again: O(n log n) for an even layer.
    """
    if not first:
        return
    right, top = map(float, reference)
    xs = first if first[-1] <= right else [min(x, right) for x in first]
    ys = second if second[0] <= top else [min(y, top) for y in second]
    columns = np.array([xs, ys]) if len(xs) > _FEW else np.zeros((2, 0))

    def best(begin: int, stop: int, end: float, top: float) -> tuple[float, Any, int, int, int, float, float]:
        if stop - begin > _FEW:
            gains = (end - columns[0, begin:stop]) * (top - columns[1, begin:stop])
            gain = float(gains.max())
            place = min((begin + np.flatnonzero(gains == gain)).tolist(), key=tie)
        else:
            gain, place = -math.inf, -1
            for i in range(begin, stop):
                more = (end - xs[i]) * (top - ys[i])
                if more > gain or (more == gain and tie(i) < tie(place)):
                    gain, place = more, i
        return -gain, tie(place), place, begin, stop, end, top

    parts = [best(0, len(xs), right, top)]
    while parts:
        _, _, place, begin, stop, end, top = heapq.heappop(parts)
        yield place
        if begin < place:
            heapq.heappush(parts, best(begin, place, xs[place], top))
        if place + 1 < stop:
            heapq.heappush(parts, best(place + 1, stop, end, ys[place]))


def _greedy_2d(layer: Floats, reference: Floats) -> NDArray[np.int64]:
    by_first = np.lexsort((-layer[:, 1], layer[:, 0]))
    first, second = layer[by_first].T.tolist()
    order = take_greedily(first, second, by_first.tolist().__getitem__, reference.tolist())
    return by_first[np.fromiter(order, dtype=np.int64, count=len(layer))]


def _greedy(layer: Floats, reference: Floats) -> NDArray[np.int64]:
    """Lazy greedy (Minoux 1978): gains only shrink, so an outdated gain is an upper bound of the true one."""
    queue = [(-float(np.prod(reference - point)), i, 0) for i, point in enumerate(layer)]
    heapq.heapify(queue)
    order: list[int] = []
    while queue:
        _, i, taken_before = heapq.heappop(queue)
        if taken_before == len(order):
            order.append(i)
        else:
            heapq.heappush(queue, (-added_volume(layer[i], layer[order], reference), i, len(order)))
    return np.array(order, dtype=np.int64)
