"""What a subject consists of: pictures of it, and poses to draw it in."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grade = Literal["plain", "hard"]
UNMARKED = "has neither keypoints nor a mask: identity is judged on the subject alone"
"""What is wrong with a picture that does not say where the subject is."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of the subject."""

    path: Path
    pixels: NDArray[np.uint8]
    """h x w x 3."""
    caption: str
    """What is on it, with the token."""
    keypoints: NDArray[np.float64] | None
    """J x 3: x, y in pixels, and 0 where a joint is not visible."""
    mask: NDArray[np.bool_] | None
    """h x w, True on the subject."""

    def fitted(self, size: int) -> "Picture":
        """The picture as `size` x `size`, cut around its centre; keypoints and mask go along.

        Joints that are cut away are no longer visible.
        """
        height, width = self.pixels.shape[:2]
        if height == width == size:
            return self
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        picture = Image.fromarray(self.pixels).resize((size, size), Image.Resampling.LANCZOS, box=box)
        keypoints, mask = self.keypoints, self.mask
        if keypoints is not None:
            keypoints = (keypoints - (left, top, 0)) * (size / side, size / side, 1)
            keypoints[outside(keypoints, size, size), 2] = 0
        if mask is not None:
            grey = Image.fromarray(mask).convert("L").resize((size, size), Image.Resampling.BOX, box=box)
            mask = np.array(grey) > 127
        return replace(self, pixels=np.array(picture), keypoints=keypoints, mask=mask)


@dataclass(frozen=True, eq=False)
class Pose:
    """A pose that the subject is to be drawn in."""

    grade: Grade
    keypoints: NDArray[np.float64]
    """J x 3: x, y in pixels of a `size` x `size` square, and 0 where a joint is not visible."""
    size: int


def outside(keypoints: NDArray[np.float64], width: float, height: float) -> NDArray[np.bool_]:
    """Which joints (J) lie off the picture."""
    x, y = keypoints[:, 0], keypoints[:, 1]
    return (x < 0) | (x > width) | (y < 0) | (y > height)
