"""What sets observations apart: the fields of their recipes that vary, steps, and the way to draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spaces import Choice, Observation, Parameter, Space

STEPS, DRAWN = "steps", "drawn"
"""Coordinates beside the recipe's fields."""


@dataclass(frozen=True)
class Coordinates:
    """A table with a row for each observation that lies in the space."""

    observations: tuple[Observation, ...]
    parameters: tuple[Parameter, ...]
    """Those with two values or more among the rows: first the space's, in its order, then `steps` and `drawn`."""
    rows: tuple[Mapping[str, Any], ...]
    """Values by name; what a recipe does not use (its condition does not hold) is not there."""

    def of(self, name: str) -> Parameter | None:
        return next((parameter for parameter in self.parameters if parameter.name == name), None)


def coordinates(observations: Sequence[Observation], space: Space) -> Coordinates:
    """Observations of recipes outside the space are left out."""
    points = {o.trial: space.point(o.recipe) for o in {o.trial: o for o in observations}.values()}
    kept = tuple(o for o in observations if points[o.trial] is not None)
    rows = tuple(points[o.trial] | {STEPS: o.steps, DRAWN: o.label} for o in kept)
    own = [Choice(STEPS, tuple(sorted({o.steps for o in kept}))), Choice(DRAWN, tuple(sorted({o.label for o in kept})))]
    varying = [p for p in (*space.parameters, *own) if len({row[p.name] for row in rows if p.name in row}) > 1]
    return Coordinates(kept, tuple(varying), rows)
