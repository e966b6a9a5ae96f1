"""Where a panel's target poses come from."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from spaces import InputError
from trainables.poses.people import people_poses
from trainables.poses.turned import turned_poses
from trainables.skeleton import OPENPOSE_18, Skeleton, load_pose, skeleton_named
from trainables.subject import Grade, Pose, Subject
from trainables.subject.reading import Reader
from trainables.subject.text_file import raise_first

OWN, SHIPPED = "subject", "shipped"
COUNT = 14
"""Shipped poses of each grade."""
_SEED = 18
GRADES: tuple[Grade, Grade] = ("plain", "hard")


def target_poses(subject: Subject, source: str = OWN) -> tuple[Pose, ...]:
    """The subject's own poses (`subject`), the shipped ones for its skeleton (`shipped`), or those of a folder.

    A folder has poses.jsonl as a subject has, or pose files (JSON) below `plain/` and `hard/`. InputError where there
    are none, or they are of another skeleton.
    """
    if source == OWN:
        return subject.poses
    if source == SHIPPED:
        return shipped_poses(subject)
    if not Path(source).is_dir():
        raise InputError("--poses", f"{source!r} is no folder; it should be {OWN}, {SHIPPED}, or a folder of poses")
    return _of_folder(subject, Path(source))


def with_poses(subject: Subject, source: str) -> Subject:
    """The same subject, to be drawn in the poses of that source."""
    return replace(subject, poses=target_poses(subject, source))


def shipped_poses(subject: Subject) -> tuple[Pose, ...]:
    """Named stances of people; for any other skeleton the subject's own annotated poses with the limbs turned."""
    skeleton = _skeleton(subject)
    if skeleton == OPENPOSE_18:
        return people_poses()
    figures = annotated(subject)
    if not figures:
        where = subject.folder / "metadata.jsonl"
        raise InputError(
            where, "has no picture with keypoints to make target poses from; `posefront annotate` adds them"
        )
    generator = np.random.default_rng(_SEED)
    return tuple(pose for grade in GRADES for pose in turned_poses(generator, skeleton, figures, grade, COUNT))


def annotated(subject: Subject) -> list[tuple[np.ndarray, float]]:
    """Keypoints in squares, those of pictures with the most visible joints."""
    found = []
    for picture in subject.pictures:
        if picture.keypoints is not None and (picture.keypoints[:, 2] > 0).sum() >= 2:
            size = min(picture.pixels.shape[:2])
            found.append((picture.fitted(size).keypoints, float(size)))
    most = max((int((keypoints[:, 2] > 0).sum()) for keypoints, _ in found), default=0)
    return [(keypoints, size) for keypoints, size in found if (keypoints[:, 2] > 0).sum() == most and most >= 2]


def _of_folder(subject: Subject, folder: Path) -> tuple[Pose, ...]:
    skeleton = _skeleton(subject)
    poses: list[Pose] = []
    if (folder / "poses.jsonl").exists():
        reader = Reader(folder, raise_first)
        reader.skeleton, reader.joints = skeleton, (len(skeleton.joints), skeleton.name)
        poses += reader.poses(())
    for grade in GRADES:
        for path in sorted((folder / grade).glob("*.json")):
            keypoints, of, size = load_pose(path)
            if of.joints != skeleton.joints:
                raise InputError(path, f"skeleton: {of.name!r} should be {skeleton.name!r} as the subject's")
            poses.append(Pose(grade, keypoints, size))
    if not poses:
        raise InputError(folder, "has no poses; it should have poses.jsonl, or pose files in plain/ and hard/")
    return tuple(poses)


def _skeleton(subject: Subject) -> Skeleton:
    if subject.skeleton is None:
        raise InputError(subject.folder / "subject.yaml", "skeleton: is missing; target poses need one")
    return skeleton_named(subject.skeleton)


def pose_lines(poses: tuple[Pose, ...]) -> str:
    """The poses as poses.jsonl has them."""
    lines = []
    for pose in poses:
        keypoints = [[round(float(x), 2), round(float(y), 2), int(visible > 0)] for x, y, visible in pose.keypoints]
        lines.append(json.dumps({"grade": pose.grade, "size": pose.size, "keypoints": keypoints}) + "\n")
    return "".join(lines)
