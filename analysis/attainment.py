"""Empirical attainment (Grunert da Fonseca, Fonseca and Hall 2001): what how many of several fronts reach.

Losses, two objectives, smaller is better. A point is attained by a front that has a member at least as good in both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.pareto import Floats, non_dominated


@dataclass(frozen=True, eq=False)
class Band:
    """Between what most of the fronts reach and what few do."""

    best: Floats
    """Corners (k x 2, first losses rising) of what at least one in four attains."""
    median: Floats
    """What half of them attain."""
    worst: Floats
    """What three in four attain."""
    fronts: int


def surface(fronts: Sequence[Floats], least: int) -> Floats:
    """Corners of what at least `least` of the fronts attain, k x 2, first losses rising and second falling.

    `fronts`: n_i x 2 each, dominated points and NaN do no harm. Empty where so many fronts never meet.
    """
    if not 1 <= least <= len(fronts):
        raise ValueError(f"least should be 1 to {len(fronts)}, the number of fronts, not {least}")
    fronts = [np.asarray(front, dtype=float).reshape(-1, 2) for front in fronts]
    fronts = [front[non_dominated(front)] for front in fronts]
    first = np.unique(np.concatenate([front[:, 0] for front in fronts]))
    second = np.full((len(fronts), len(first)), np.inf)  # the best second loss at each first
    for row, front in zip(second, fronts, strict=True):
        np.minimum.at(row, np.searchsorted(first, front[:, 0]), front[:, 1])
        np.minimum.accumulate(row, out=row)
    reached = np.sort(second, axis=0)[least - 1]
    turns = np.isfinite(reached) & (reached < np.append(np.inf, reached[:-1]))
    return np.column_stack([first[turns], reached[turns]])


def band(fronts: Sequence[Floats]) -> Band:
    """The quartiles of several fronts; with fewer than four, all, half and one of them."""
    share = lambda part: max(1, math.ceil(part * len(fronts) - 1e-9))  # noqa: E731
    return Band(surface(fronts, share(0.25)), surface(fronts, share(0.5)), surface(fronts, share(0.75)), len(fronts))
