"""Draws pictures of given prompts in given poses from given noise."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from peft.tuners.lora import LoraLayer
from PIL import Image
from torch import nn

from spaces import Inference
from trainables.base import Base
from trainables.parts.full import FullLinear


def start_noise(base: Base, seeds: list[int]) -> torch.Tensor:
    """One standard normal latent for each seed (n x c x h x w), the same on every device and in every batch."""
    size, channels = base.unet.config.sample_size, base.unet.config.in_channels
    draw = lambda seed: torch.randn(channels, size, size, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    return torch.stack([draw(seed) for seed in seeds])


def draw(
    base: Base, prompts: list[str], skeletons: list[Image.Image], noise: torch.Tensor, steps: int, inference: Inference
) -> np.ndarray:
    """n x h x w x 3 uint8, as the inference settings say, with whatever adapters the base wears."""
    with ExitStack() as scaled:
        for module in (base.unet, base.text_encoder):
            scaled.enter_context(lora_scaled(module, inference.lora_scale))
        return draw_pictures(
            base, prompts, skeletons, noise, steps, inference.guidance, inference.controlnet_scale,
            (inference.controlnet_start, inference.controlnet_end),
        )  # fmt: skip


@contextmanager
def lora_scaled(module: nn.Module, scale: float) -> Iterator[None]:
    """Inside, `scale` times of what training added to the module's weights is there.

    Of a DoRA only the direction is scaled, as PEFT does; its magnitude and a token's vectors stay as trained.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, LoraLayer | FullLinear)]
    before = [dict(layer.scaling) for layer in layers]
    with ExitStack() as whole:
        for layer in layers:
            layer.scaling.update({name: scale * value for name, value in layer.scaling.items()})
            if scale != 1 and hasattr(layer, "whole"):
                whole.enter_context(_made_whole(layer, scale))
        try:
            yield
        finally:
            for layer, values in zip(layers, before, strict=True):
                layer.scaling.update(values)


@contextmanager
def _made_whole(layer: LoraLayer, scale: float) -> Iterator[None]:
    """A weight that gave its principal components to its LoRA gets back what the LoRA, at that scale, lacks of them."""
    frozen, (whole,) = layer.get_base_layer(), layer.whole
    residual = frozen.weight
    frozen.weight = nn.Parameter(torch.lerp(residual, whole, 1 - scale), requires_grad=False)
    try:
        yield
    finally:
        frozen.weight = residual


@torch.no_grad()
def draw_pictures(
    base: Base, prompts: list[str], skeletons: list[Image.Image], noise: torch.Tensor, steps: int, guidance: float,
    controlnet_scale: float, controlnet_span: tuple[float, float] = (0.0, 1.0), batch: int = 16,
) -> np.ndarray:  # fmt: skip
    """n x h x w x 3 uint8, with whatever adapters the base wears.

    `steps` of DPM-Solver++ (Lu et al. 2022), the ControlNet in the loop for the span of them that is given as shares.
    prompts, skeletons and noise are n each.
    """
    pipeline = base.pipeline()
    conditions = torch.stack([torch.from_numpy(np.array(s)).permute(2, 0, 1).float() / 255 for s in skeletons])
    pictures = []
    for start in range(0, len(prompts), batch):
        part = slice(start, start + batch)
        drawn = pipeline(
            prompt=prompts[part],
            image=conditions[part].to(base.device, base.dtype),
            latents=noise[part].to(base.device, base.dtype),
            num_inference_steps=steps,
            guidance_scale=guidance,
            controlnet_conditioning_scale=controlnet_scale,
            control_guidance_start=controlnet_span[0],
            control_guidance_end=controlnet_span[1],
            output_type="pt",
        ).images
        pictures.append((drawn.float().cpu() * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return np.concatenate(pictures)
