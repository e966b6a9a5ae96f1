"""Where a figure's joints are in a picture, and how near that is to where they should be."""

from pathlib import Path

import numpy as np
import torch
from transformers import VitPoseForPoseEstimation

from trainables.judges.identity import to_input

_WINDOW = 2
"""Cells around a heatmap's peak that its position is averaged over."""


class KeypointJudge:
    """A ViTPose-layout detector. Its heatmaps are read as distributions: softmax over the cells."""

    def __init__(self, model: VitPoseForPoseEstimation) -> None:
        self.model = model.eval().requires_grad_(False)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "KeypointJudge":
        return cls(
            VitPoseForPoseEstimation.from_pretrained(folder, use_safetensors=True, dtype=torch.float32).to(device)
        )

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
