"""Reads a folder of photographs as people have them."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spaces import InputError
from trainables.skeleton import Skeleton, region
from trainables.subject.parts import outside
from trainables.subject.picture_file import alpha_mask, open_picture, to_mask, to_pixels

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
_OTHER_PICTURES = (".heic", ".heif", ".avif", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".svg", ".jxl")
MOST_PIXELS = 178_000_000
"""Of a photograph, which is made smaller at once."""
MASKS = "masks"
_LARGEST_GAIN = 2.0
"""A photograph is enlarged at most so far: beyond, a model would learn its blur."""
_AROUND = 1.25
"""Side of the square that is cut out, in sides of the box around the subject."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph, turned upright."""

    path: Path
    pixels: NDArray[np.uint8]
    """h x w x 3, sRGB."""
    mask: NDArray[np.bool_] | None
    """h x w, True on the subject."""
    keypoints: NDArray[np.float64] | None = None
    """J x 3 in pixels."""


@dataclass(frozen=True, eq=False)
class Cut:
    """What becomes of a photograph: a square around the subject."""

    photo: Photo
    notes: tuple[str, ...]
    """What a person should know about it."""


def find_photos(folder: Path) -> list[Path]:
    """The photographs of a folder in the order that people count in: 2.jpg before 10.jpg."""
    if not folder.is_dir():
        raise InputError(folder, "is no folder; it should be a folder of photographs")
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    for path in sorted(files):
        if path.suffix.lower() in _OTHER_PICTURES:
            raise InputError(path, f"cannot be read; save it as one of {', '.join(SUFFIXES)}")
    photos = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not photos:
        raise InputError(folder, f"has no photographs ({', '.join(SUFFIXES)})")
    return sorted(
        photos, key=lambda path: [int(p) if p.isdigit() else p.lower() for p in re.split(r"(\d+)", path.name)]
    )


def read_photo(path: Path) -> Photo:
    """With a mask from `masks/` beside it (the same name, of any kind), or else from its transparency."""
    picture = open_picture(path, MOST_PIXELS)
    pixels = to_pixels(picture)
    masks = sorted((path.parent / MASKS).glob(f"{_escaped(path.stem)}.*"))
    if len(masks) > 1:
        raise InputError(masks[1], f"is a second mask of {path.name}, beside {masks[0].name}")
    if not masks:
        return Photo(path, pixels, alpha_mask(picture))
    mask = to_mask(open_picture(masks[0], MOST_PIXELS))
    if mask.shape != pixels.shape[:2]:
        have, want = (f"{width} x {height}" for height, width in (mask.shape, pixels.shape[:2]))
        raise InputError(masks[0], f"is {have} pixels, its photograph is {want}")
    if not mask.any():
        raise InputError(masks[0], "is black all over; the subject should be white")
    return Photo(path, pixels, mask)


def cut(photo: Photo, size: int, skeleton: Skeleton | None) -> Cut:
    """The square around the subject, or the middle where it is not known, as `size` x `size` pixels.

    Where there are joints but no mask, the mask is what limbs and trunk cover. InputError where it would have to be
    enlarged more than twice.
    """
    height, width = photo.pixels.shape[:2]
    box = subject_box(photo)
    left, top, side = square(width, height, box, size)
    if side * _LARGEST_GAIN < size:
        least = int(np.ceil(size / _LARGEST_GAIN))
        problem = f"is {width} x {height} pixels; for pictures of {size} each side should have at least {least}"
        raise InputError(photo.path, f"{problem}, or choose a smaller --size")
    notes = []
    if side < size:
        notes.append(f"enlarged {size / side:.1f} times, so it is less sharp than the others")
    if box is not None and (box[2] - box[0] > side or box[3] - box[1] > side):
        notes.append("the square cuts off part of the subject, which is longer than the photograph's short side")
    window = (left, top, left + side, top + side)
    whole = Image.fromarray(photo.pixels)
    pixels = np.array(whole.resize((size, size), Image.Resampling.LANCZOS, box=window, reducing_gap=3.0))
    mask, keypoints = photo.mask, photo.keypoints
    if mask is not None:
        grey = Image.fromarray(mask).convert("L").resize((size, size), Image.Resampling.BOX, box=window)
        mask = np.array(grey) > 127
    if keypoints is not None:
        keypoints = (keypoints - (left, top, 0)) * (size / side, size / side, 1)
        keypoints[outside(keypoints, size, size), 2] = 0
        keypoints = np.where(keypoints[:, 2:] > 0, keypoints, 0)
        if mask is None and skeleton is not None and (keypoints[:, 2] > 0).sum() > 1:
            mask = region(keypoints, size, skeleton)
    return Cut(replace(photo, pixels=pixels, mask=mask, keypoints=keypoints), tuple(notes))


def subject_box(photo: Photo) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of what is known of the subject: mask and visible joints."""
    points = []
    if photo.mask is not None:
        rows, columns = np.nonzero(photo.mask)
        points += [(columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)]
    if photo.keypoints is not None:
        points += [tuple(joint[:2]) for joint in photo.keypoints if joint[2] > 0]
    if len(points) < 2:
        return None
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def square(
    width: int, height: int, box: tuple[float, float, float, float] | None, size: int
) -> tuple[float, float, float]:
    """Left, top and side: around the box with some room, rather more of its surroundings than enlarged."""
    most = min(width, height)
    if box is None:
        return (width - most) / 2, (height - most) / 2, most
    side = min(most, max(_AROUND * max(box[2] - box[0], box[3] - box[1]), size))
    left, top = (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2
    return min(max(left, 0), width - side), min(max(top, 0), height - side), side


def _escaped(name: str) -> str:
    """For `glob`, in which brackets have a meaning."""
    return re.sub(r"([\[\]*?])", r"[\1]", name)
