"""A pose in a file of its own."""

from pathlib import Path
from typing import Any

import numpy as np

from spaces import InputError
from spaces.text import parse_json, read_text
from trainables.skeleton.file import skeleton_named
from trainables.skeleton.shape import Skeleton


def load_pose(path: str | Path) -> tuple[np.ndarray, Skeleton, int]:
    """A pose from a JSON file `{"skeleton": "puppet-13", "size": 64, "keypoints": [[x, y, visible], ...]}`.

    The skeleton is a shipped name or a skeleton file beside the pose. Returns keypoints (J x 3), the skeleton and the
    size of the square they are in.
    """
    path = Path(path)
    try:
        values = parse_json(read_text(path), path)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(path, f"is not UTF-8 (byte {error.start})") from None
    return parse_pose(values, path, path.parent)


def parse_pose(values: Any, path: object, folder: Path) -> tuple[np.ndarray, Skeleton, int]:
    """The same from such a file's values; errors name it as `path`, a skeleton of its own is a file in `folder`."""
    if not isinstance(values, dict) or not {"skeleton", "size", "keypoints"} <= set(values):
        raise InputError(path, 'should be {"skeleton": NAME, "size": PIXELS, "keypoints": [[x, y, visible], ...]}')
    skeleton = skeleton_named(values["skeleton"], f"{path}: skeleton", folder)
    try:
        keypoints = np.array(values["keypoints"], dtype=float)
    except (TypeError, ValueError, OverflowError):
        raise InputError(path, "keypoints: should be a list of [x, y, visible]") from None
    if keypoints.shape != (len(skeleton.joints), 3) or not np.isfinite(keypoints).all():
        raise InputError(path, f"keypoints: shape {keypoints.shape} should be ({len(skeleton.joints)}, 3), all finite")
    if type(values["size"]) is not int or not 1 <= values["size"] <= 100_000:
        raise InputError(path, f"size: {values['size']!r:.80} should be a number of pixels, 1 to 100,000")
    return keypoints, skeleton, values["size"]
