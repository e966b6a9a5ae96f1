"""What judges can tell, measured on the subject's own pictures before any training: their ceiling and their floor."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spaces import InputError
from trainables.hub import folder_of
from trainables.job import JudgesConfig
from trainables.judge_choice import picture_size
from trainables.judges.correspondence import CorrespondenceJudge, silhouette_iou
from trainables.judges.identity import IdentityJudge
from trainables.judges.keypoints import pck
from trainables.judges.loading import Judges, judges_for
from trainables.judges.prompt import PromptJudge
from trainables.judges.scoring import subject_regions
from trainables.machine.device import device_named
from trainables.puppets.gallery import drawn_characters
from trainables.skeleton import Skeleton, region
from trainables.subject import Picture, Subject, skeleton_of

_SEED = 7
_SHUFFLES = 8
_UNRELATED = (
    "a bowl of soup on a table",
    "a sailing boat at sea",
    "a page of printed text",
    "an empty street in the rain",
    "a bunch of yellow flowers",
    "a snowy mountain",
)
"""Captions of nothing that a subject is."""
_ENOUGH_AUC = 0.8
_MARGINS = {"identity": 0.1, "pose": 0.3, "prompt": 0.02}
"""How far the ceiling should be above the floor that counts."""


@dataclass(frozen=True)
class Verdict:
    """What one judge can tell."""

    judge: str
    """identity, pose, prompt or silhouette."""
    measure: str
    """What the numbers are."""
    ceiling: float
    """Mean over the subject's own pictures."""
    floors: dict[str, float]
    """Means over what the judge should think little of; the first is the one that counts."""
    auc: float
    """Chance that an own picture gets more than one of the first floor."""
    problem: str | None
    """Why the judge cannot be used, if so."""

    @property
    def tells(self) -> str:
        """yes, no, or hardly: of a diagnostic that does not decide anything."""
        return "no" if self.problem else "yes" if self.auc >= _ENOUGH_AUC else "hardly"


def measure(
    config: JudgesConfig, folder: Path | None, subject: Subject, others: Sequence[Subject], device: str
) -> list[Verdict]:
    """A verdict on each judge of a subject on the base in `folder` (None: the hub's), beside other subjects.

    Where none are given, drawn characters are the puppets' others; a subject of photographs then has no other floor
    than its own pictures in pieces.
    """
    size = picture_size(folder)
    judges = judges_for(config, folder, subject, size, str(device_named(device)))
    pixels, regions = np.zeros((0, size, size, 3), np.uint8), np.zeros((0, size, size), bool)
    if others:
        pixels = np.concatenate([np.stack([p.fitted(size).pixels for p in one.pictures]) for one in others])
        regions = np.concatenate([subject_regions(one, skeleton_of(one), size) for one in others])
    elif folder == folder_of("puppets"):
        pixels, regions = drawn_characters(person=subject.class_noun == "person")
    return check_judges(judges, subject, skeleton_of(subject), size, pixels, regions)


def check_judges(
    judges: Judges, subject: Subject, skeleton: Skeleton, size: int, others: np.ndarray, regions: np.ndarray
) -> list[Verdict]:
    """A verdict on each judge. InputError for a subject of fewer than two pictures.

    others: n x size x size x 3 uint8, pictures of other subjects (none will do), regions: where they are in them.
    """
    if len(subject.pictures) < 2:
        raise InputError(subject.folder, "has one picture; judges are measured on two or more")
    pictures = [picture.fitted(size) for picture in subject.pictures]
    verdicts = [_identity(judges.identity, subject, pictures, skeleton, size, others, regions)]
    verdicts += _pose(judges, pictures, skeleton, size)
    if judges.prompt is not None:
        verdicts.append(_prompt(judges.prompt, subject, pictures))
    return verdicts


def _identity(
    judge: IdentityJudge, subject: Subject, pictures: Sequence[Picture], skeleton: Skeleton, size: int,
    others: np.ndarray, regions: np.ndarray,
) -> Verdict:  # fmt: skip
    """Own pictures against each other; others, the own ones in pieces, and noise against the own."""
    generator = np.random.default_rng(_SEED)
    pixels, own_regions = np.stack([p.pixels for p in pictures]), subject_regions(subject, skeleton, size)
    own = judge.embed(pixels, own_regions).numpy()
    similar = own @ own.T
    each = (similar.sum(axis=1) - similar.diagonal()) / (len(own) - 1)
    floors = {"other subjects": (judge.embed(others, regions).numpy() @ own.T).mean(axis=1)} if len(others) else {}
    pieces = np.stack([in_pieces(one, generator) for one in pixels])
    noise = generator.integers(0, 256, pixels.shape, dtype=np.uint8)
    for name, made in (("in pieces", pieces), ("noise", noise)):
        floors[name] = (judge.embed(made, own_regions).numpy() @ own.T).mean(axis=1)
    return _verdict("identity", "mean cosine to the subject's other pictures", each, floors, refuses=True)


def _pose(judges: Judges, pictures: Sequence[Picture], skeleton: Skeleton, size: int) -> list[Verdict]:
    """The own pictures' joints found; the floors are the same joints under each other's names, and other pictures'."""
    annotated = [p for p in pictures if p.keypoints is not None]
    if len(annotated) < 2:
        problem = "fewer than two pictures have keypoints to compare with what it finds"
        return [Verdict("pose", "PCK@0.05", np.nan, {}, np.nan, problem)]
    pixels, wanted = (np.stack([getattr(p, name) for p in annotated]) for name in ("pixels", "keypoints"))
    found, outlines = _looked(judges, annotated, skeleton)
    placed = np.where(found[..., 2:] >= judges.keypoints.detected, found[..., :2], np.inf)
    generator = np.random.default_rng(_SEED)
    orders = [generator.permutation(wanted.shape[1]) for _ in range(_SHUFFLES)]
    noise = judges.keypoints.detect(generator.integers(0, 256, pixels.shape, dtype=np.uint8))
    noise = np.where(noise[..., 2:] >= judges.keypoints.detected, noise[..., :2], np.inf)
    floors = {
        "joints exchanged": np.mean([pck(placed, wanted[:, order], size) for order in orders], axis=0),
        "other pictures' joints": pck(placed, np.roll(wanted, 1, axis=0), size),
        "noise": pck(noise, wanted, size),
    }
    verdicts = [_verdict("pose", "PCK@0.05 of the pictures' own joints", pck(placed, wanted, size), floors, True)]
    if outlines is not None:
        masks = np.stack([region(p.keypoints, size, skeleton, 0.1) if p.mask is None else p.mask for p in annotated])
        floors = {"other pictures' outlines": silhouette_iou(outlines, np.roll(masks, 1, axis=0))}
        verdicts.append(
            _verdict("silhouette", "IoU with the own outline", silhouette_iou(outlines, masks), floors, False)
        )
    return verdicts


def _looked(judges: Judges, annotated: Sequence[Picture], skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray | None]:
    """Joints and outlines of the annotated pictures; those that are carried over come from the other pictures alone."""
    finder = judges.keypoints
    pixels = np.stack([p.pixels for p in annotated])
    if not isinstance(finder, CorrespondenceJudge):
        return finder.detect(pixels), None
    size, found = pixels.shape[1], []
    for left_out, picture in enumerate(annotated):
        rest = [p for number, p in enumerate(annotated) if number != left_out]
        masks = [region(p.keypoints, size, skeleton) if p.mask is None else p.mask for p in rest]
        stacked = (np.stack([getattr(p, name) for p in rest]) for name in ("pixels", "keypoints"))
        found.append(
            CorrespondenceJudge(finder.encoder, *stacked, np.stack(masks), skeleton).look(picture.pixels[None])
        )
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def _prompt(judge: PromptJudge, subject: Subject, pictures: Sequence[Picture]) -> Verdict:
    """The pictures' captions, without the token, against captions of other things."""
    captions = [picture.caption.replace(subject.token, "").replace("  ", " ") for picture in pictures]
    seen = judge.embed_pictures(np.stack([p.pixels for p in pictures])).numpy()
    own = (seen * judge.embed_prompts(captions).numpy()).sum(axis=1)
    floors = {"captions of other things": (seen @ judge.embed_prompts(_UNRELATED).numpy().T).ravel()}
    return _verdict("prompt", "cosine of picture and caption", own, floors, refuses=True)


def _verdict(judge: str, measure: str, own: np.ndarray, floors: dict[str, np.ndarray], refuses: bool) -> Verdict:
    name, counted = next(iter(floors.items()))
    ceiling, floor, auc = float(np.nanmean(own)), float(np.nanmean(counted)), area_under_curve(own, counted)
    means = {what: float(np.nanmean(values)) for what, values in floors.items()}
    problem = None
    if refuses and (auc < _ENOUGH_AUC or ceiling - floor < _MARGINS[judge]):
        problem = (
            f"cannot tell: the subject's own pictures get {ceiling:.2f}, {name} {floor:.2f} (AUC {auc:.2f}; "
            f"should be {_MARGINS[judge]} apart with an AUC of {_ENOUGH_AUC} or more)"
        )
    return Verdict(judge, measure, ceiling, means, auc, problem)


def in_pieces(picture: np.ndarray, generator: np.random.Generator, pieces: int = 8) -> np.ndarray:
    """A picture cut into pieces x pieces squares that are put together in another order: h x w x 3 uint8."""
    side = picture.shape[0] // pieces
    cut = picture[: side * pieces, : side * pieces].reshape(pieces, side, pieces, side, 3).swapaxes(1, 2)
    mixed = generator.permutation(cut.reshape(pieces * pieces, side, side, 3)).reshape(cut.shape)
    made = picture.copy()
    made[: side * pieces, : side * pieces] = mixed.swapaxes(1, 2).reshape(side * pieces, side * pieces, 3)
    return made


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """Chance that a positive exceeds a negative (Mann & Whitney 1947), ties counted half."""
    ranks = np.searchsorted(np.sort(negative), positive, "left") + np.searchsorted(np.sort(negative), positive, "right")
    return float(ranks.mean() / 2 / len(negative))
