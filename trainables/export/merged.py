"""A whole model in the diffusers layout with an adapter merged in: it needs nothing of ours to load."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from trainables.base import Base
from trainables.export.files import CONTROLNET, WEIGHTS, read_made_from, read_weights, refuse_schedule
from trainables.export.lora import TEXT_MODEL
from trainables.export.saved import load_adapter
from trainables.generate import lora_scaled


def write_merged(base: Base, adapter: Path, out: Path, half: bool = False, lora_scale: float = 1.0) -> None:
    """UNet, text encoder, tokenizer with the token's vectors, ControlNet, VAE and sampler: `from_pretrained(out)`.

    Into a base that nothing else uses: it is changed for good. Merged in the base's precision, fp32 at best, and only
    then halved.
    """
    made_from = read_made_from(adapter)
    refuse_schedule(made_from, "a merged model")
    files = made_from.files
    pipeline, _ = load_adapter(base, adapter)
    if WEIGHTS in files:
        with lora_scaled(base.unet, lora_scale), lora_scaled(base.text_encoder, lora_scale):
            pipeline.fuse_lora()
        pipeline.unload_lora_weights()
    if CONTROLNET in files:
        base.controlnet.fuse_lora()
        base.controlnet.unload_lora()
    if half:
        pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(out, safe_serialization=True)
    _prefix_text_model(out / "text_encoder" / "model.safetensors")


def _prefix_text_model(path: Path) -> None:
    """Older readers know the text encoder's weights by the names that they had before transformers flattened it."""
    tensors, metadata = read_weights(path)
    save_file({TEXT_MODEL + name.removeprefix(TEXT_MODEL): value for name, value in tensors.items()}, path, metadata)
