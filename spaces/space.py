"""A space: the recipes that a sweep may try."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spaces.errors import InputError
from spaces.inference import Inference
from spaces.objectives import Objective
from spaces.parameters import Parameter
from spaces.recipe import Recipe
from spaces.requirements import Requirements


@dataclass(frozen=True)
class Space:
    """What may be tried, at which rungs it is scored, and what counts."""

    name: str
    about: str
    base: str
    """Default base: `puppets`, a diffusers folder, or a hub id."""
    controlnet: str | None
    """Default ControlNet: a folder or a hub id; None is the one in the base's folder."""
    subject: str
    """Default subject: `puppets/robot`, `puppets/person`, or a folder; empty when a person must give one."""
    rungs: tuple[int, ...]
    """Step counts at which trials are scored, increasing."""
    eta: float
    """One in eta trials of a rung goes on to the next."""
    objectives: tuple[Objective, ...]
    parameters: tuple[Parameter, ...]
    """The fields that are searched, conditions after what they depend on."""
    fixed: tuple[tuple[str, Any], ...]
    """The fields with one value."""
    inferences: tuple[Inference, ...] = (Inference(),)
    """How every checkpoint is drawn and scored, the main way first."""
    requirements: Requirements = ()
    """What a checkpoint has to meet to be on the front, and to be before those that do not."""

    def active(self, parameter: Parameter, values: Mapping[str, Any]) -> bool:
        """Whether the parameter's conditions hold among the values chosen so far.

        A field that has no value has the recipe's default.
        """
        known = {**dict(self.fixed), **values}
        has = lambda field: known.get(field, Recipe.model_fields[field].default)  # noqa: E731
        return all(has(field) in allowed for field, allowed in parameter.when)

    def recipe(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe of one point of the space (inactive parameters left out)."""
        return Recipe.parse({**dict(self.fixed), **values}, where=f"space {self.name}")

    def point(self, recipe: Recipe) -> dict[str, Any] | None:
        """The values behind a recipe, None where it does not lie in the space: `recipe` of them is this recipe."""
        fields, values = dict(recipe), {}
        for parameter in self.parameters:
            if self.active(parameter, values):
                value = fields[parameter.name]
                if not parameter.has(value):
                    return None
                values[parameter.name] = value
        try:
            return values if self.recipe(values) == recipe else None
        except InputError:
            return None

    def at(self, quantiles: Sequence[float]) -> dict[str, Any]:
        """The values of the point with these quantiles in [0, 1), one for each of `parameters`.

        Points of a low-discrepancy sequence so become recipes that fill the space more evenly than random ones.
        """
        of = {parameter.name: quantile for parameter, quantile in zip(self.parameters, quantiles, strict=True)}
        return self._sample(lambda parameter: parameter.at(of[parameter.name]))

    def sample(self, generator: np.random.Generator) -> dict[str, Any]:
        """The values of one point, drawn evenly."""
        return self._sample(lambda parameter: parameter.sample(generator))

    def sample_prior(self, generator: np.random.Generator) -> dict[str, Any]:
        """The values of one point, drawn from the expert's prior; evenly where a parameter has none."""
        return self._sample(lambda parameter: parameter.sample_prior(generator))

    def _sample(self, draw: Callable[[Parameter], Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if self.active(parameter, values):
                values[parameter.name] = draw(parameter)
        return values
