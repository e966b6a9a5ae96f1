"""Recipes as points of a cube, and as the numbers that a model learns from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces import Choice, Parameter, Recipe, Space

Floats = NDArray[np.float64]
_LAST = 1 - 1e-9


class Encoding:
    """A point of the cube has a quantile for each parameter, whether the recipe has it or not."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self.groups = np.repeat(np.arange(len(space.parameters)), [_width(p) for p in space.parameters])
        """d, the parameter that each of a recipe's numbers belongs to."""

    @property
    def parameters(self) -> int:
        return len(self._space.parameters)

    def values(self, point: Floats) -> dict[str, Any]:
        """The recipe's values at a point."""
        return self._space.at(np.clip(point, 0.0, _LAST).tolist())

    def point(self, values: Mapping[str, Any]) -> Floats:
        """The point of a recipe; what it does not have is in the middle."""
        known = [p.quantile(values[p.name]) if p.name in values else 0.5 for p in self._space.parameters]
        return np.array(known, dtype=float)

    def features(self, points: Floats) -> Floats:
        """n x d: a number between 0 and 1 for a range, one for each value of a choice, two of which are 1 apart.

        What the recipe at a point does not have is as far from all that it might be.
        """
        points = np.clip(points, 0.0, _LAST)
        found, has, columns = dict[str, tuple[Parameter, Floats]](), dict[str, NDArray[np.bool_]](), []
        for parameter, quantiles in zip(self._space.parameters, points.T, strict=True):
            active = np.ones(len(points), dtype=bool)
            for field, allowed in parameter.when:
                active &= self._is_one_of(field, allowed, found, has)
            if isinstance(parameter, Choice):
                chosen = np.floor(quantiles * len(parameter.values))
                columns += [np.sqrt(0.5) * ((chosen == k) & active) for k in range(len(parameter.values))]
                quantiles = chosen
            else:
                if parameter.integer:
                    quantiles = parameter.settled(quantiles)
                columns.append(np.where(active, quantiles, 0.5))
            found[parameter.name], has[parameter.name] = (parameter, quantiles), active
        return np.column_stack(columns)

    def _is_one_of(
        self, field: str, allowed: tuple[Any, ...], found: Mapping[str, tuple[Parameter, Floats]],
        has: Mapping[str, NDArray[np.bool_]],
    ) -> NDArray[np.bool_]:  # fmt: skip
        """As `Space.active` for each point; a field that has no value has the recipe's default."""
        otherwise = dict(self._space.fixed).get(field, Recipe.model_fields[field].default) in allowed
        if field not in found:
            return np.array(otherwise)
        parameter, known = found[field]
        if isinstance(parameter, Choice):
            own = np.isin(known, [k for k, value in enumerate(parameter.values) if value in allowed])
        else:
            own = np.array([parameter.at(q) in allowed for q in known.tolist()])
        return np.where(has[field], own, otherwise)


def _width(parameter: Parameter) -> int:
    return len(parameter.values) if isinstance(parameter, Choice) else 1
