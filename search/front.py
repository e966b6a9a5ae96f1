"""The front of a sweep's observations."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.pareto import hypervolume, knee, non_dominated, order_selection
from spaces import (
    REFERENCE_LOSS,
    InputError,
    Objective,
    Observation,
    Requirements,
    Space,
    front_losses,
    ranking_losses,
)


def check_scores(table: Sequence[Observation], space: Space, where: Path) -> None:
    """InputError where an observation lacks a score that the sweep trades, or it is no number."""
    for o in table:
        for traded in (*space.objectives, *space.requirements):
            if not math.isfinite(o.scores.get(traded.name, math.nan)):
                raise InputError(where, f"{o.name} has no score {traded.name}; this journal is of another space")


def front_of(
    observations: Sequence[Observation], objectives: Sequence[Objective], requirements: Requirements = ()
) -> list[Observation]:
    """The observations that none dominates, best first in the first objective; of those that meet the requirements."""
    losses = _losses(observations, objectives, requirements)
    front = [int(i) for i in np.flatnonzero(non_dominated(losses))]
    return [observations[i] for i in sorted(front, key=lambda i: (*losses[i], observations[i].key))]


def knee_of(
    observations: Sequence[Observation], objectives: Sequence[Objective], requirements: Requirements = ()
) -> Observation | None:
    """The observation to take when nothing else is known: the front's knee."""
    at = knee(_losses(observations, objectives, requirements))
    return None if at is None else observations[at]


def representative_of(
    checkpoint: Sequence[Observation], objectives: Sequence[Objective], requirements: Requirements = ()
) -> Observation:
    """The one of a checkpoint's observations that stands for it: of those that no other dominates, the one that
    dominates the most volume; where none meets the requirements, the one that misses them by least. It depends on the
    checkpoint alone, not on what else was seen by then.
    """
    if len(checkpoint) == 1:
        return checkpoint[0]
    losses = ranking_losses(objectives, requirements, [o.scores for o in checkpoint])
    return checkpoint[order_selection(losses, REFERENCE_LOSS)[0]]


def hypervolume_of(
    observations: Sequence[Observation], objectives: Sequence[Objective], requirements: Requirements = ()
) -> float:
    """What the observations dominate: 0 is nothing, 1 all from the nadir to the ideal."""
    return hypervolume(_losses(observations, objectives, requirements), np.full(len(objectives), REFERENCE_LOSS))


def _losses(
    observations: Sequence[Observation], objectives: Sequence[Objective], requirements: Requirements
) -> np.ndarray:
    return front_losses(objectives, requirements, [o.scores for o in observations])
