"""Everything that is wrong with a subject folder, and what is merely weak about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from spaces import InputError
from trainables.skeleton import Skeleton
from trainables.subject.cards import Card
from trainables.subject.parts import UNMARKED, Picture, Pose
from trainables.subject.reading import PICTURES, POSES, Reader
from trainables.subject.subject import find_folder

FEW = 3
"""Pictures below which a subject's looks are guessed."""
SMALL = 256
"""Pixels of a side below which Stable Diffusion learns blur; the puppets' pictures are smaller."""
_ALIKE = 0.985
"""Correlation of two thumbnails from which they are the same photograph."""
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}


@dataclass(frozen=True)
class Finding:
    """One line of a check."""

    kind: Literal["error", "weak"]
    """An error keeps the folder from being used."""
    text: str


def check_subject(folder: str | Path) -> list[Finding]:
    """All findings, errors first. InputError only where there is no folder."""
    folder = find_folder(folder)
    mistakes: list[InputError] = []
    reader = Reader(folder, mistakes.append)
    card = reader.card()
    pictures = tuple(reader.pictures(card.token if card else None))
    if not pictures and not any(PICTURES in str(mistake) for mistake in mistakes):
        mistakes.append(InputError(folder / PICTURES, "has no pictures; each is a line with file_name and text"))
    poses = tuple(reader.poses(pictures))
    findings = [Finding("error", str(mistake)) for mistake in mistakes]
    weak = [*_of_card(folder, card), *_of_pictures(folder, card, pictures, reader.skeleton), *_of_poses(folder, poses)]
    return findings + [Finding("weak", str(InputError(where, problem))) for where, problem in weak]


def _of_card(folder: Path, card: Card | None) -> Iterator[tuple[object, str]]:
    if card is None:
        return
    path = folder / "subject.yaml"
    if card.skeleton is None:
        yield path, "skeleton: is missing; without one nothing can be posed and no pose scored"
    if card.token.lower() in card.class_noun.lower().split():
        yield path, f"token: {card.token!r} is the class's own word; a rare word such as sks has no meaning to unlearn"
    if len(set(card.prompts)) < 3:
        yield (
            path,
            f"prompts: {len(set(card.prompts))} different; with three or more the panel sees more than one scene",
        )


def _of_pictures(
    folder: Path, card: Card | None, pictures: tuple[Picture, ...], skeleton: Skeleton | None
) -> Iterator[tuple[object, str]]:
    path = folder / PICTURES
    if 0 < len(pictures) < FEW:
        yield path, f"has {len(pictures)} pictures; 3 to 6 in different scenes show what belongs to the subject"
    if len(pictures) > 1 and len({picture.caption for picture in pictures}) == 1:
        yield path, "text: all captions are equal; say of each what else is on it, so that this is not learned"
    for picture in pictures:
        height, width = picture.pixels.shape[:2]
        if min(height, width) < SMALL and not (skeleton and skeleton.drawing == "puppets"):
            yield picture.path, f"is {width} x {height} pixels; below {SMALL} there is little to learn from"
        if card is not None and card.class_noun.lower() not in picture.caption.lower():
            yield path, f"text: {picture.caption!r:.80} does not name the class {card.class_noun!r}"
        yield from _of_marks(picture)
    for one, other in _alike(pictures):
        yield path, f"{one.path.name} and {other.path.name} are nearly the same picture; one of them adds nothing"
    known = {picture.path.name for picture in pictures}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in _SUFFIXES and file.name not in known and not _is_mask(file, path):
            yield file, "is not used: metadata.jsonl has no line for it"


def _of_marks(picture: Picture) -> Iterator[tuple[object, str]]:
    if picture.keypoints is None and picture.mask is None:
        yield picture.path, UNMARKED
    elif picture.keypoints is None:
        yield picture.path, "has no keypoints: `posefront annotate` adds them"
    else:
        seen = picture.keypoints[picture.keypoints[:, 2] > 0, :2]
        if len(seen) < len(picture.keypoints) / 2:
            yield picture.path, f"shows {len(seen)} of {len(picture.keypoints)} joints"
        if len(np.unique(seen, axis=0)) < len(seen):
            yield picture.path, "keypoints: two joints lie on the same spot"
    if picture.mask is not None and not 0.02 < picture.mask.mean() < 0.95:
        yield picture.path, f"mask: covers {picture.mask.mean():.0%} of the picture"


def _of_poses(folder: Path, poses: tuple[Pose, ...]) -> Iterator[tuple[object, str]]:
    path = folder / POSES
    if not poses:
        yield path, "has no target poses; `posefront subject poses` writes some, or a sweep takes them by --poses"
        return
    for grade in ("plain", "hard"):
        count = sum(pose.grade == grade for pose in poses)
        if count < 6:
            yield path, f"has {count} {grade} poses; the panel asks for 6"


def _alike(pictures: tuple[Picture, ...]) -> Iterator[tuple[Picture, Picture]]:
    """Pairs that differ by no more than their size, compression or brightness."""
    small = [np.asarray(Image.fromarray(p.pixels).convert("L").resize((32, 32)), dtype=float).ravel() for p in pictures]
    for (one, a), (other, b) in combinations(zip(pictures, small, strict=True), 2):
        spread = a.std() * b.std()
        if spread > 0 and ((a - a.mean()) * (b - b.mean())).mean() / spread > _ALIKE:
            yield one, other


def _is_mask(file: Path, metadata: Path) -> bool:
    """Whether the lines of the pictures mention it, as a mask or as a picture that could not be read."""
    return metadata.is_file() and f'"{file.name}"' in metadata.read_text(encoding="utf-8", errors="replace")
