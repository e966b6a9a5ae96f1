"""The subject at random sizes, said in the caption (Kumari et al. 2023, "Custom Diffusion", appendix)."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from trainables.subject import Picture

SMALL, LARGE = ("a far away ", "very small "), ("zoomed in ", "close up ")
WORDS = ("", *SMALL, *LARGE)
"""What a caption may begin with."""


@dataclass(frozen=True, eq=False)
class Resized:
    """A picture after augmentation."""

    picture: Picture
    """Of the same size; around a smaller subject it is grey. Keypoints and mask went along."""
    valid: np.ndarray
    """h x w bool: where the picture is, without the rim of a latent's width in which grey bleeds into it."""
    words: str
    """What its caption begins with: one of WORDS."""


def resize_randomly(picture: Picture, latent: int, generator: torch.Generator) -> Resized:
    """A square picture at 1/3 to 1 of its size (two of three times) or enlarged 1.2 to 1.4 times, at a random place.

    `latent` is the side of a latent's pixels. Below 0.6 the caption says that the subject is small, above 1 that it is
    close.
    """

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    size = len(picture.pixels)
    shrinks = float(torch.rand((), generator=generator)) < 0.66
    side = whole(size // 3, size) if shrinks else whole(round(1.2 * size), round(1.4 * size))
    left, top = (whole(min(0, size - side), max(0, size - side)) for _ in range(2))
    words = SMALL if side < 0.6 * size else LARGE if side > size else ("", "")
    return Resized(*_placed(picture, side, left, top, latent), words[whole(0, 1)])


def _placed(picture: Picture, side: int, left: int, top: int, latent: int) -> tuple[Picture, np.ndarray]:
    """The picture as `side` x `side` with its corner at (left, top) of a canvas of its old size, and where it is."""
    size = len(picture.pixels)
    pixels = _paste(picture.pixels, 127, side, left, top)
    keypoints, mask = picture.keypoints, picture.mask
    if keypoints is not None:
        keypoints = keypoints * (side / size, side / size, 1) + (left, top, 0)
    if mask is not None:
        mask = _paste(mask.astype(np.uint8) * 255, 0, side, left, top) > 127
    valid = np.zeros((size, size), dtype=bool)
    rim = latent if side < size else 0
    valid[max(top + rim, 0) : top + side - rim, max(left + rim, 0) : left + side - rim] = True
    return replace(picture, pixels=pixels, keypoints=keypoints, mask=mask), valid


def _paste(pixels: np.ndarray, fill: int, side: int, left: int, top: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    canvas = Image.new(image.mode, image.size, (fill,) * 3 if image.mode == "RGB" else fill)
    canvas.paste(image.resize((side, side), Image.Resampling.BILINEAR), (left, top))
    return np.array(canvas)
