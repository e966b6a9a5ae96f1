"""What a ControlNet sees of a pose, and the part of a picture that a figure takes up."""

import numpy as np
from PIL import Image, ImageDraw

from spaces import InputError
from trainables.skeleton.shape import PUPPET_13, Skeleton

_OVERSAMPLE = 4


def render(
    keypoints: np.ndarray, size: int, skeleton: Skeleton = PUPPET_13, source_size: float | None = None
) -> Image.Image:
    """Draws coloured limbs and their joints on black: the conditioning picture.

    keypoints: J x 3 (x, y, visible) in pixels of a `source_size` square (default: `size`); joints with visible 0 and
    their limbs are left out. The result is an anti-aliased RGB picture of `size` x `size`. Stable Diffusion's
    ControlNet learned limbs of 8 pixels at 512, darkened to 60 %, under joints of 8 pixels in full colour; the puppets'
    learned limbs of 1/32 of the picture in full colour under white joints.
    """
    if keypoints.shape != (len(skeleton.joints), 3):
        raise InputError(
            "keypoints", f"shape {keypoints.shape} should be ({len(skeleton.joints)}, 3) for {skeleton.name}"
        )
    openpose = skeleton.drawing == "openpose"
    scale = _OVERSAMPLE * size / (source_size or size)
    width = max(1, round(_OVERSAMPLE * size / (64 if openpose else 32)))
    radius = width * (0.5 if openpose else 0.6)
    canvas = Image.new("RGB", (size * _OVERSAMPLE,) * 2)
    draw = ImageDraw.Draw(canvas)
    points = [(float(x) * scale, float(y) * scale) for x, y, _ in keypoints]
    seen = keypoints[:, 2] > 0
    for number, (a, b) in enumerate(skeleton.limbs):
        if seen[a] and seen[b]:
            colour = skeleton.colour(number)
            fill = tuple(int(0.6 * c) for c in colour) if openpose else colour
            draw.line([points[a], points[b]], fill=fill, width=width)
    for joint, (x, y) in enumerate(points):
        if seen[joint]:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=skeleton.joint_colour(joint))
    return canvas.resize((size, size), Image.Resampling.BOX)


def region(keypoints: np.ndarray, size: int, skeleton: Skeleton = PUPPET_13, thickness: float = 0.16) -> np.ndarray:
    """The part of a picture that a figure takes up, from its joints: limbs `thickness` wide, the trunk filled.

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
    body = [joint for joint in skeleton.body if keypoints[joint, 2] > 0]
    if len(body) >= 3:
        centre = keypoints[body, :2].mean(axis=0)
        angle = np.arctan2(*(keypoints[body, :2] - centre).T[::-1])
        draw.polygon([tuple(keypoints[body[i], :2]) for i in np.argsort(angle)], fill=1)
    return np.array(canvas)
