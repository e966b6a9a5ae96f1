"""Skeletons: which joints a figure has, which limbs join them, and the picture that conditions a ControlNet."""

import colorsys
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from spaces import InputError

_OVERSAMPLE = 4


@dataclass(frozen=True)
class Skeleton:
    """Joints and limbs of one morphology."""

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    """Pairs of joint indices that a limb joins."""
    mirror: tuple[int, ...]
    """For each joint the one on the other side (itself in the middle)."""

    def colour(self, limb: int) -> tuple[int, int, int]:
        """A hue of its own for each limb, evenly around the colour wheel."""
        red, green, blue = colorsys.hsv_to_rgb(limb / len(self.limbs), 1.0, 1.0)
        return round(255 * red), round(255 * green), round(255 * blue)


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
    return Skeleton(f"puppet-{len(joints)}", tuple(joints), tuple(dict.fromkeys(limbs)), tuple(mirror))


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
)  # fmt: skip

PUPPET_13 = puppet_skeleton()
SKELETONS = {s.name: s for s in (PUPPET_13, OPENPOSE_18)}


def skeleton_named(name: str, where: object = "skeleton") -> Skeleton:
    """A skeleton by name; InputError lists the known ones."""
    if name not in SKELETONS:
        raise InputError(where, f"{name!r} is not a skeleton; there are {', '.join(SKELETONS)}")
    return SKELETONS[name]


def render(
    keypoints: np.ndarray, size: int, skeleton: Skeleton = PUPPET_13, source_size: float | None = None
) -> Image.Image:
    """Draws coloured limbs and white joints on black: the conditioning picture.

    keypoints: J x 3 (x, y, visible) in pixels of a `source_size` square (default: `size`); joints with visible 0 and
    their limbs are left out. The result is an anti-aliased RGB picture of `size` x `size`.
    """
    if keypoints.shape != (len(skeleton.joints), 3):
        raise InputError(
            "keypoints", f"shape {keypoints.shape} should be ({len(skeleton.joints)}, 3) for {skeleton.name}"
        )
    scale = _OVERSAMPLE * size / (source_size or size)
    width = max(1, round(_OVERSAMPLE * size / 32))
    canvas = Image.new("RGB", (size * _OVERSAMPLE,) * 2)
    draw = ImageDraw.Draw(canvas)
    points = [(float(x) * scale, float(y) * scale) for x, y, _ in keypoints]
    seen = keypoints[:, 2] > 0
    for number, (a, b) in enumerate(skeleton.limbs):
        if seen[a] and seen[b]:
            draw.line([points[a], points[b]], fill=skeleton.colour(number), width=width)
    radius = width * 0.6
    for (x, y), visible in zip(points, seen, strict=True):
        if visible:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=(255, 255, 255))
    return canvas.resize((size, size), Image.Resampling.BOX)


def region(keypoints: np.ndarray, size: int, skeleton: Skeleton = PUPPET_13, thickness: float = 0.16) -> np.ndarray:
    """The part of a picture that a figure takes up, from its joints: limbs `thickness` wide, the torso filled.

    keypoints: J x 3 in pixels of the picture. Returns size x size bool. Used where no drawn mask exists.
    """
    canvas = Image.new("1", (size, size))
    draw = ImageDraw.Draw(canvas)
    width = max(1, round(thickness * size))
    seen = [(float(x), float(y)) for x, y, visible in keypoints if visible > 0]
    for a, b in skeleton.limbs:
        if keypoints[a, 2] > 0 and keypoints[b, 2] > 0:
            draw.line([tuple(keypoints[a, :2]), tuple(keypoints[b, :2])], fill=1, width=width)
    for x, y in seen:
        draw.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=1)
    roots = [
        i for i, name in enumerate(skeleton.joints) if ("shoulder" in name or "hip" in name) and keypoints[i, 2] > 0
    ]
    if len(roots) >= 3:
        centre = keypoints[roots, :2].mean(axis=0)
        angle = np.arctan2(*(keypoints[roots, :2] - centre).T[::-1])
        draw.polygon([tuple(keypoints[roots[i], :2]) for i in np.argsort(angle)], fill=1)
    return np.array(canvas)


def load_pose(path: str | Path) -> tuple[np.ndarray, Skeleton, int]:
    """A pose from a JSON file `{"skeleton": "puppet-13", "size": 64, "keypoints": [[x, y, visible], ...]}`.

    Returns keypoints (J x 3), the skeleton and the size of the square they are in.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(path, f"is not JSON ({error})") from None
    if not isinstance(values, dict) or not {"skeleton", "size", "keypoints"} <= set(values):
        raise InputError(path, 'should be {"skeleton": NAME, "size": PIXELS, "keypoints": [[x, y, visible], ...]}')
    skeleton = skeleton_named(values["skeleton"], f"{path}: skeleton")
    try:
        keypoints = np.array(values["keypoints"], dtype=float)
    except (TypeError, ValueError):
        raise InputError(path, "keypoints: should be a list of [x, y, visible]") from None
    if keypoints.shape != (len(skeleton.joints), 3) or not np.isfinite(keypoints).all():
        raise InputError(path, f"keypoints: shape {keypoints.shape} should be ({len(skeleton.joints)}, 3), all finite")
    if not isinstance(values["size"], int) or values["size"] < 1:
        raise InputError(path, f"size: {values['size']!r} should be a number of pixels above 0")
    return keypoints, skeleton, values["size"]
