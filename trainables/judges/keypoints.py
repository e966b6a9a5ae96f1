"""Where a figure's joints are in a picture, and how near that is to where they should be."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from transformers import VitPoseForPoseEstimation

from trainables.judges.identity import to_input
from trainables.judges.sources import readable

_WINDOW = 2
"""Cells around a heatmap's peak that its position is averaged over."""


class FindsJoints(Protocol):
    """Who says where a figure's joints are."""

    detected: float
    """Confidence from which a joint counts as found; a joint that is not found is a miss."""

    def detect(self, pixels: np.ndarray) -> np.ndarray:
        """n x J x 3: x and y in pixels, confidence in 0..1. pixels: n x h x w x 3 uint8, square."""


class KeypointJudge:
    """A ViTPose-layout detector. Its heatmaps are read as distributions: softmax over the cells."""

    detected = 0.3

    def __init__(self, model: VitPoseForPoseEstimation) -> None:
        self.model = model.eval().requires_grad_(False)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "KeypointJudge":
        with readable(folder):
            return cls(
                VitPoseForPoseEstimation.from_pretrained(folder, use_safetensors=True, dtype=torch.float32).to(device)
            )

    @property
    def joints(self) -> int:
        return self.model.config.num_labels

    @torch.no_grad()
    def detect(self, pixels: np.ndarray) -> np.ndarray:
        """n x J x 3: x and y in pixels, confidence in 0..1. pixels: n x h x w x 3 uint8."""
        heatmaps = self.model(to_input(pixels).to(self.model.device)).heatmaps.float().cpu()
        return decode(heatmaps, pixels.shape[1]).numpy()


def decode(heatmaps: torch.Tensor, size: int) -> torch.Tensor:
    """Peak of each heatmap to a fraction of a cell: the mean position in a window around it, confidence its mass.

    heatmaps: n x J x g x g logits. Returns n x J x 3 in pixels of a `size` square.
    """
    n, joints, grid, _ = heatmaps.shape
    mass = heatmaps.flatten(2).softmax(-1)
    peak = mass.argmax(-1)
    rows, columns = torch.arange(grid).repeat_interleave(grid), torch.arange(grid).repeat(grid)
    near = ((rows - rows[peak][..., None]).abs() <= _WINDOW) & ((columns - columns[peak][..., None]).abs() <= _WINDOW)
    window = mass * near
    confidence = window.sum(-1)
    x = ((window * columns).sum(-1) / confidence + 0.5) * size / grid
    y = ((window * rows).sum(-1) / confidence + 0.5) * size / grid
    return torch.stack([x, y, confidence], dim=-1).reshape(n, joints, 3)


def pck(found: np.ndarray, target: np.ndarray, size: int, threshold: float = 0.05) -> np.ndarray:
    """Percentage of correct keypoints (Yang & Ramanan 2013), as a share, with `threshold` x the picture's side.

    found, target: n x J x 2 or more in pixels; joints that the target marks invisible (third value 0) do not count.
    Returns n values, NaN where no joint counts.
    """
    near = np.linalg.norm(found[..., :2] - target[..., :2], axis=-1) <= threshold * size
    counts = target[..., 2] > 0 if target.shape[-1] > 2 else np.ones(near.shape, bool)
    total = counts.sum(axis=-1)
    return np.where(total > 0, (near & counts).sum(axis=-1) / np.maximum(total, 1), np.nan)


COCO_SIGMAS = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062, "hip": 0.107,
    "knee": 0.087, "ankle": 0.089, "neck": 0.079,
}  # fmt: skip
"""How far annotators differ about a joint, in units of a person's size (COCO's; the neck, which COCO lacks, as the
shoulders that it lies between)."""
_FILLED = 0.53
"""Share of a person's box that the person fills, as CrowdPose's evaluation takes it where no outline is known."""


def oks(found: np.ndarray, target: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Object keypoint similarity (Lin et al. 2014), the mean of exp(-d^2 / (2 s^2 (2 sigma)^2)) over the joints.

    found: n x J x 2 or more in pixels, infinite where a joint was not found; target: n x J x 3, where joints that are
    not visible do not count; s^2, a person's area, is 0.53 x the box around the target's visible joints. sigmas: J.
    Returns n values, NaN where no joint counts.
    """
    counts = target[..., 2] > 0
    box = [reduce(np.where(counts[..., None], target[..., :2], fill), axis=1)
           for reduce, fill in ((np.max, -np.inf), (np.min, np.inf))]  # fmt: skip
    area = np.maximum(_FILLED * np.prod(np.where(counts.any(1)[:, None], box[0] - box[1], 0), axis=-1), 1.0)
    distance = ((found[..., :2] - target[..., :2]) ** 2).sum(-1)
    near = np.exp(-distance / (2 * area[:, None] * (2 * sigmas) ** 2))
    total = counts.sum(axis=-1)
    return np.where(total > 0, (near * counts).sum(axis=-1) / np.maximum(total, 1), np.nan)


def coco_sigmas(joints: Sequence[str]) -> np.ndarray | None:
    """A sigma for each of a human skeleton's joints by its name; None where a name is not COCO's."""
    parts = [name.removeprefix("r_").removeprefix("l_") for name in joints]
    return np.array([COCO_SIGMAS[part] for part in parts]) if set(parts) <= set(COCO_SIGMAS) else None
