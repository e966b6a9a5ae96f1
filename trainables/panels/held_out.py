"""What a search's panel never shows: other target poses, prompts and noise, for the panel of a confirmation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spaces import InputError
from trainables.job import PanelConfig
from trainables.poses import annotated, turned_poses
from trainables.subject import Grade, Pose, Subject, skeleton_of

PROMPTS = (
    "a photo of {name} in a park",
    "a photo of {name} on a stone bridge",
    "a photo of {name} in a desert",
    "a photo of {name} in a library",
    "a photo of {name} on a wooden floor",
    "a photo of {name} in the rain",
    "a photo of {name} by a mountain lake",
    "a photo of {name} in an empty hall",
)
"""Scenes for subjects that name no `held_out_prompts`; those that the search has too are passed over."""
_SEED = 41


@dataclass(frozen=True)
class Unseen:
    """What to draw that the search's panel does not have."""

    poses: tuple[Pose, ...]
    """As many of each grade as that panel has, plain ones first."""
    prompts: tuple[str, ...]
    first: int
    """The number of the first cell's noise: that panel's cells have the numbers before."""


def unseen(subject: Subject, seen: Sequence[Pose], config: PanelConfig) -> Unseen:
    """The rest of the subject's target poses, and where these are too few its figures with the limbs turned anew.

    `seen`: the poses of the search's panel. InputError where nothing is left that the search did not see.
    """
    plain = _poses(subject, seen, "plain", config.plain)
    hard = _poses(subject, seen, "hard", config.hard)
    return Unseen(plain + hard, _prompts(subject), len(seen))


def panel_poses(subject: Subject, config: PanelConfig) -> list[Pose]:
    """The first target poses of each grade, plain ones first. InputError where the subject has fewer."""
    poses: list[Pose] = []
    for grade, count in (("plain", config.plain), ("hard", config.hard)):
        of_grade = [pose for pose in subject.poses if pose.grade == grade]
        if len(of_grade) < count:
            where = subject.folder / "poses.jsonl"
            raise InputError(where, f"has {len(of_grade)} {grade} poses; the panel asks for {count}")
        poses += of_grade[:count]
    return poses


def _prompts(subject: Subject) -> tuple[str, ...]:
    """Asked of the subject first: its words are those that its base knows."""
    left = [prompt for prompt in subject.held_out_prompts or PROMPTS if prompt not in subject.prompts]
    if not left:
        where = subject.folder / "subject.yaml"
        raise InputError(where, "held_out_prompts: should have a prompt that is not among prompts")
    return tuple(dict.fromkeys(left))


def _poses(subject: Subject, seen: Sequence[Pose], grade: Grade, count: int) -> tuple[Pose, ...]:
    found: list[Pose] = []
    for pose in subject.poses:
        if pose.grade == grade and len(found) < count and not any(_same(pose, other) for other in [*seen, *found]):
            found.append(pose)
    if len(found) < count:
        found += _turned(subject, [*seen, *found], grade, count - len(found))
    return tuple(found)


def _turned(subject: Subject, known: Sequence[Pose], grade: Grade, count: int) -> list[Pose]:
    """From the subject's annotated pictures, or from its own target poses where it has none."""
    figures = annotated(subject) or [
        (pose.keypoints, float(pose.size)) for pose in subject.poses if pose.grade == "plain"
    ]
    generator, made = np.random.default_rng([_SEED, grade == "hard"]), list[Pose]()
    for pose in turned_poses(generator, skeleton_of(subject), figures, grade, 4 * count) if figures else ():
        if len(made) < count and not any(_same(pose, other) for other in [*known, *made]):
            made.append(pose)
    if len(made) < count:
        where = subject.folder / "poses.jsonl"
        have = f"has too few {grade} poses that the search's panel does not show"
        raise InputError(where, f"{have}, and no figure to make {count - len(made)} more of; add some")
    return made


def _same(one: Pose, other: Pose) -> bool:
    """The same pose, whatever the size that it is given in."""
    scale = (1 / one.size, 1 / one.size, 1), (1 / other.size, 1 / other.size, 1)
    if len(one.keypoints) != len(other.keypoints):
        return False
    return bool(np.allclose(one.keypoints * scale[0], other.keypoints * scale[1], atol=1e-6))
