"""Target poses of people: named stances in joint angles, and the 18 keypoints that they give one adult body."""

import math
from dataclasses import dataclass

import numpy as np

from trainables.skeleton import OPENPOSE_18
from trainables.subject.parts import Pose

SIZE = 512
_MARGIN = 0.07
_STATURE = 0.84
"""Height of someone upright, as a share of the picture's."""

Segment = tuple[float, float]
"""Degrees in the picture from straight down, positive towards its right; degrees out of the picture (shortens)."""

# Lengths as shares of stature: adult averages.
_TORSO, _UPPER_ARM, _FOREARM, _THIGH, _SHIN = 0.29, 0.17, 0.145, 0.24, 0.24
_SHOULDER, _HIP = 0.112, 0.075
"""Half the distance between the joints of both sides."""
_NECK = 0.085
"""From the shoulders' line to the head's middle, behind the nose."""
_EYE, _EAR, _FACE = 0.02, 0.045, 0.05
"""Eyes and ears from the middle sideways; the face's front from the head's axis."""


@dataclass(frozen=True)
class Stance:
    """How someone stands. `r` and `l` are the person's own sides; facing us, right is on the picture's left."""

    r_arm: tuple[Segment, Segment] = ((-8, 0), (-3, 0))
    """Upper arm, forearm."""
    l_arm: tuple[Segment, Segment] = ((8, 0), (3, 0))
    r_leg: tuple[Segment, Segment] = ((-4, 0), (-2, 0))
    """Thigh, shin."""
    l_leg: tuple[Segment, Segment] = ((4, 0), (2, 0))
    lean: float = 0
    """Degrees of the torso from upright, positive towards the picture's right."""
    turn: float = 0
    """Degrees of the body about its long axis: 90 faces the picture's right, 180 shows the back."""
    head: float = 0
    """Degrees that the head is tilted against the torso, positive towards the picture's right."""
    look: float = 0
    """Degrees that the head is turned against the body."""
    stoop: float = 0
    """Degrees of the torso out of the picture (shortens it)."""


PLAIN: dict[str, Stance] = {
    "at ease": Stance(),
    "hand on hip": Stance(r_arm=((-42, 0), (48, 0)), lean=2, head=-3),
    "hands on hips": Stance(r_arm=((-44, 0), (46, 0)), l_arm=((44, 0), (-46, 0)), r_leg=((-9, 0), (-6, 0)),
                            l_leg=((9, 0), (6, 0))),
    "waving": Stance(r_arm=((-80, 0), (-170, 0)), head=4),
    "arms a little out": Stance(r_arm=((-35, 0), (-32, 0)), l_arm=((35, 0), (32, 0))),
    "legs apart": Stance(r_leg=((-15, 0), (-13, 0)), l_leg=((15, 0), (13, 0)), r_arm=((-18, 0), (-8, 0)),
                         l_arm=((18, 0), (8, 0))),
    "turned to the right": Stance(turn=40, look=-15, r_arm=((-10, 0), (6, 0)), l_arm=((6, 0), (14, 0))),
    "turned to the left": Stance(turn=-40, look=10, r_arm=((-6, 0), (-14, 0)), l_arm=((10, 0), (-6, 0))),
    "showing the way": Stance(l_arm=((78, 0), (84, 0)), look=20, head=2),
    "hands folded": Stance(r_arm=((-14, 0), (38, 20)), l_arm=((14, 0), (-38, 20))),
    "arms crossed": Stance(r_arm=((-14, 10), (80, 15)), l_arm=((14, 10), (-72, 15)), head=3),
    "one hand raised": Stance(l_arm=((28, 20), (160, 10)), look=6),
    "walking towards us": Stance(r_leg=((-3, 20), (0, 0)), l_leg=((4, 10), (-2, 50)), r_arm=((-9, 10), (-2, 25)),
                                 l_arm=((9, 5), (4, 0))),
    "strolling to the right": Stance(turn=65, look=-5, lean=2, r_leg=((14, 0), (4, 0)), l_leg=((-14, 0), (-26, 0)),
                                     r_arm=((-18, 0), (-4, 0)), l_arm=((16, 0), (30, 0))),
}  # fmt: skip
"""Upright, limbs near the body."""

HARD: dict[str, Stance] = {
    "jumping jack": Stance(r_arm=((-150, 0), (-158, 0)), l_arm=((150, 0), (158, 0)), r_leg=((-34, 0), (-34, 0)),
                           l_leg=((34, 0), (34, 0))),
    "high kick": Stance(lean=-22, head=14, l_leg=((102, 0), (106, 0)), r_leg=((-6, 0), (4, 0)),
                        r_arm=((-70, 0), (-118, 0)), l_arm=((52, 0), (100, 0))),
    "deep lunge": Stance(lean=-6, r_leg=((-66, 0), (4, 0)), l_leg=((56, 0), (58, 0)), r_arm=((-92, 0), (-92, 0)),
                         l_arm=((88, 0), (86, 0)), look=-45),
    "squat": Stance(r_leg=((-52, 52), (8, 0)), l_leg=((52, 52), (-8, 0)), stoop=25, r_arm=((-30, 55), (38, 60)),
                    l_arm=((30, 55), (-38, 60))),
    "tree": Stance(r_leg=((-62, 0), (58, 0)), l_leg=((2, 0), (1, 0)), r_arm=((-158, 0), (168, 0)),
                   l_arm=((158, 0), (-168, 0))),
    "arabesque": Stance(turn=78, lean=48, head=-40, r_leg=((2, 0), (1, 0)), l_leg=((-98, 0), (-102, 0)),
                        r_arm=((84, 0), (92, 0)), l_arm=((-30, 0), (-52, 0))),
    "touching the toes": Stance(turn=84, lean=128, head=24, r_leg=((-6, 0), (2, 0)), l_leg=((-3, 0), (5, 0)),
                                r_arm=((-6, 0), (2, 0)), l_arm=((2, 0), (8, 0))),
    "sprint": Stance(turn=72, lean=20, head=-12, r_leg=((64, 0), (-26, 0)), l_leg=((-30, 0), (-104, 0)),
                     r_arm=((-52, 0), (36, 0)), l_arm=((34, 0), (128, 0))),
    "handstand": Stance(lean=180, r_arm=((6, 0), (3, 0)), l_arm=((-6, 0), (-3, 0)), r_leg=((168, 0), (174, 0)),
                        l_leg=((-166, 0), (-172, 0))),
    "cartwheel": Stance(lean=118, r_arm=((104, 0), (98, 0)), l_arm=((34, 0), (28, 0)), r_leg=((-142, 0), (-148, 0)),
                        l_leg=((-46, 0), (-52, 0)), head=-8),
    "bow with arms wide": Stance(lean=40, head=16, r_arm=((-64, 0), (-60, 0)), l_arm=((134, 0), (140, 0)),
                                 r_leg=((-18, 0), (-16, 0)), l_leg=((14, 0), (4, 0))),
    "kneeling, arms up": Stance(r_arm=((-164, 0), (-172, 0)), l_arm=((140, 0), (-160, 0)), r_leg=((-12, 58), (-4, 0)),
                                l_leg=((14, 0), (40, 62)), head=-6),
    "archer": Stance(r_arm=((-94, 0), (-90, 0)), l_arm=((96, 0), (-84, 0)), look=-50, lean=4,
                     r_leg=((-40, 0), (-8, 0)), l_leg=((26, 0), (24, 0))),
    "plank": Stance(turn=86, lean=80, head=-14, r_arm=((-4, 0), (4, 0)), l_arm=((-1, 0), (7, 0)),
                    r_leg=((-76, 0), (-78, 0)), l_leg=((-73, 0), (-75, 0))),
    "sitting, legs wide": Stance(lean=-8, r_leg=((-70, 25), (-74, 20)), l_leg=((68, 25), (72, 20)),
                                 r_arm=((-30, 0), (-22, 0)), l_arm=((16, 0), (24, 0))),
    "seen from behind, arms up": Stance(turn=180, r_arm=((128, 0), (168, 0)), l_arm=((-132, 0), (-172, 0)),
                                        r_leg=((20, 0), (16, 0)), l_leg=((-20, 0), (-16, 0))),
}  # fmt: skip
"""Limbs far out, crossed or overhead, the body bent, turned or upside down."""


def people_poses() -> tuple[Pose, ...]:
    """The plain ones, then the hard ones, in 512 x 512."""
    plain = tuple(Pose("plain", keypoints_of(stance), SIZE) for stance in PLAIN.values())
    return plain + tuple(Pose("hard", keypoints_of(stance), SIZE) for stance in HARD.values())


def keypoints_of(stance: Stance, size: int = SIZE) -> np.ndarray:
    """18 x 3 in OpenPose's order: on the ground, in the middle, smaller only where it would not fit otherwise."""
    points, seen = _figure(stance)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = min(_STATURE, (1 - 2 * _MARGIN) / (high - low).max())
    middle = scale * (low[0] + high[0]) / 2
    offset = np.array([0.5 - middle, 1 - _MARGIN - scale * high[1]])
    keypoints = np.column_stack([(points * scale + offset) * size, seen]).round(2)
    keypoints[keypoints[:, 2] == 0] = 0
    return keypoints


def _figure(stance: Stance) -> tuple[np.ndarray, np.ndarray]:
    """Positions (18 x 2, y downwards) in units of stature from the hips' middle, and which joints can be seen."""
    up = _along((180 - stance.lean, stance.stoop))
    side = _along((90 - stance.lean, 0)) * math.cos(math.radians(stance.turn))
    neck = up * _TORSO
    place = {"neck": neck}
    for name, sign, arm, leg in (("r", -1, stance.r_arm, stance.r_leg), ("l", 1, stance.l_arm, stance.l_leg)):
        shoulder, hip = neck + sign * _SHOULDER * side, sign * _HIP * side
        elbow, knee = shoulder + _UPPER_ARM * _along(arm[0]), hip + _THIGH * _along(leg[0])
        place |= {f"{name}_shoulder": shoulder, f"{name}_elbow": elbow, f"{name}_hip": hip, f"{name}_knee": knee}
        place |= {f"{name}_wrist": elbow + _FOREARM * _along(arm[1]), f"{name}_ankle": knee + _SHIN * _along(leg[1])}
    place |= _head(neck, stance)
    hidden = _hidden((stance.turn + stance.look + 180) % 360 - 180)
    points = np.array([place[joint] for joint in OPENPOSE_18.joints])
    return points, np.array([joint not in hidden for joint in OPENPOSE_18.joints])


def _head(neck: np.ndarray, stance: Stance) -> dict[str, np.ndarray]:
    tilt = stance.lean + stance.head
    up, across = _along((180 - tilt, 0)), _along((90 - tilt, 0))
    facing = math.radians(stance.turn + stance.look)
    middle = neck + _NECK * up * (1 - 0.3 * (1 - math.cos(math.radians(stance.stoop))))
    front = across * math.sin(facing) * _FACE
    place = {"nose": middle + front}
    for name, sign in (("r", -1), ("l", 1)):
        aside = across * sign * math.cos(facing)
        place[f"{name}_eye"] = middle + 0.85 * front + _EYE * aside + 0.024 * up
        place[f"{name}_ear"] = middle + _EAR * aside + 0.014 * up
    return place


def _hidden(facing: float) -> set[str]:
    """What of the face is behind the head that faces so many degrees to the picture's right."""
    if abs(facing) > 115:
        return {"nose", "r_eye", "l_eye"}
    far = "l" if facing > 0 else "r"
    return {f"{far}_{part}" for part, limit in (("ear", 30), ("eye", 65)) if abs(facing) > limit}


def _along(segment: Segment) -> np.ndarray:
    """The unit segment as it is seen in the picture."""
    angle, out = (math.radians(degrees) for degrees in segment)
    return np.array([math.sin(angle), math.cos(angle)]) * math.cos(out)
