"""What a checkpoint has to meet to count at all, such as `drift < 0.2`, and how far it is from that.

The rule is Deb's (2000): what meets all requirements is before all that does not, whatever it scores, and of the rest
the one that misses them by less. In losses that is one transformation, so that whoever ranks losses need know nothing
of it.
"""

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spaces.errors import InputError
from spaces.objectives import OBJECTIVES, Objective, to_losses

DIAGNOSTICS = ("detection_rate", "copycat", "oks", "silhouette")
"""Scores that are no objectives; of some subjects and judges only."""
NAMES = (*OBJECTIVES, *DIAGNOSTICS)
OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
LEAST = 1e-9
"""What is not met is missed by so much at least: at a bound that is not included, too."""
FAR = 1e3
"""The losses of what misses a requirement; those of anything else are at most half of it. 1 is a nadir."""

_TEXT = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*(\S+)\s*")


@dataclass(frozen=True)
class Requirement:
    """A bound on one score."""

    name: str
    operator: str
    bound: float

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {self.bound!r}"

    def excess(self, scores: Mapping[str, float]) -> float:
        """By how much the score is beyond the bound, in spans from an objective's ideal to its nadir; not above 0
        where the requirement is met. A score that is missing or no number is beyond any bound.
        """
        value = scores.get(self.name, math.nan)
        if math.isnan(value):
            return math.inf
        objective = OBJECTIVES.get(self.name)
        span = abs(objective.nadir - objective.ideal) if objective else 1.0
        beyond = (value - self.bound) / span * (1 if self.operator.startswith("<") else -1)
        return min(beyond, 0.0) if OPERATORS[self.operator](value, self.bound) else max(beyond, LEAST)


Requirements = tuple[Requirement, ...]


def parse_requirement(text: str, where: object = "--require") -> Requirement:
    """A requirement as a person writes it: a score, an operator and a number."""
    found = _TEXT.fullmatch(text)
    if not found:
        raise InputError(where, f"{text!r} should be a score, one of < <= > >= and a number, such as 'drift < 0.2'")
    name, sign, number = found.groups()
    if name not in NAMES:
        raise InputError(where, f"{name!r} in {text!r} is no score; there are {', '.join(NAMES)}")
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise InputError(where, f"{number!r} in {text!r} should be a number, such as 0.2")
    return Requirement(name, sign, bound)


def violation(requirements: Requirements, scores: Mapping[str, float]) -> float:
    """By how much scores miss all requirements together; 0 where they meet them."""
    return sum(max(0.0, requirement.excess(scores)) for requirement in requirements)


def ranking_losses(
    objectives: Sequence[Objective], requirements: Requirements, rows: Sequence[Mapping[str, float]]
) -> np.ndarray:
    """`to_losses` for ranking, n x m: what misses a requirement is dominated by all that does not, and by what misses
    by less. It is far beyond the nadirs, so it adds no volume. NaN stays NaN.
    """
    losses = to_losses(objectives, rows)
    if requirements:
        missed = np.array([violation(requirements, row) for row in rows])[:, None]
        apart = np.where(missed > 0, FAR + missed, np.minimum(losses, FAR / 2))
        losses = np.where(np.isfinite(losses), apart, losses)
    return losses


def front_losses(
    objectives: Sequence[Objective], requirements: Requirements, rows: Sequence[Mapping[str, float]]
) -> np.ndarray:
    """`to_losses` for fronts, n x m: what misses a requirement is NaN, and so on no front."""
    losses = to_losses(objectives, rows)
    for i, row in enumerate(rows) if requirements else ():
        if violation(requirements, row) > 0:
            losses[i] = np.nan
    return losses
