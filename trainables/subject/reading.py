"""Reads a subject folder and checks that its files agree with each other."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spaces import InputError
from spaces.paths import inside
from trainables.skeleton import Skeleton, skeleton_named
from trainables.subject.cards import Card, PictureLine, PoseLine
from trainables.subject.parts import Picture, Pose, outside
from trainables.subject.picture_file import open_picture, to_mask, to_pixels
from trainables.subject.text_file import Tell, json_lines, parsed, read_yaml, telling

CARD, PICTURES, POSES = "subject.yaml", "metadata.jsonl", "poses.jsonl"
_FOLDER = "the subject's folder"


class Reader:
    """Reads card, pictures and poses, in this order; what is wrong goes to `tell`, and is left out if that returns."""

    def __init__(self, folder: Path, tell: Tell) -> None:
        self.folder, self.tell = folder, tell
        self.skeleton: Skeleton | None = None
        self.joints: tuple[int, str] | None = None
        """How many joints all keypoints have, and where that is said."""

    def card(self) -> Card | None:
        path = self.folder / CARD
        card = None
        with telling(self.tell):
            inside(self.folder, CARD, path, _FOLDER)
            card = parsed(Card, read_yaml(path), path, self.tell)
        if card is not None and card.skeleton is not None:
            with telling(self.tell):
                where = f"{path}: skeleton"
                if "/" in card.skeleton or card.skeleton.endswith((".yaml", ".yml")):
                    inside(self.folder, card.skeleton, where, _FOLDER)
                self.skeleton = skeleton_named(card.skeleton, where, self.folder)
                self.joints = (len(self.skeleton.joints), self.skeleton.name)
        return card

    def pictures(self, token: str | None) -> Iterator[Picture]:
        """Every picture that is whole. `token`: the word that each caption must have."""
        path, seen = self.folder / PICTURES, {}
        with telling(self.tell):
            inside(self.folder, PICTURES, path, _FOLDER)
            for where, values in json_lines(path, self.tell):
                with telling(self.tell):
                    line = parsed(PictureLine, values, where, self.tell)
                    if line is None:
                        continue
                    file = inside(self.folder, line.file_name, f"{where}: file_name", _FOLDER)
                    if file in seen:
                        first = seen[file].rpartition(":")[2]
                        problem = f"file_name: {line.file_name!r} is there twice, in line {first} too"
                        raise InputError(where, f"{problem}; each picture has one line")
                    seen[file] = where
                    if token is not None and token not in line.text.replace(",", " ").replace(".", " ").split():
                        self.tell(InputError(where, f"text: {line.text!r:.200} lacks the token {token!r}"))
                    yield self._picture(line, file, where)

    def poses(self, pictures: tuple[Picture, ...]) -> Iterator[Pose]:
        """Every pose that is whole; none where there is no file of poses."""
        path = self.folder / POSES
        if not path.exists():
            return
        shapes = {picture.pixels.shape[:2] for picture in pictures}
        height, width = next(iter(shapes), (None, None))
        default = height if len(shapes) == 1 and height == width else None
        with telling(self.tell):
            inside(self.folder, POSES, path, _FOLDER)
            for where, values in json_lines(path, self.tell):
                line = parsed(PoseLine, values, where, self.tell)
                if line is None:
                    continue
                size = line.size or default
                with telling(self.tell):
                    if size is None and pictures:
                        raise InputError(where, "size: should be given, since the pictures are not squares of one size")
                    keypoints = self._keypoints(line.keypoints, (size, size) if size else None, where)
                    if size is not None:
                        yield Pose(line.grade, keypoints, size)

    def _picture(self, line: PictureLine, file: Path, where: str) -> Picture:
        pixels = to_pixels(_open(file, line.file_name, f"{where}: file_name"))
        height, width = pixels.shape[:2]
        keypoints, mask = None, None
        if line.keypoints is not None:
            with telling(self.tell):
                keypoints = self._keypoints(line.keypoints, (width, height), where)
        if line.mask is not None:
            with telling(self.tell):
                mask = self._mask(line.mask, pixels.shape[:2], f"{where}: mask")
        return Picture(file, pixels, line.text, keypoints, mask)

    def _mask(self, name: str, shape: tuple[int, int], where: str) -> NDArray[np.bool_]:
        mask = to_mask(_open(inside(self.folder, name, where, _FOLDER), name, where))
        if mask.shape != shape:
            have, want = (f"{width} x {height}" for height, width in (mask.shape, shape))
            raise InputError(where, f"{name!r} is {have} pixels, its picture is {want}")
        if not mask.any():
            raise InputError(where, f"{name!r} is black all over; the subject should be white")
        return mask

    def _keypoints(self, values: list[list[float]], size: tuple[int, int] | None, where: str) -> NDArray[np.float64]:
        """As many joints as everywhere else, and where a joint is visible, on the picture of that width and height."""
        keypoints = np.array(values, dtype=float).reshape(-1, 3)
        self.joints = self.joints or (len(keypoints), where)
        count, source = self.joints
        if len(keypoints) != count:
            raise InputError(where, f"keypoints: {len(keypoints)} joints, should be {count} as in {source}")
        for number, (x, y, visible) in enumerate(keypoints):
            if not 0 <= visible <= 2:
                problem = f"visible {visible:g} should be 1, or 0 where it cannot be seen"
                self.tell(InputError(where, f"keypoints: {self._joint(number)}: {problem}"))
            elif visible > 0 and size is not None and outside(keypoints[number : number + 1], *size).any():
                problem = f"at {x:g}, {y:g} is outside the {size[0]} x {size[1]} pixels; where it cannot be seen"
                self.tell(InputError(where, f"keypoints: {self._joint(number)} {problem}, visible should be 0"))
        return keypoints

    def _joint(self, number: int) -> str:
        return f"joint {number + 1}" + (f" ({self.skeleton.joints[number]})" if self.skeleton else "")


def _open(path: Path, name: str, where: str) -> Image.Image:
    try:
        if path.is_dir():
            raise InputError(where, f"{name!r} is a folder, not a picture")
        if not path.is_file():
            raise InputError(where, f"{name!r:.80} is not in the subject's folder")
    except OSError as error:
        raise InputError(where, f"{name!r:.80} cannot be read ({error.strerror})") from None
    return open_picture(path)
