"""How a figure stands: joint angles of two grades, and the keypoints that they give a build."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trainables.puppets.characters import Character

Grade = Literal["plain", "hard"]

SIZE = 64
"""Side of a puppet picture in pixels."""
_MARGIN = 3.0


@dataclass(frozen=True)
class Stance:
    """Angles in radians; an arm's or leg's angle is from straight down the body, positive away from it."""

    lean: float
    head: float
    arms: tuple[tuple[float, float], ...]
    """(upper, bend of the elbow) for each arm from the figure's right to its left."""
    legs: tuple[tuple[float, float], ...]
    size: float
    """Share of the canvas that the figure fills, at most 1."""
    place: tuple[float, float]
    """Where it stands in what is left of the canvas, 0..1 each way."""


_RANGES: dict[Grade, dict[str, tuple[float, float]]] = {
    # degrees
    "plain": {"lean": (-7, 7), "head": (-8, 8), "arm": (8, 100), "elbow": (-15, 60), "leg": (2, 24), "knee": (-16, 4)},
    "hard": {
        "lean": (-38, 38),
        "head": (-25, 25),
        "arm": (-55, 175),
        "elbow": (-110, 125),
        "leg": (-28, 85),
        "knee": (-105, 20),
    },
}


def sample_stance(generator: np.random.Generator, grade: Grade, arms: int = 2, legs: int = 2) -> Stance:
    """A random stance. A hard one has at least one limb far from where plain ones are."""
    ranges = _RANGES[grade]
    draw = lambda name: float(np.deg2rad(generator.uniform(*ranges[name])))  # noqa: E731
    while True:
        stance = Stance(
            lean=draw("lean"),
            head=draw("head"),
            arms=tuple((draw("arm"), draw("elbow")) for _ in range(arms)),
            legs=tuple((draw("leg"), draw("knee")) for _ in range(legs)),
            size=float(generator.uniform(0.86, 1.0)),
            place=(float(generator.uniform(0, 1)), float(generator.uniform(0, 1))),
        )
        if grade == "plain" or _is_hard(stance):
            return stance


def _is_hard(stance: Stance) -> bool:
    arms_out = sum(
        upper < np.deg2rad(-5) or upper > np.deg2rad(120) or abs(bend) > np.deg2rad(80) for upper, bend in stance.arms
    )
    legs_out = sum(upper < np.deg2rad(-8) or upper > np.deg2rad(40) for upper, _ in stance.legs)
    return arms_out + legs_out + (abs(stance.lean) > np.deg2rad(18)) >= 2


def keypoints_of(character: Character, stance: Stance) -> np.ndarray:
    """J x 3 keypoints (x, y, visible=1) in pixels, joints as `skeleton.puppet_skeleton(arms, legs)` orders them."""
    points = _figure(character, stance)
    build = character.build
    reach = build.head * 1.9  # head and antenna, or hair
    low = np.minimum(points.min(axis=0) - build.limb, points[0] - reach)
    high = np.maximum(points.max(axis=0) + build.limb * 1.6, points[0] + build.head)
    room = SIZE - 2 * _MARGIN
    scale = stance.size * min(room / (high - low).max(), room / 2.9)
    left = room - scale * (high - low)
    placed = (points - low) * scale + _MARGIN + left * np.array(stance.place)
    return np.column_stack([placed, np.ones(len(placed))])


def _figure(character: Character, stance: Stance) -> np.ndarray:
    """Joint positions in torso lengths, y downwards, the torso's foot at the origin."""
    build = character.build
    down = np.array([np.sin(stance.lean), np.cos(stance.lean)])
    side = np.array([down[1], -down[0]])
    neck = -down
    head_down = np.array([np.sin(stance.lean + stance.head), np.cos(stance.lean + stance.head)])
    joints = [neck - build.neck * head_down]
    joints += _limbs(
        neck, side * build.shoulders, stance.lean, stance.arms, build.upper_arm, build.forearm, spread=0.28 * down
    )
    joints += _limbs(
        np.zeros(2), side * build.hips, stance.lean, stance.legs, build.thigh, build.shin, spread=np.zeros(2)
    )
    return np.array(joints)


def _limbs(
    centre: np.ndarray, half: np.ndarray, lean: float, angles: tuple[tuple[float, float], ...], upper: float,
    lower: float, spread: np.ndarray,
) -> list[np.ndarray]:  # fmt: skip
    """Root, middle and end of each limb. More than two share the sides, the inner ones `spread` further down."""
    joints = []
    positions = np.linspace(-1, 1, len(angles)) if len(angles) > 1 else np.zeros(1)
    for position, (angle, bend) in zip(positions, angles, strict=True):
        outward = -1.0 if position <= 0 else 1.0  # the figure's right is on the picture's left
        root = centre + half * position + spread * (1 - abs(position)) * (len(angles) > 1)
        first = lean + outward * angle
        second = lean + outward * (angle + bend)
        middle = root + upper * np.array([np.sin(first), np.cos(first)])
        joints += [root, middle, middle + lower * np.array([np.sin(second), np.cos(second)])]
    return joints
