"""How well a picture shows what its prompt says: CLIP-T (Radford et al. 2021)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoImageProcessor, CLIPModel, CLIPTokenizer

from spaces import InputError
from trainables.judge_choice import model_type
from trainables.judges.sources import local_folder, readable

_BATCH = 32


class PromptJudge:
    """CLIP's two towers. Prompts are the class's: the rare token means nothing to a model that never saw it."""

    def __init__(self, model: CLIPModel, processor: Any, tokenizer: CLIPTokenizer) -> None:
        self.model = model.eval().requires_grad_(False)
        self.processor, self.tokenizer = processor, tokenizer

    @classmethod
    def load(cls, source: str | Path, device: str = "cpu") -> "PromptJudge":
        """From a folder or hub id with CLIP, its image processor and its tokenizer; InputError for any other."""
        folder = local_folder(source)
        if model_type(folder) != "clip":
            raise InputError(folder / "config.json", f"model_type: {model_type(folder)!r} judges no prompts; clip does")
        with readable(folder):
            return cls(
                CLIPModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32).to(device),
                AutoImageProcessor.from_pretrained(folder, trust_remote_code=False),
                CLIPTokenizer.from_pretrained(folder),
            )

    @torch.no_grad()
    def embed_pictures(self, pixels: np.ndarray) -> Tensor:
        """Unit vectors, n x d, on the CPU. pixels: n x h x w x 3 uint8."""
        made = []
        for start in range(0, len(pixels), _BATCH):
            inputs = self.processor(images=list(pixels[start : start + _BATCH]), return_tensors="pt")
            seen = self.model.vision_model(**inputs.to(self.model.device)).pooler_output
            made.append(self.model.visual_projection(seen).float().cpu())
        return normalize(torch.cat(made), dim=-1)

    @torch.no_grad()
    def embed_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Unit vectors, n x d, on the CPU; a prompt is cut at the length that the model takes."""
        limit = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(list(prompts), padding=True, truncation=True, max_length=limit, return_tensors="pt")
        read = self.model.text_model(**tokens.to(self.model.device)).pooler_output
        return normalize(self.model.text_projection(read).float().cpu(), dim=-1)

    def score(self, pixels: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
        """n cosines between picture and prompt."""
        return (self.embed_pictures(pixels) * self.embed_prompts(prompts)).sum(-1).numpy()
