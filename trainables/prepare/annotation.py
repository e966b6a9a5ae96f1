"""The joints and masks of a subject's pictures, as they are marked by hand and kept."""

import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spaces import InputError
from spaces.paths import inside
from trainables.prepare.writing import write_whole
from trainables.skeleton import region, skeleton_named
from trainables.subject import SHIPPED, Subject
from trainables.subject.parts import outside
from trainables.subject.text_file import read_text

Values = dict[str, Any]


class Annotation:
    """A subject folder under the pen. Every change is on disk before the call returns, whole or not at all.

    metadata.jsonl is read again for each change, so captions that are edited meanwhile in another program stay.
    """

    def __init__(self, folder: str | Path) -> None:
        self.subject = Subject.load(folder)
        self.folder = self.subject.folder
        if self.folder.resolve().is_relative_to(SHIPPED.resolve()):
            raise InputError(folder, "is a shipped subject; copy its folder and annotate the copy")
        if self.subject.skeleton is None:
            raise InputError(
                self.folder / "subject.yaml", "skeleton: is missing; it says which joints there are to mark"
            )
        self.skeleton = skeleton_named(self.subject.skeleton)
        self.pictures = self.subject.pictures
        self.keypoints = [picture.keypoints for picture in self.pictures]
        self.masks = [picture.mask for picture in self.pictures]
        self._lock = threading.Lock()

    def state(self) -> Values:
        """All that the page shows, but the pictures themselves."""
        skeleton = self.skeleton
        return {
            "subject": f"{self.subject.token} {self.subject.class_noun}",
            "folder": str(self.folder),
            "joints": skeleton.joints,
            "limbs": skeleton.limbs,
            "mirror": skeleton.mirror,
            "colours": [skeleton.colour(limb) for limb in range(len(skeleton.limbs))],
            "pictures": [self._picture(number) for number in range(len(self.pictures))],
        }

    def picture(self, number: int) -> bytes:
        """PNG, turned upright."""
        return _png(Image.fromarray(self.pictures[number].pixels))

    def mask(self, number: int) -> bytes | None:
        """PNG, white on the subject."""
        mask = self.masks[number]
        return None if mask is None else _png(Image.fromarray(mask))

    def mark(self, number: int, values: object) -> None:
        """Keeps the joints of a picture, each [x, y, visible]; null takes them away. InputError where one is wrong."""
        where = f"{self.pictures[number].path.name}: keypoints"
        keypoints = None if values is None else self._checked(number, values, where)
        lines = None
        if keypoints is not None:
            lines = [[round(float(x), 2), round(float(y), 2), int(visible)] for x, y, visible in keypoints]
        with self._lock:
            self._change(number, "keypoints", lines)
            self.keypoints[number] = keypoints

    def paint(self, number: int, png: bytes | None) -> None:
        """Keeps a mask, white on the subject and of the picture's size; None takes it away."""
        picture = self.pictures[number]
        where = f"{picture.path.name}: mask"
        mask = None if png is None else _read_mask(png, picture.pixels.shape[:2], where)
        with self._lock:
            self._keep(number, mask)

    def paint_joints(self, number: int) -> None:
        """The mask becomes what limbs and trunk cover."""
        picture, keypoints = self.pictures[number], self.keypoints[number]
        if keypoints is None or (keypoints[:, 2] > 0).sum() < 2:
            raise InputError(picture.path.name, "has no joints yet; mark at least two of them")
        height, width = picture.pixels.shape[:2]
        side = max(height, width)
        with self._lock:
            self._keep(number, region(keypoints, side, self.skeleton)[:height, :width])

    def _picture(self, number: int) -> Values:
        picture, keypoints = self.pictures[number], self.keypoints[number]
        height, width = picture.pixels.shape[:2]
        return {
            "file": picture.path.relative_to(self.folder).as_posix(),
            "caption": picture.caption,
            "width": width,
            "height": height,
            "keypoints": None if keypoints is None else keypoints.tolist(),
            "mask": self.masks[number] is not None,
        }

    def _checked(self, number: int, values: object, where: str) -> np.ndarray:
        try:
            keypoints = np.array(values, dtype=float)
        except (TypeError, ValueError):
            raise InputError(where, "should be a list of [x, y, visible]") from None
        if keypoints.shape != (len(self.skeleton.joints), 3) or not np.isfinite(keypoints).all():
            wanted = f"({len(self.skeleton.joints)}, 3)"
            raise InputError(where, f"shape {keypoints.shape} should be {wanted}, all finite")
        if not np.isin(keypoints[:, 2], (0, 1)).all():
            raise InputError(where, "visible should be 1, or 0 where a joint cannot be seen")
        height, width = self.pictures[number].pixels.shape[:2]
        off = outside(keypoints, width, height) & (keypoints[:, 2] > 0)
        if off.any():
            raise InputError(
                where, f"{self.skeleton.joints[int(off.argmax())]} is outside the {width} x {height} pixels"
            )
        return keypoints

    def _keep(self, number: int, mask: np.ndarray | None) -> None:
        name = None
        if mask is not None:
            name = f"masks/{self.pictures[number].path.stem}.png"
            inside(self.folder, "masks", name, "the subject's folder")
            (self.folder / "masks").mkdir(exist_ok=True)
            write_whole(self.folder / name, _png(Image.fromarray(mask)))
        self._change(number, "mask", name)
        self.masks[number] = mask

    def _change(self, number: int, field: str, value: object) -> None:
        """Sets one field of one picture's line, or takes it out; all else in the file stays."""
        path = self.folder / "metadata.jsonl"
        file = self.pictures[number].path.resolve()
        lines, found = [], False
        for line in read_text(path).split("\n"):
            try:
                values = json.loads(line) if line.strip() else None
            except ValueError as error:
                raise InputError(path, f"is no longer JSON ({error}); nothing was saved") from None
            if isinstance(values, dict) and (self.folder / str(values.get("file_name"))).resolve() == file:
                values = {name: kept for name, kept in values.items() if name != field}
                line, found = json.dumps(values if value is None else values | {field: value}), True
            lines.append(line)
        if not found:
            raise InputError(path, f"no longer has a line for {self.pictures[number].path.name}; nothing was saved")
        write_whole(path, "\n".join(lines).encode())


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG", compress_level=1)
    return file.getvalue()


def _read_mask(png: bytes, shape: tuple[int, int], where: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
            if picture.size != shape[::-1]:
                have = f"{picture.width} x {picture.height}"
                raise InputError(where, f"is {have} pixels, its picture is {shape[1]} x {shape[0]}")
            mask = np.array(picture.convert("RGB").convert("L")) > 127
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(where, "should be a PNG") from None
    if not mask.any():
        raise InputError(where, "is black all over; the subject should be white")
    return mask
