"""How much a picture shows the subject: cosine similarity of a frozen encoder's embedding, the background masked."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, normalize, pad
from transformers import (
    AutoImageProcessor,
    CLIPVisionModelWithProjection,
    Dinov2Model,
    PreTrainedModel,
    Siglip2VisionModel,
    SiglipVisionModel,
)

from spaces import InputError
from trainables.judge_choice import model_type
from trainables.judges.sources import local_folder, readable

_GREY = (127, 127, 127)
_BATCH = 32
"""Pictures that go through the encoder at once."""
_ENCODERS: dict[str, type[PreTrainedModel]] = {
    "dinov2": Dinov2Model,
    "clip": CLIPVisionModelWithProjection,
    "clip_vision_model": CLIPVisionModelWithProjection,
    "siglip": SiglipVisionModel,
    "siglip_vision_model": SiglipVisionModel,
    "siglip2": Siglip2VisionModel,
    "siglip2_vision_model": Siglip2VisionModel,
}
"""By a config's model_type; of a model of two towers the one for pictures."""


class IdentityJudge:
    """An encoder whose embedding tells characters apart: DINOv2's class token, CLIP's or SigLIP's picture embedding.

    With an image processor, pictures are cut to the masked region and resized, cropped and normalised as the processor
    says: any size goes in, and where in the picture the figure is, and how large, does not count. Without one (the
    puppets' judge) the encoder takes whole pictures of its own size, from -1 to 1.
    """

    def __init__(self, model: PreTrainedModel, processor: Any = None) -> None:
        self.model = model.eval().requires_grad_(False)
        self.processor = processor

    @classmethod
    def load(cls, source: str | Path, device: str = "cpu") -> "IdentityJudge":
        """From a folder or hub id with DINOv2, CLIP, SigLIP or SigLIP 2; InputError for any other."""
        folder = local_folder(source)
        kind = model_type(folder)
        if kind not in _ENCODERS:
            known = ", ".join(name for name in _ENCODERS if "_" not in name)
            raise InputError(folder / "config.json", f"model_type: {kind!r} judges no identity; there are {known}")
        with readable(folder):
            model = _ENCODERS[kind].from_pretrained(folder, use_safetensors=True, dtype=torch.float32).to(device)
            processed = (folder / "preprocessor_config.json").is_file()
            return cls(
                model, AutoImageProcessor.from_pretrained(folder, trust_remote_code=False) if processed else None
            )

    @property
    def is_dense(self) -> bool:
        """Whether `dense` works: of DINOv2 alone, since its patches match across pictures."""
        return isinstance(self.model, Dinov2Model)

    @property
    def patches(self) -> int:
        """Patches a side of the pictures that the encoder takes."""
        return self.model.config.image_size // self.model.config.patch_size

    def embed(self, pixels: np.ndarray, regions: np.ndarray | None = None) -> Tensor:
        """Unit vectors, n x d, on the CPU.

        pixels: n x h x w x 3 uint8; regions: n x h x w bool, of which the rest is painted the encoder's mean grey, or
        None: the whole pictures.
        """
        embedded = []
        for start in range(0, len(pixels), _BATCH):
            part = slice(start, start + _BATCH)
            embedded.append(self._embed(pixels[part], None if regions is None else regions[part]))
        return normalize(torch.cat(embedded), dim=-1)

    @torch.no_grad()
    def _embed(self, pixels: np.ndarray, regions: np.ndarray | None) -> Tensor:
        if self.processor is None:
            masked = pixels if regions is None else mask_out(pixels, regions)
            side = self.model.config.image_size
            inputs = {"pixel_values": _resized(to_input(masked), side).to(self.model.device)}
        else:
            inputs = self._processed(pixels, regions).to(self.model.device)
        made = self.model(**inputs)
        return (made.image_embeds if "image_embeds" in made else made.pooler_output).float().cpu()

    def _processed(self, pixels: np.ndarray, regions: np.ndarray | None) -> Any:
        fill = tuple(round(255 * mean) for mean in self.processor.image_mean)
        pictures = list(pixels)
        if regions is not None:
            kept = _kept_share(self.processor)
            masked = mask_out(pixels, regions, fill)
            pictures = [cut_to(picture, region, kept, fill) for picture, region in zip(masked, regions, strict=True)]
        return self.processor(images=pictures, return_tensors="pt")

    @torch.no_grad()
    def dense(self, pixels: np.ndarray, cells: int = 32, depth: float = 0.75) -> Tensor:
        """Features of a grid of at least `cells` cells a side where the encoder allows: n x g x g x d, on the CPU.

        The cell in row i and column j is about the point ((j + 0.5) / g, (i + 0.5) / g) of the picture. They are the
        hidden states at `depth` of the layers. An encoder of few patches sees each picture several times, shifted by
        parts of a patch, and the grids are interleaved.
        """
        if not self.is_dense:
            raise InputError("pose judge", f"{type(self.model).__name__} has no dense features to match; DINOv2 has")
        config = self.model.config
        patch, side = config.patch_size, min(config.image_size, cells * config.patch_size)
        grid = side // patch
        shifts = max(k for k in range(1, patch + 1) if patch % k == 0 and (k == 1 or k * grid <= cells))
        layer = max(1, round(depth * config.num_hidden_layers))
        pictures = self._normalised(_resized(to_input(pixels), grid * patch))
        found = torch.zeros(len(pixels), grid * shifts, grid * shifts, config.hidden_size)
        wide = pad(pictures, (patch,) * 4, mode="replicate")
        for row in range(shifts):
            for column in range(shifts):
                # the middle of a patch moves to the middle of its part in this row and column
                y, x = (patch + round((2 * part + 1 - shifts) * patch / (2 * shifts)) for part in (row, column))
                shifted = wide[:, :, y : y + grid * patch, x : x + grid * patch]
                found[:, row::shifts, column::shifts] = self._patches(shifted, layer).unflatten(1, (grid, grid))
        return found

    def _patches(self, pictures: Tensor, layer: int) -> Tensor:
        """n x patches x d on the CPU."""
        parts = [
            self.model(part.to(self.model.device), output_hidden_states=True).hidden_states[layer][:, 1:].float().cpu()
            for part in pictures.split(_BATCH)
        ]
        return torch.cat(parts)

    def _normalised(self, pictures: Tensor) -> Tensor:
        if self.processor is None:
            return pictures
        mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in (self.processor.image_mean, self.processor.image_std))
        return ((pictures + 1) / 2 - mean) / deviation


def mask_out(pixels: np.ndarray, regions: np.ndarray, fill: tuple[int, int, int] = _GREY) -> np.ndarray:
    """Paints what is outside the regions grey, or as `fill` says."""
    return np.where(regions[..., None], pixels, np.array(fill, dtype=np.uint8))


def to_input(pixels: np.ndarray) -> Tensor:
    """n x h x w x 3 uint8 to n x 3 x h x w in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def cut_to(picture: np.ndarray, region: np.ndarray, share: float, fill: tuple[int, int, int]) -> np.ndarray:
    """The square around a region, whose longer side takes up `share` of it; `fill` beyond the picture's edge.

    picture: h x w x 3 uint8; region: h x w bool, and the whole picture where that is empty.
    """
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return picture
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = int(np.ceil(max(bottom - top, right - left) / share))
    cut = Image.new("RGB", (side, side), fill)
    cut.paste(
        Image.fromarray(picture[top:bottom, left:right]),
        ((side - int(right - left)) // 2, (side - int(bottom - top)) // 2),
    )
    return np.asarray(cut)


def _kept_share(processor: Any) -> float:
    """How much of a square's side is left after the processor's centre crop, or a little less where it crops none."""
    size, crop = getattr(processor, "size", None), getattr(processor, "crop_size", None)
    if getattr(processor, "do_center_crop", False) and crop and size and size.shortest_edge:
        return min(0.95, crop.height / size.shortest_edge)
    return 0.95


def _resized(pictures: Tensor, side: int) -> Tensor:
    if pictures.shape[-2:] == (side, side):
        return pictures
    return interpolate(pictures, size=(side, side), mode="bicubic", antialias=True).clamp(-1, 1)
