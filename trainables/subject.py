"""A subject: the few pictures of one thing, what they are called, and the poses it is to be drawn in."""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spaces import InputError
from trainables.skeleton import skeleton_named

NAME = "{name}"
"""Stands in a prompt for what the subject is called."""
SHIPPED = Path(__file__).parent / "puppets" / "subjects"
_BROKEN_PICTURE = (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError)

Grade = Literal["plain", "hard"]
Keypoints = list[Annotated[list[float], Field(min_length=3, max_length=3)]]
Model = TypeVar("Model", bound=BaseModel)


class _Card(BaseModel):
    """subject.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True)
    class_noun: str = Field(alias="class", pattern=r"\S")
    token: str = Field(pattern=r"^\S+$")
    prompts: list[Annotated[str, Field(pattern=r"\{name\}")]] = Field(min_length=1)
    skeleton: str | None = None


class _PictureLine(BaseModel):
    """A line of metadata.jsonl; columns for other readers of the imagefolder convention are passed over."""

    model_config = ConfigDict(allow_inf_nan=False)
    file_name: str = Field(min_length=1)
    text: str
    keypoints: Keypoints | None = None
    mask: str | None = None


class _PoseLine(BaseModel):
    """A line of poses.jsonl."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    grade: Grade
    keypoints: Keypoints
    size: int | None = Field(None, ge=1)


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
        """The picture as `size` x `size`, cut around its centre; keypoints and mask go along."""
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


@dataclass(frozen=True, eq=False)
class Subject:
    """A subject folder, read and checked."""

    folder: Path
    token: str
    """The rare word that comes to mean the subject, such as `sks`."""
    class_noun: str
    """What it is one of, such as `robot`."""
    prompts: tuple[str, ...]
    """Each with `{name}` where the subject is named."""
    pictures: tuple[Picture, ...]
    poses: tuple[Pose, ...]
    skeleton: str | None
    """The name of the skeleton that all keypoints are of."""

    @classmethod
    def load(cls, folder: str | Path) -> "Subject":
        """Reads subject.yaml, metadata.jsonl, the pictures and, if there, poses.jsonl.

        `puppets/NAME` is the shipped subject of that name where no such folder exists. Any mistake in the files is
        an InputError that names the file, the line and what would be right.
        """
        folder = _find(folder)
        card = _read_card(folder)
        pictures = tuple(_read_pictures(folder, card.token))
        if not pictures:
            raise InputError(folder / "metadata.jsonl", "has no pictures; each is a line with file_name and text")
        poses = tuple(_read_poses(folder, pictures))
        _check_joints(folder, card.skeleton, pictures, poses)
        return cls(folder, card.token, card.class_noun, tuple(card.prompts), pictures, poses, card.skeleton)

    def named(self, prompt: str, token: bool) -> str:
        """The prompt with `{name}` as token and class noun, or as the class noun alone."""
        return prompt.replace(NAME, f"{self.token} {self.class_noun}" if token else self.class_noun)


def _find(folder: str | Path) -> Path:
    path = Path(folder)
    if not path.exists() and path.parts[:1] == ("puppets",) and len(path.parts) == 2:
        path = SHIPPED / path.parts[1]
    if not path.is_dir():
        raise InputError(folder, "is no folder; a subject is a folder with subject.yaml, metadata.jsonl and pictures")
    return path


def _read_card(folder: Path) -> _Card:
    path = folder / "subject.yaml"
    try:
        values = yaml.safe_load(_read_text(path))
    except yaml.YAMLError as error:
        raise InputError(path, f"is not YAML ({error})") from None
    card = _parsed(_Card, values, path)
    if card.skeleton is not None:
        skeleton_named(card.skeleton, f"{path}: skeleton")
    return card


def _read_pictures(folder: Path, token: str) -> Iterator[Picture]:
    path, seen = folder / "metadata.jsonl", set()
    for where, values in _json_lines(path):
        line = _parsed(_PictureLine, values, where)
        if line.file_name in seen:
            raise InputError(where, f"file_name: {line.file_name!r} is there twice; each picture has one line")
        seen.add(line.file_name)
        if token not in line.text.replace(",", " ").replace(".", " ").split():
            raise InputError(where, f"text: {line.text!r} lacks the token {token!r}")
        pixels = np.array(_open_picture(folder, line.file_name, f"{where}: file_name").convert("RGB"))
        yield Picture(
            folder / line.file_name,
            pixels,
            line.text,
            None if line.keypoints is None else np.array(line.keypoints, dtype=float).reshape(-1, 3),
            None if line.mask is None else _read_mask(folder, line.mask, pixels.shape[:2], f"{where}: mask"),
        )


def _read_mask(folder: Path, name: str, shape: tuple[int, int], where: str) -> NDArray[np.bool_]:
    mask = np.array(_open_picture(folder, name, where).convert("L")) > 127
    if mask.shape != shape:
        have, want = (f"{width} x {height}" for height, width in (mask.shape, shape))
        raise InputError(where, f"{name!r} is {have} pixels, its picture is {want}")
    return mask


def _open_picture(folder: Path, name: str, where: str) -> Image.Image:
    """The decoded picture, turned as its EXIF says."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(where, f"{name!r} leaves the subject's folder")
    if not path.is_file():
        raise InputError(where, f"{name!r} is not in {folder}")
    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture)
    except _BROKEN_PICTURE as error:
        raise InputError(path, f"is not a whole picture ({error})") from None


def _read_poses(folder: Path, pictures: tuple[Picture, ...]) -> Iterator[Pose]:
    path = folder / "poses.jsonl"
    if not path.exists():
        return
    shapes = {picture.pixels.shape[:2] for picture in pictures}
    height, width = next(iter(shapes))
    default = height if len(shapes) == 1 and height == width else None
    for where, values in _json_lines(path):
        line = _parsed(_PoseLine, values, where)
        size = line.size or default
        if size is None:
            raise InputError(where, "size: should be given, since the pictures are not squares of one size")
        yield Pose(line.grade, np.array(line.keypoints, dtype=float).reshape(-1, 3), size)


def _check_joints(folder: Path, skeleton: str | None, pictures: tuple[Picture, ...], poses: tuple[Pose, ...]) -> None:
    """All keypoints are of the one skeleton."""
    counts = {picture.path: len(picture.keypoints) for picture in pictures if picture.keypoints is not None}
    counts |= {f"{folder / 'poses.jsonl'}: pose {number}": len(pose.keypoints) for number, pose in enumerate(poses, 1)}
    if not counts:
        return
    first, joints = next(iter(counts.items()))
    if skeleton:
        first, joints = skeleton, len(skeleton_named(skeleton).joints)
    for where, count in counts.items():
        if count != joints:
            raise InputError(where, f"keypoints: {count} joints, should be {joints} as in {first}")


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """The values of a file's lines, each with its place; blank lines are passed over."""
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                yield f"{path}:{number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}:{number}", f"is not JSON ({error})") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(path, "is missing; a subject has subject.yaml, metadata.jsonl and pictures") from None
    except UnicodeDecodeError as error:
        raise InputError(path, f"is not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from None


def _parsed(model: type[Model], values: Any, where: object) -> Model:
    """The values as a model; the first mistake is an InputError with field, value and what would be right."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        raise InputError(where, f"{field}: is missing")
    if first["type"] == "extra_forbidden":
        names = ", ".join(known.alias or name for name, known in model.model_fields.items())
        raise InputError(where, f"{field}: no such field; fields are {names}")
    reason = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    value = f"{field}: {first['input']!r:.80}" if field else f"{first['input']!r:.80}"
    raise InputError(where, f"{value} is not right, it should be {reason}")
