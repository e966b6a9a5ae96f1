"""Pictures of the class that the base draws itself, so that a trial can rehearse them (Ruiz et al. 2023)."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spaces import InputError
from trainables.base import Base
from trainables.parts.adapters import is_adapted
from trainables.subject import Subject

_STEPS, _GUIDANCE, _SEED, _BATCH = 20, 3.0, 0, 8


@dataclass(frozen=True, eq=False)
class Prior:
    """n class pictures, as training needs them."""

    mean: Tensor
    """n x channels x height x width, of the VAE's posterior, as `Base.latent_distribution` gives it."""
    std: Tensor
    """Likewise."""
    captions: tuple[str, ...]
    """Without the token."""


def class_prior(base: Base, subject: Subject, count: int, cache: str | Path) -> Prior:
    """`count` pictures of the subject's class on its prompts, drawn by the base alone, without ControlNet.

    Drawn once and kept in a file in `cache`; processes that ask at the same time wait for the first. What is drawn
    follows from base, class noun, prompts and count alone. InputError when the cache cannot be written.
    """
    prompts = [subject.named(prompt, token=False) for prompt in subject.prompts]
    path = Path(cache) / f"class-{_key(base, subject.class_noun, prompts, count)}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            kept = _read(path) if path.exists() else None
            if kept is None:  # also where the file is broken: it is no more than a cache
                kept = _draw(base, prompts, count)
                _save(kept, path)
    except OSError as error:
        raise InputError(cache, f"cannot keep class pictures there ({error.strerror or error})") from None
    return kept


def _key(base: Base, class_noun: str, prompts: list[str], count: int) -> str:
    values = [base.fingerprint, base.precision, class_noun, prompts, count, _STEPS, _GUIDANCE, _SEED]
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=8).hexdigest()


def _draw(base: Base, prompts: list[str], count: int) -> Prior:
    """Prompts in turn, DPM-Solver++ (Lu et al. 2022), start noise from a generator of its own."""
    if is_adapted(base.unet) or is_adapted(base.text_encoder):
        raise ValueError("class pictures are the untuned base's: take its adapters off first")
    pipeline = StableDiffusionPipeline(**base.components(), feature_extractor=None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(_SEED)
    captions = [prompts[i % len(prompts)] for i in range(count)]
    pictures = [
        pipeline(
            captions[start : start + _BATCH], height=base.size, width=base.size, num_inference_steps=_STEPS,
            guidance_scale=_GUIDANCE, generator=generator, output_type="np",
        ).images
        for start in range(0, count, _BATCH)
    ]  # fmt: skip
    pixels = np.round(np.concatenate(pictures) * 255).astype(np.uint8)
    return Prior(*base.latent_distribution(pixels), tuple(captions))


def _save(prior: Prior, path: Path) -> None:
    partial = path.with_suffix(".partial")
    save_file({"mean": prior.mean, "std": prior.std}, partial, {"captions": json.dumps(prior.captions)})
    os.replace(partial, path)


def _read(path: Path) -> Prior | None:
    """None where it is not what `_save` writes."""
    try:
        with safe_open(path, "pt") as file:
            captions = json.loads(file.metadata()["captions"])
            return Prior(file.get_tensor("mean").clone(), file.get_tensor("std").clone(), tuple(captions))
    except (SafetensorError, ValueError, LookupError, TypeError):
        return None
