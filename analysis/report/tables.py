"""The front as a table: one row for each member."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.confirmed import Confirmed
from analysis.frontplot import varied_fields
from analysis.pareto import non_dominated
from analysis.report.material import Material
from spaces import Observation, front_losses

BESIDE = ("pose_plain", "pose_hard", "drift", "prompt", "detection_rate")
"""Scores that are worth a column beside the objectives, where there are any."""


@dataclass(frozen=True)
class FrontRow:
    """A member of the front as scored."""

    index: int
    """In the material's observations."""
    name: str
    steps: int
    scores: Mapping[str, float]
    recipe: Mapping[str, str]
    """What the sweep varies."""
    confirmed: Confirmed | None
    marks: tuple[str, ...]
    """`pick`, `knee`."""


def front_rows(material: Material) -> list[FrontRow]:
    """From the best in the first objective on; what a confirmation found behind the front comes last."""
    table = material.observations
    losses = front_losses(material.objectives, material.requirements, [o.scores for o in table])
    front = np.flatnonzero(non_dominated(losses))
    order = front[np.lexsort(losses[front].T[::-1])].tolist() if len(front) else []
    confirmation = material.confirmation
    also = {each.key for each in confirmation.front} if confirmation else set()
    also |= {o.key for o in (material.knee, material.pick) if o is not None}
    order += [i for i, o in enumerate(table) if o.key in also and i not in set(order)]
    fields = varied_fields(table)
    marked = {"pick": material.pick, "knee": material.knee}
    return [
        FrontRow(
            index=i,
            name=table[i].name,
            steps=table[i].steps,
            scores=table[i].scores,
            recipe=recipe_words(table[i], fields),
            confirmed=confirmation.of(table[i].key) if confirmation else None,
            marks=tuple(mark for mark, o in marked.items() if o is not None and o.key == table[i].key),
        )
        for i in order
    ]


def recipe_words(observation: Observation, fields: set[str]) -> dict[str, str]:
    """Of these fields, in the recipe's order, as a person reads them."""
    flat = observation.recipe.flat()
    return {
        name: f"{value:.3g}" if isinstance(value, float) else str(value)
        for name, value in flat.items()
        if name in fields
    }


def shown_scores(material: Material) -> list[str]:
    """The objectives, then what else is worth a column and is there."""
    there = {name for o in material.observations for name in o.scores}
    names = [o.name for o in material.objectives]
    return names + [name for name in BESIDE if name in there and name not in names]
