"""From a folder of photographs to a subject folder."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from spaces import InputError
from trainables.poses.people import people_poses
from trainables.poses.source import pose_lines
from trainables.prepare.photos import Cut, Photo, cut, find_photos, read_photo
from trainables.prepare.writing import whole_folder
from trainables.skeleton import OPENPOSE_18, SKELETONS, Skeleton, skeleton_named
from trainables.subject import NAME, Subject
from trainables.subject.check import Finding, check_subject

PEOPLE = {"person", "man", "woman", "boy", "girl", "child", "human", "dancer", "actor", "actress", "athlete"}
"""Classes whose poses OpenPose finds."""
PROMPTS = (
    "a photo of {name}",
    "a photo of {name} on a beach",
    "a photo of {name} in a forest",
    "a photo of {name} on a city street",
    "a photo of {name} in a studio with a white background",
    "a photo of {name} in the snow",
    "a photo of {name} at night",
    "a photo of {name} in a kitchen",
)
"""Scenes that ask for the subject whole, and say nothing of how it looks."""
_SMALLEST, _LARGEST = 64, 2048

Detect = Callable[[np.ndarray], np.ndarray]
"""n x h x w x 3 uint8 to n x 18 x 3 joints; those that are not found have 0."""


@dataclass(frozen=True)
class Prepared:
    """What was made."""

    subject: Subject
    notes: tuple[str, ...]
    """What a person should know of single photographs."""
    findings: tuple[Finding, ...]
    """What is weak about it as a whole."""
    steps: tuple[str, ...]
    """What to do next."""


def prepare(
    photos: Path, out: Path, class_noun: str, token: str = "sks", skeleton: str | None = None, size: int = 512,
    detect: Detect | None = None, force: bool = False,
) -> Prepared:  # fmt: skip
    """Writes the subject folder `out` whole, or not at all.

    skeleton: a shipped name or a file, which is copied; `openpose-18` is taken for people. detect: finds the joints
    of people; nobody's are looked for without it. InputError names the photograph or option and what would be right.
    """
    _check_words(class_noun, token, size)
    if out.resolve() == photos.resolve() or photos.resolve().is_relative_to(out.resolve()):
        raise InputError("--out", f"{out} holds the photographs; choose another folder")
    named = skeleton or (OPENPOSE_18.name if is_person(class_noun) else None)
    shape = skeleton_named(named, "--skeleton") if named else None
    if detect is not None and shape != OPENPOSE_18:
        raise InputError("--openpose", f"finds people's joints ({OPENPOSE_18.name}); the skeleton is {named or 'none'}")
    cuts = _cuts(find_photos(photos), size, shape, detect)
    with whole_folder(out, force) as fresh:
        _write(fresh, cuts, class_noun, token, named)
        if shape == OPENPOSE_18:
            (fresh / "poses.jsonl").write_text(pose_lines(people_poses()), encoding="utf-8")
        Subject.load(fresh)  # what was written can be read, before it takes its place
    subject = Subject.load(out)
    notes = tuple(f"{found.photo.path.name}: {note}" for found in cuts for note in found.notes)
    return Prepared(subject, notes, tuple(check_subject(out)), tuple(_next(subject, out)))


def is_person(class_noun: str) -> bool:
    """Whether the class is one of people: its last word is."""
    return class_noun.lower().split()[-1] in PEOPLE


def _check_words(class_noun: str, token: str, size: int) -> None:
    if not class_noun.strip() or NAME in class_noun:
        raise InputError("--class", f"{class_noun!r} should be a noun, such as robot")
    if not token or token != token.strip() or len(token.split()) != 1 or any(c in token for c in ",.{}"):
        raise InputError("--token", f"{token!r} should be one rare word, such as sks")
    if not _SMALLEST <= size <= _LARGEST or size % 8:
        raise InputError("--size", f"{size} should be {_SMALLEST} to {_LARGEST}, a multiple of 8")


def _cuts(paths: list[Path], size: int, skeleton: Skeleton | None, detect: Detect | None) -> list[Cut]:
    """All photographs; what is wrong with several of them is said at once."""
    cuts, wrong = [], []
    for path in paths:
        try:
            photo = read_photo(path)
            if detect is not None:
                photo = _with_joints(photo, detect)
            found = cut(photo, size, skeleton)
        except InputError as mistake:
            wrong.append(str(mistake))
            continue
        if detect is not None and photo.keypoints is None:
            found = replace(found, notes=(*found.notes, "no person was found; annotate it by hand"))
        cuts.append(found)
    if wrong:
        first, *others = wrong
        raise InputError("photographs", "; ".join([first, *others[:4]]) + ("; ..." if len(others) > 4 else ""))
    return cuts


def _with_joints(photo: Photo, detect: Detect) -> Photo:
    (found,) = detect(photo.pixels[None])
    found = np.where(found[:, 2:] > 0, np.column_stack([found[:, :2], np.ones(len(found))]), 0)
    return replace(photo, keypoints=found if found[:, 2].any() else None)


def _write(folder: Path, cuts: list[Cut], class_noun: str, token: str, skeleton: str | None) -> None:
    (folder / "masks").mkdir()
    lines = []
    for number, found in enumerate(cuts):
        name, photo = f"{number:02d}.png", found.photo
        Image.fromarray(photo.pixels).save(folder / name)
        line: dict[str, object] = {"file_name": name, "text": f"a photo of {token} {class_noun}"}
        if photo.keypoints is not None:
            line["keypoints"] = [[round(float(x), 2), round(float(y), 2), int(v)] for x, y, v in photo.keypoints]
        if photo.mask is not None and photo.mask.any():
            Image.fromarray(photo.mask).save(folder / "masks" / name)
            line["mask"] = f"masks/{name}"
        lines.append(json.dumps(line) + "\n")
    (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    card: dict[str, object] = {"class": class_noun, "token": token, "prompts": list(PROMPTS)}
    if skeleton is not None:
        card["skeleton"] = skeleton
        if skeleton not in SKELETONS:
            card["skeleton"] = "skeleton.yaml"
            (folder / "skeleton.yaml").write_bytes(Path(skeleton).read_bytes())
    (folder / "subject.yaml").write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _next(subject: Subject, out: Path) -> list[str]:
    """In plain words and in order."""
    steps = []
    if subject.skeleton is None:
        names = ", ".join(SKELETONS)
        steps.append(
            f"Say which joints it has: write a skeleton file into {out} and name it in subject.yaml (`skeleton:`), "
            f"or name a shipped one ({names})."
        )
    if any(picture.keypoints is None for picture in subject.pictures):
        steps.append(f"Mark the joints on the pictures: `posefront annotate {out}`.")
    elif subject.skeleton is not None:
        steps.append(f"Look whether the joints are right: `posefront annotate {out}`.")
    if not subject.poses:
        steps.append(f"Then make the poses to draw it in: `posefront subject poses {out}`.")
    steps.append(f"Edit the captions in {out / 'metadata.jsonl'}: say what else is on each picture.")
    return [*steps, f"Check it again: `posefront subject check {out}`."]
