"""What the pose judge saw in a panel's pictures, and what the panel asked for: small files beside the pictures.

Pictures are looked at long after they were judged, on machines without the judge. So what it saw is kept with them.
Without torch, for those who only read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spaces import InputError
from trainables.skeleton import Skeleton

COLUMNS = 6
"""Pictures in a row of a grid; below each row is the row of the poses that they should show."""
CELLS = "cells.json"
"""In the panel's folder, what each cell asks for."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The joints that a pose judge found in n pictures."""

    joints: np.ndarray
    """n x J x 3: x and y in pixels of a picture, confidence in 0..1."""
    limbs: tuple[tuple[int, int], ...]
    """Pairs of joints."""
    size: int
    """Pixels of a picture's side."""
    detected: float
    """Confidence from which a joint counts as found."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What a panel's cells ask for."""

    prompts: tuple[str, ...]
    """With the token."""
    grades: tuple[str, ...]
    """`plain` or `hard`."""
    poses: np.ndarray
    """n x J x 3: x, y in pixels of a picture, visible."""
    limbs: tuple[tuple[int, int], ...]
    size: int


def judged_path(grid: Path) -> Path:
    """Where what was seen in a grid's pictures is: `grid.judged.json` of `grid.png`."""
    return grid.with_name(f"{grid.stem}.judged.json")


def write_judged(grid: Path, joints: np.ndarray, skeleton: Skeleton, size: int, detected: float) -> None:
    """Beside a grid: joints n x J x 3; one whose place is no number is none."""
    joints = np.where(np.isfinite(joints).all(axis=-1, keepdims=True), joints, 0.0)
    values = {"skeleton": skeleton.name, "limbs": skeleton.limbs, "size": size, "detected": round(float(detected), 4)}
    _write(judged_path(grid), values | {"joints": np.round(joints.astype(float), 3).tolist()})


def read_judged(grid: Path) -> Judged | None:
    """None where it was not kept. InputError for a file that makes no sense."""
    path = judged_path(grid)
    if (values := _read(path)) is None:
        return None
    try:
        joints = np.array(values["joints"], dtype=float)
        return Judged(_joints(joints), _limbs(values, joints), int(values["size"]), float(values["detected"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"is not what a pose judge saw: {error}") from None


def write_cells(
    folder: Path, prompts: Sequence[str], grades: Sequence[str], poses: np.ndarray, skeleton: Skeleton, size: int
) -> None:
    """Into the panel's folder: poses n x J x 3 in pixels of a picture."""
    cells = [
        {"prompt": prompt, "grade": grade, "keypoints": np.round(pose.astype(float), 3).tolist()}
        for prompt, grade, pose in zip(prompts, grades, poses, strict=True)
    ]
    _write(folder / CELLS, {"skeleton": skeleton.name, "limbs": skeleton.limbs, "size": size, "cells": cells})


def read_cells(folder: Path) -> Asked | None:
    """None where it was not kept. InputError for a file that makes no sense."""
    if (values := _read(folder / CELLS)) is None:
        return None
    try:
        cells = values["cells"]
        poses = np.array([cell["keypoints"] for cell in cells], dtype=float)
        prompts, grades = (tuple(str(cell[name]) for cell in cells) for name in ("prompt", "grade"))
        return Asked(prompts, grades, _joints(poses), _limbs(values, poses), int(values["size"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(folder / CELLS, f"is not what a panel asks for: {error}") from None


def _write(path: Path, values: dict[str, Any]) -> None:
    """Whole or not at all."""
    partial = path.with_name(f"{path.stem}.partial")
    try:
        partial.write_text(json.dumps(values), encoding="utf-8")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _read(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({error})") from None
    if not isinstance(values, dict):
        raise InputError(path, "should be a JSON object")
    return values


def _joints(array: np.ndarray) -> np.ndarray:
    if array.ndim != 3 or array.shape[2] != 3 or not np.isfinite(array).all():
        raise ValueError(f"joints of shape {array.shape} should be n x J x 3, all finite")
    return array


def _limbs(values: dict[str, Any], joints: np.ndarray) -> tuple[tuple[int, int], ...]:
    limbs = tuple((int(a), int(b)) for a, b in values["limbs"])
    if any(not 0 <= joint < joints.shape[1] for limb in limbs for joint in limb):
        raise ValueError("a limb joins a joint that is not there")
    return limbs
