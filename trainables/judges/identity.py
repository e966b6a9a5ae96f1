"""How much a picture shows the subject: cosine similarity of a frozen encoder's class token, the background masked."""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize
from transformers import Dinov2Model

_GREY = 127


class IdentityJudge:
    """A DINOv2-layout encoder whose class token tells characters apart."""

    def __init__(self, model: Dinov2Model) -> None:
        self.model = model.eval().requires_grad_(False)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "IdentityJudge":
        return cls(Dinov2Model.from_pretrained(folder, use_safetensors=True, dtype=torch.float32).to(device))

    @torch.no_grad()
    def embed(self, pixels: np.ndarray, regions: np.ndarray) -> torch.Tensor:
        """Unit vectors, n x d. pixels: n x h x w x 3 uint8; regions: n x h x w bool, the rest is painted grey."""
        return normalize(
            self.model(to_input(mask_out(pixels, regions)).to(self.model.device)).pooler_output, dim=-1
        ).cpu()


def mask_out(pixels: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Paints what is outside the regions grey."""
    return np.where(regions[..., None], pixels, np.uint8(_GREY))


def to_input(pixels: np.ndarray) -> torch.Tensor:
    """n x h x w x 3 uint8 to n x 3 x h x w in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
