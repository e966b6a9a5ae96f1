"""Which joints a figure has and which limbs join them."""

import colorsys
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Drawing = Literal["puppets", "openpose"]

_OPENPOSE_HUES = 18


@dataclass(frozen=True)
class Skeleton:
    """Joints and limbs of one morphology."""

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    """Pairs of joint indices that a limb joins."""
    mirror: tuple[int, ...]
    """For each joint the one on the other side (itself in the middle)."""
    root: int = 0
    """The joint that stays where it is when limbs are turned."""
    body: tuple[int, ...] = ()
    """Joints around the trunk; what lies between them is part of the figure."""
    drawing: Drawing = "puppets"
    """How the conditioning picture is drawn: as the puppets' ControlNet learned it, or Stable Diffusion's."""

    def colour(self, limb: int) -> tuple[int, int, int]:
        """A hue of its own for each limb, evenly around the colour wheel; OpenPose has 18 hues for its 17 limbs."""
        hues = max(_OPENPOSE_HUES, len(self.limbs)) if self.drawing == "openpose" else len(self.limbs)
        return _hue(limb / hues)

    def joint_colour(self, joint: int) -> tuple[int, int, int]:
        """White, or the joint's own hue where it is drawn as OpenPose does."""
        if self.drawing == "puppets":
            return 255, 255, 255
        return _hue(joint / max(_OPENPOSE_HUES, len(self.joints)))


@lru_cache
def puppet_skeleton(arms: int = 2, legs: int = 2) -> Skeleton:
    """A head, and `arms` and `legs` of three joints each, from the figure's right to its left.

    With two of each these are the 13 joints that COCO-17 and OpenPose-18 share when the face is left out.
    """
    joints, limbs, mirror = ["head"], [], [0]
    roots: dict[str, list[int]] = {"arm": [], "leg": []}
    for kind, count, names in (("arm", arms, ("shoulder", "elbow", "wrist")), ("leg", legs, ("hip", "knee", "ankle"))):
        start = len(joints)
        for limb in range(count):
            first = len(joints)
            roots[kind].append(first)
            joints += [f"{kind}{limb}_{name}" for name in names]
            limbs += [(first, first + 1), (first + 1, first + 2)]
            mirror += [start + 3 * (count - 1 - limb) + k for k in range(3)]
    limbs += [(0, root) for root in roots["arm"]]
    limbs += [(roots["arm"][0], roots["leg"][0]), (roots["arm"][-1], roots["leg"][-1])]
    body = tuple(roots["arm"] + roots["leg"])
    return Skeleton(f"puppet-{len(joints)}", tuple(joints), tuple(dict.fromkeys(limbs)), tuple(mirror), body=body)


_OPENPOSE_JOINTS = (
    "nose",
    "neck",
    "r_shoulder",
    "r_elbow",
    "r_wrist",
    "l_shoulder",
    "l_elbow",
    "l_wrist",
    "r_hip",
    "r_knee",
    "r_ankle",
    "l_hip",
    "l_knee",
    "l_ankle",
    "r_eye",
    "l_eye",
    "r_ear",
    "l_ear",
)
OPENPOSE_18 = Skeleton(
    "openpose-18",
    _OPENPOSE_JOINTS,
    ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
     (0, 14), (14, 16), (0, 15), (15, 17)),
    (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16),
    root=1,
    body=(2, 5, 8, 11),
    drawing="openpose",
)  # fmt: skip
PUPPET_13 = puppet_skeleton()


def _hue(turn: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(turn, 1.0, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)
