"""What a point that is only guessed at is expected to add to a front's hypervolume."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erf

from analysis.pareto import Floats, non_dominated


def free_boxes(front: ArrayLike, reference: ArrayLike, ideal: float = -np.inf) -> tuple[Floats, Floats]:
    """Disjoint boxes that fill what the n x m points leave undominated below the m reference values, above the ideal.

    Lower and upper corners, b x m each. Up to n + 1 boxes for two objectives,
    O(n^(m - 1)) for more: slabs of the last objective, and in each the boxes of the points that reach down to it.
    """
    points = np.asarray(front, dtype=float)
    reference = np.broadcast_to(np.asarray(reference, dtype=float), points.shape[1:])
    points = points[(points < reference).all(axis=1)]
    points = np.unique(points[non_dominated(points)], axis=0)
    lower, upper = _boxes(points, reference)
    inside = (upper > ideal).all(axis=1)
    return np.maximum(lower[inside], ideal), upper[inside]


def _boxes(points: Floats, reference: Floats) -> tuple[Floats, Floats]:
    m = len(reference)
    if m == 1:
        top = min(points.min(initial=np.inf), reference[0])
        return np.array([[-np.inf]]), np.array([[top]])
    edges = np.unique(points[:, -1])
    lower, upper = [], []
    for low, high in zip((-np.inf, *edges), (*edges, reference[-1]), strict=True):
        below = points[points[:, -1] <= low, :-1]
        below = np.unique(below[non_dominated(below)], axis=0) if len(below) else below
        lows, highs = _boxes(below, reference[:-1])
        lower.append(np.column_stack([lows, np.full(len(lows), low)]))
        upper.append(np.column_stack([highs, np.full(len(highs), high)]))
    return np.concatenate(lower), np.concatenate(upper)


def expected_improvement(mean: ArrayLike, deviation: ArrayLike, boxes: tuple[Floats, Floats]) -> Floats:
    """The expected hypervolume that each of k independent normal points adds, k values (Emmerich et al. 2011).

    The volume of a box that a point y dominates is the product of (u - max(l, y))+ over objectives, and the
    expectation of a factor is psi(u) - psi(l) with psi(z) = E (z - y)+, once for each edge.
    """
    mean, deviation = np.asarray(mean, dtype=float), np.asarray(deviation, dtype=float)
    volume = np.ones((len(mean), len(boxes[0])))
    for k in range(mean.shape[1]):
        edges, where = np.unique(np.concatenate([boxes[0][:, k], boxes[1][:, k]]), return_inverse=True)
        depth = _psi(edges[None, :], mean[:, k, None], deviation[:, k, None])
        low, high = np.split(where, 2)
        volume *= depth[:, high] - depth[:, low]
    return volume.sum(axis=1)


def _psi(z: Floats, mean: Floats, deviation: Floats) -> Floats:
    """E (z - y)+ for normal y; 0 at minus infinity."""
    finite = np.isfinite(z)
    off = (np.where(finite, z, 0.0) - mean) / deviation
    density = np.exp(-0.5 * off * off) / np.sqrt(2 * np.pi)
    return np.where(finite, deviation * (off * 0.5 * (1 + erf(off / np.sqrt(2))) + density), 0.0)
