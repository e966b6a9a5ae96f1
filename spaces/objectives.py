"""The objectives, each with its direction. Declared here once; all maths minimises (`to_losses` flips)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spaces.errors import InputError


@dataclass(frozen=True)
class Objective:
    """One number of a checkpoint that is traded against the others."""

    name: str
    """The key in an observation's scores."""
    direction: Literal["maximize", "minimize"]
    """Which way is better."""
    nadir: float
    """The worst value that counts: the hypervolume's reference, the same for every sweep."""
    ideal: float
    """The best possible value: with the nadir it scales hypervolume to 0..1."""
    about: str
    """What it measures, in one line."""


OBJECTIVES = {
    o.name: o
    for o in (
        Objective("identity", "maximize", 0.0, 1.0, "masked cosine similarity to the subject's pictures"),
        Objective("pose", "maximize", 0.0, 1.0, "PCK of the target pose's joints, plain and hard"),
        Objective("pose_plain", "maximize", 0.0, 1.0, "PCK on plain poses"),
        Objective("pose_hard", "maximize", 0.0, 1.0, "PCK on hard poses"),
        Objective("prompt", "maximize", 0.0, 0.5, "CLIP-T: cosine of picture and prompt; needs a prompt judge"),
        Objective("diversity", "maximize", 0.0, 1.0, "mean distance among the pictures of plain, and of hard poses"),
        Objective("drift", "minimize", 1.0, 0.0, "distance to the untuned base on prompts without the token"),
    )
}


def parse_objectives(names: Sequence[str], where: object = "objectives") -> tuple[Objective, ...]:
    """Objectives by name: at least two, none twice."""
    for name in names:
        if name not in OBJECTIVES:
            raise InputError(where, f"{name!r} is not an objective; there are {', '.join(OBJECTIVES)}")
    if len(names) < 2 or len(set(names)) != len(names):
        raise InputError(where, f"{list(names)} should be two or more different objectives")
    return tuple(OBJECTIVES[name] for name in names)


def to_losses(objectives: Sequence[Objective], rows: Sequence[Mapping[str, float]]) -> np.ndarray:
    """Scores as an n x m array of losses: 0 is an objective's ideal, 1 its nadir, smaller is better.

    NaN stays NaN. An empty `rows` gives a 0 x m array.
    """
    values = np.array([[row[o.name] for o in objectives] for row in rows], dtype=float)
    ideal = np.array([o.ideal for o in objectives])
    nadir = np.array([o.nadir for o in objectives])
    return (values.reshape(len(rows), len(objectives)) - ideal) / (nadir - ideal)


DECIMALS = 9
"""Of a score that is a mean: 140 of 156 joints are the same however they are spread over the pictures, and added up in
another order they differ in the sixteenth decimal, by which one would be on the front and another would not."""
REFERENCE_LOSS = 1.0
"""Every coordinate of the hypervolume's reference point, in losses."""
