"""The table behind the plot of the front, as the page's script takes it: columns, small."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.confirmed import Confirmation
from analysis.frontplot import stairs, varied_fields
from analysis.pareto import non_dominated
from analysis.report.material import Album, Key, Material
from analysis.report.tables import recipe_words
from spaces import Objective, Observation, front_losses

DIGITS = 6
"""Decimals of a score in the page."""
GONE, LEFT_OUT = -1, -2
"""In the place of a strip's number."""


def points_data(material: Material, numbers: Mapping[Key, int]) -> dict[str, Any]:
    """`numbers`: of the strips that the page has. The front is over all objectives, whatever two are drawn."""
    table, objectives = material.observations, material.objectives
    at = {o.key: i for i, o in enumerate(table)}
    losses = front_losses(objectives, material.requirements, [o.scores for o in table])
    front = np.flatnonzero(non_dominated(losses))
    front = front[np.lexsort(losses[front].T[::-1])] if len(front) else front
    names = list(dict.fromkeys([*(o.name for o in objectives), *(name for o in table for name in o.scores)]))
    trials = list(dict.fromkeys(o.trial for o in table))
    row = {trial: i for i, trial in enumerate(trials)}
    recipes = {o.trial: o for o in table}
    fields = varied_fields(table)
    return {
        "objectives": [_axis(o) for o in objectives],
        "trials": [
            {"name": trial, "seed": recipes[trial].seed, "recipe": recipe_words(recipes[trial], fields)}
            for trial in trials
        ],
        "trial": [row[o.trial] for o in table],
        "steps": [o.steps for o in table],
        "label": [o.label for o in table],
        "scores": {name: [rounded(o.scores.get(name, math.nan)) for o in table] for name in names},
        "missed": [i for i, o in enumerate(table) if any(each.excess(o.scores) > 0 for each in material.requirements)],
        "front": front.tolist(),
        "stairs": _stairs(table, front, objectives),
        "knee": None if material.knee is None else at[material.knee.key],
        "pick": None if material.pick is None else at[material.pick.key],
        "base": {name: rounded(v) for name, v in material.base_scores.items()} if material.base_scores else None,
        "confirmed": _confirmed(material.confirmation, at),
        "pictures": [picture_of(o.key, numbers, material.album) for o in table],
    }


def picture_of(key: Key, numbers: Mapping[Key, int], album: Album) -> int:
    """A strip's number, or why there is none."""
    return numbers.get(key, GONE if key in album.gone else LEFT_OUT)


def rounded(value: float) -> float | None:
    """As JSON has it: None is no number."""
    return round(float(value), DIGITS) if math.isfinite(value) else None


def _axis(objective: Objective) -> dict[str, Any]:
    return {"name": objective.name, "direction": objective.direction, "about": objective.about}


def _stairs(
    table: Sequence[Observation], front: np.ndarray, objectives: Sequence[Objective]
) -> list[list[float | None]]:
    """Border of what the front dominates, with two objectives alone."""
    if len(objectives) != 2:
        return []
    points = np.array([[table[i].scores[o.name] for o in objectives] for i in front]).reshape(-1, 2)
    return [[rounded(x), rounded(y)] for x, y in stairs(points, (objectives[0], objectives[1]))]


def _confirmed(confirmation: Confirmation | None, at: Mapping[Key, int]) -> list[dict[str, Any]]:
    """Every candidate with scores: means over fresh seeds on a panel that is new."""
    return [
        {
            "point": at[each.key],
            "means": {name: rounded(value) for name, value in each.means.items()},
            "halves": {name: rounded(value) for name, value in each.halves.items()},
            "chance": each.chance,
            "seeds": each.seeds,
            "front": each.on_front,
        }
        for each in (confirmation.candidates if confirmation else ())
        if each.means and each.key in at
    ]
