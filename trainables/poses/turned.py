"""Target poses for a figure of any morphology: its own pose with the limbs turned about their joints."""

from dataclasses import dataclass

import numpy as np

from trainables.skeleton import Skeleton
from trainables.subject.parts import Grade, Pose

_MARGIN = 0.04
_LEAN: dict[Grade, float] = {"plain": 6, "hard": 35}
"""Degrees that the whole figure is turned by, at most; not one that stands on a single foot, such as an arm."""
_TURN: dict[Grade, float] = {"plain": 22, "hard": 120}
"""Degrees that a limb is turned by against the one before it, at most."""
_FAR = 60
"""Degrees of a turn that takes a limb to where plain poses do not have it; a hard pose has at least one such."""
_STUB = 0.06
"""Limbs shorter than this share of the figure (eyes, claws) keep their place on what they sit on."""
_TRIES = 200


@dataclass(frozen=True)
class Hinge:
    """A limb that may turn."""

    joint: int
    """About which."""
    moved: tuple[int, ...]
    """The joints that go along."""


def turned_poses(
    generator: np.random.Generator, skeleton: Skeleton, poses: list[tuple[np.ndarray, float]], grade: Grade, count: int
) -> tuple[Pose, ...]:
    """`count` poses, from each of `poses` (J x 3 keypoints and the size of their square) in turn.

    Limbs keep their lengths. What is visible stays so, and all of it is inside the square.
    """
    made = []
    for number in range(count):
        keypoints, size = poses[number % len(poses)]
        made.append(Pose(grade, _one(generator, skeleton, keypoints, size, grade), round(size)))
    return tuple(made)


def hinges(skeleton: Skeleton, keypoints: np.ndarray) -> list[Hinge]:
    """The limbs that may turn, from the root outwards.

    The trunk is stiff: limbs that branch further out, rings, and the first of a chain of three or more where it
    leaves the trunk (from the neck to a shoulder or hip). A chain that is the whole figure turns but for its foot.
    """
    parent = _parents(skeleton)
    below = {joint: _beyond(skeleton, parent, joint) for joint in parent}
    children = {joint: [child for child in parent if parent[child] == joint] for joint in range(len(skeleton.joints))}
    extent = np.ptp(keypoints[keypoints[:, 2] > 0, :2], axis=0).max() if (keypoints[:, 2] > 0).any() else 0
    found = []
    for joint, above in parent.items():
        chain = all(len(children[j]) < 2 for j in below[joint])
        starts = above == skeleton.root or len(children[above]) > 1
        stiff = starts and len(below[joint]) >= 3
        long = np.linalg.norm(keypoints[joint, :2] - keypoints[above, :2]) >= _STUB * extent
        if _is_bridge(skeleton, above, joint) and (chain or _is_whole_chain(skeleton, children)) and not stiff and long:
            found.append(Hinge(above, below[joint]))
    return found


def _one(
    generator: np.random.Generator, skeleton: Skeleton, keypoints: np.ndarray, size: float, grade: Grade
) -> np.ndarray:
    limbs = hinges(skeleton, keypoints)
    most = _LEAN[grade] if sum(skeleton.root in limb for limb in skeleton.limbs) > 1 else 0.0
    best, room = keypoints, -1.0
    for _ in range(_TRIES):
        turns = generator.uniform(-_TURN[grade], _TURN[grade], len(limbs))
        lean = generator.uniform(-most, most)
        if grade == "hard" and len(limbs) and np.abs(turns).max() < _FAR:
            continue
        points = _rotated(keypoints[:, :2], skeleton.root, tuple(range(len(keypoints))), lean)
        for limb, degrees in zip(limbs, turns, strict=True):
            points = _rotated(points, limb.joint, limb.moved, degrees)
        closest = _closest(points[keypoints[:, 2] > 0], keypoints[keypoints[:, 2] > 0, :2])
        if closest > room:
            best, room = np.column_stack([points, keypoints[:, 2]]), closest
        if closest > 0.5:
            break
    return _placed(best, size)


def _rotated(points: np.ndarray, about: int, moved: tuple[int, ...], degrees: float) -> np.ndarray:
    """J x 2, the joints `moved` turned about one."""
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = points.copy()
    turned[list(moved)] = (points[list(moved)] - points[about]) @ rotation.T + points[about]
    return turned


def _closest(points: np.ndarray, before: np.ndarray) -> float:
    """The least distance between two joints, as a share of what it was at least: limbs should not lie on each other."""
    if len(points) < 2:
        return 1.0
    least = [
        (np.linalg.norm(p[:, None] - p[None], axis=2) + np.diag([np.inf] * len(p))).min() for p in (points, before)
    ]
    return float(least[0] / max(least[1], 1e-9))


def _placed(keypoints: np.ndarray, size: float) -> np.ndarray:
    """Moved, and made smaller only if it must be, so that all that is visible is inside; the rest is 0, 0, 0."""
    seen = keypoints[:, 2] > 0
    points = keypoints[seen, :2]
    room = size * (1 - 2 * _MARGIN)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = min(1.0, room / max((high - low).max(), 1e-9))
    middle = (low + high) / 2
    half = scale * (high - low) / 2
    centre = np.clip(middle, size * _MARGIN + half, size * (1 - _MARGIN) - half)
    placed = np.zeros_like(keypoints)
    placed[seen] = np.column_stack([(points - middle) * scale + centre, np.ones(seen.sum())]).round(2)
    return placed


def _parents(skeleton: Skeleton) -> dict[int, int]:
    """For every joint but the root the one that it hangs on, nearest to the root first."""
    parent: dict[int, int] = {}
    fresh = [skeleton.root]
    while fresh:
        reached = []
        for joint in fresh:
            for a, b in skeleton.limbs:
                other = b if a == joint else a if b == joint else None
                if other is not None and other != skeleton.root and other not in parent:
                    parent[other] = joint
                    reached.append(other)
        fresh = reached
    return parent


def _beyond(skeleton: Skeleton, parent: dict[int, int], joint: int) -> tuple[int, ...]:
    """The joint and all that hang on it."""
    below = {joint}
    for other in parent:  # nearest to the root first, so one pass is enough
        if parent[other] in below:
            below.add(other)
    return tuple(sorted(below))


def _is_bridge(skeleton: Skeleton, a: int, b: int) -> bool:
    """Whether only this limb holds its two ends together; in a ring no limb can turn alone."""
    reached, fresh = {a}, {a}
    while fresh:
        ways = [pair for x, y in skeleton.limbs if {x, y} != {a, b} for pair in ((x, y), (y, x))]
        fresh = {y for x, y in ways if x in fresh} - reached
        reached |= fresh
    return b not in reached


def _is_whole_chain(skeleton: Skeleton, children: dict[int, list[int]]) -> bool:
    """An arm on a foot: one chain up to where it branches at its end (a gripper)."""
    if len(children[skeleton.root]) != 1:
        return False
    branching = [joint for joint, below in children.items() if len(below) > 1]
    return all(not children[tip] for joint in branching for tip in children[joint])
