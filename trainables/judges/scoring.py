"""From a panel's pictures to the values of its cells."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spaces import InputError
from trainables.judges.correspondence import CorrespondenceJudge, silhouette_iou
from trainables.judges.keypoints import coco_sigmas, oks, pck
from trainables.judges.loading import Judges
from trainables.skeleton import Skeleton, region
from trainables.subject import UNMARKED, Subject


@dataclass(frozen=True, eq=False)
class Wanted:
    """What the cells should show."""

    poses: np.ndarray
    """n x J x 3 keypoints in pixels of the pictures."""
    hard: np.ndarray
    """n bool: whose pose is a hard one."""
    prompts: Sequence[str]
    """n prompts without the token, which the prompt judge does not know."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What the pose judge found in n pictures."""

    joints: np.ndarray
    """n x J x 3: x and y in pixels, confidence in 0..1."""
    outlines: np.ndarray | None
    """n x h x w bool, where the judge sees them."""


class Scorer:
    """Judges pictures of one subject; what it needs of the subject is embedded once."""

    def __init__(self, judges: Judges, subject: Subject, skeleton: Skeleton, wanted: Wanted, size: int) -> None:
        self.judges, self.skeleton, self.wanted, self.size = judges, skeleton, wanted, size
        self.sigmas = coco_sigmas(skeleton.joints)
        self.gallery: np.ndarray | None = None
        self.target_regions = np.stack([region(pose, size, skeleton) for pose in wanted.poses])
        fitted = [picture.fitted(size) for picture in subject.pictures]
        pixels = np.stack([picture.pixels for picture in fitted])
        self.of_subject = self.embed(pixels, subject_regions(subject, skeleton, size))
        self.of_pictures = self.embed(pixels, None)
        self.of_prompts = judges.prompt.embed_prompts(wanted.prompts).numpy() if judges.prompt else None

    def hang(self, pixels: np.ndarray, regions: np.ndarray) -> None:
        """Others of the class for `retrieval_rank`: m x h x w x 3 uint8, each of another one, m x h x w bool."""
        self.gallery = self.embed(pixels, regions)

    def look(self, pictures: np.ndarray) -> Seen:
        """pictures: n x h x w x 3 uint8."""
        finder = self.judges.keypoints
        if isinstance(finder, CorrespondenceJudge):
            return Seen(*finder.look(pictures))
        return Seen(finder.detect(pictures), None)

    def cells(self, pictures: np.ndarray, seen: Seen | None = None) -> dict[str, np.ndarray]:
        """n values for each score, NaN where one does not apply. pictures: n x h x w x 3 uint8; `seen` is what
        `look` made of them, if it was asked.

        identity: mean cosine to the subject's pictures, the background masked. pose: PCK, and of one grade alone in
        pose_plain and pose_hard. Diagnostics: detection_rate, the share of joints found; oks, for people; silhouette,
        IoU of the figure's outline and the target's, where joints are carried over; copycat, the cosine of the whole
        picture to the nearest whole training picture; diversity, the mean distance of a picture to the others of its
        grade; retrieval_rank, the subject's place (1 is best) among the gallery by the nearest picture; prompt, CLIP-T.
        """
        seen = seen or self.look(pictures)
        joints, outlines = seen.joints, seen.outlines
        detected = joints[..., 2] >= self.judges.keypoints.detected
        placed = np.where(detected[..., None], joints[..., :2], math.inf)  # a joint that is not found is nowhere
        pose, hard = pck(placed, self.wanted.poses, self.size), self.wanted.hard
        embedded = self.embed(pictures, self._regions(joints, detected))
        similar = embedded @ self.of_subject.T
        whole = self.embed(pictures, None)
        cells = {
            "identity": similar.mean(axis=1),
            "pose": pose,
            "pose_plain": np.where(hard, math.nan, pose),
            "pose_hard": np.where(hard, pose, math.nan),
            "detection_rate": detected.mean(axis=1),
            "copycat": (whole @ self.of_pictures.T).max(axis=1),
            "diversity": diversity(whole, hard),
        }
        if self.gallery is not None:
            cells["retrieval_rank"] = retrieval_rank(embedded, self.of_subject, self.gallery)
        if self.sigmas is not None:
            cells["oks"] = oks(placed, self.wanted.poses, self.sigmas)
        if outlines is not None:
            cells["silhouette"] = silhouette_iou(outlines, self.target_regions)
        if self.of_prompts is not None:
            cells["prompt"] = (self.judges.prompt.embed_pictures(pictures).numpy() * self.of_prompts).sum(axis=1)
        return cells

    def distance(self, before: np.ndarray, after: np.ndarray, cells: Sequence[int]) -> np.ndarray:
        """1 - cosine between what base and fine-tune draw of some cells' class prompt, pose and noise; 0: no drift."""
        regions = self.target_regions[list(cells)]
        return 1 - (self.embed(before, regions) * self.embed(after, regions)).sum(axis=1)

    def embed(self, pictures: np.ndarray, regions: np.ndarray | None) -> np.ndarray:
        return self.judges.identity.embed(pictures, regions).numpy()

    def _regions(self, joints: np.ndarray, detected: np.ndarray) -> np.ndarray:
        """Where the figure is: around the joints that were found, around the target's where hardly any were."""
        regions = []
        for found, seen, target in zip(joints, detected, self.wanted.poses, strict=True):
            own = np.column_stack([found[:, :2], seen])
            regions.append(region(own if seen.mean() >= 0.5 else target, self.size, self.skeleton))
        return np.stack(regions)


def subject_regions(subject: Subject, skeleton: Skeleton, size: int) -> np.ndarray:
    """m x size x size bool: the figure in each of the subject's pictures, from its joints or else its mask."""
    regions = []
    for picture in subject.pictures:
        fitted = picture.fitted(size)
        if fitted.keypoints is not None:
            regions.append(region(fitted.keypoints, size, skeleton))
        elif fitted.mask is not None:
            regions.append(fitted.mask)
        else:
            raise InputError(picture.path, UNMARKED)
    return np.stack(regions)


def retrieval_rank(embedded: np.ndarray, subject: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """n places of the subject among a gallery: 1 + how many of the others are nearer than its nearest picture.

    embedded: n x d, subject: m x d, gallery: g x d unit vectors.
    """
    return 1.0 + (embedded @ gallery.T > (embedded @ subject.T).max(axis=1, keepdims=True)).sum(axis=1)


def diversity(embedded: np.ndarray, hard: np.ndarray) -> np.ndarray:
    """n mean distances (1 - cosine) of each picture to the others of its grade; NaN for the only one of a grade.

    Of a panel with one picture a grade it is the distance between the two.
    """
    distance = 1 - embedded @ embedded.T
    alike = hard[:, None] == hard[None]
    if alike.sum(axis=1).max() == 1:
        alike = np.ones_like(alike)
    others = alike & ~np.eye(len(hard), dtype=bool)
    count = others.sum(axis=1)
    return np.where(count > 0, (distance * others).sum(axis=1) / np.maximum(count, 1), math.nan)
