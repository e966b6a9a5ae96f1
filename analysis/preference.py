"""Which of a front's members one takes who knows what matters to him: `identity=2,pose=1`."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.pareto import Floats, non_dominated
from spaces import InputError, Objective

_PART = re.compile(r"\s*(\w+)\s*=\s*(\S+)\s*")
_AUGMENTED = 0.01
"""The weight of the sum beside the largest."""


@dataclass(frozen=True)
class Preference:
    """How much each objective counts."""

    text: str
    """As it was written."""
    weights: tuple[float, ...]
    """One for each of a sweep's objectives, none negative and one above 0; an objective that was not named counts 0."""

    def __str__(self) -> str:
        return self.text


def parse_preference(text: str, objectives: Sequence[Objective], where: object = "--prefer") -> Preference:
    """Weights as a person writes them. InputError says what would be right."""
    names = [o.name for o in objectives]
    example = ",".join(f"{name}={2 if i == 0 else 1}" for i, name in enumerate(names[:2]))
    given: dict[str, float] = {}
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if not found:
            raise InputError(where, f"{part.strip()!r} in {text!r} should be an objective and its weight: {example}")
        name, number = found.groups()
        if name not in names or name in given:
            what = "is there twice" if name in given else f"is not traded in this sweep, {' and '.join(names)} are"
            raise InputError(where, f"{name!r} in {text!r} {what}")
        try:
            given[name] = float(number)
        except ValueError:
            given[name] = math.nan
        if not (math.isfinite(given[name]) and given[name] >= 0):
            raise InputError(where, f"{number!r} in {text!r} should be a weight, 0 or more, such as {example}")
    if not any(given.values()):
        raise InputError(where, f"{text!r} gives all objectives the weight 0; one should count: {example}")
    return Preference(text.replace(" ", ""), tuple(given.get(name, 0.0) for name in names))


def preferred(losses: ArrayLike, weights: Sequence[float]) -> int | None:
    """Index of the front's member whose largest weighted loss is the least, n x m losses; None without a front.

    The augmented Chebyshev scalarisation (Steuer and Choo 1983), on losses that the front's best and worst scale to
    0..1 in each objective. A weighted sum would do for a convex front, but never take a member where the front is
    dented, whatever the weights; this one takes each for some. The sum beside the largest, of little weight, decides
    where several have the same; then the sum without weights, then the lexicographic order.
    """
    points = np.asarray(losses, dtype=float)
    front = np.flatnonzero(non_dominated(points))
    if len(front) == 0:
        return None
    own = points[front]
    weighted = scaled(own) * np.asarray(weights, dtype=float)
    value = weighted.max(axis=1) + _AUGMENTED * weighted.sum(axis=1)
    return int(front[np.lexsort((*own.T[::-1], scaled(own).sum(axis=1), value))[0]])


def scaled(front: Floats) -> Floats:
    """A front's losses between its best and its worst in each objective: 0 to 1, 0 where all are alike."""
    best, worst = front.min(axis=0), front.max(axis=0)
    return (front - best) / np.where(worst > best, worst - best, 1.0)
