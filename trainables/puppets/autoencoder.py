"""Trains the autoencoder: L1 and L2 of the pixels, and a slight pull of the posterior to the unit normal."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from trainables.puppets import models
from trainables.puppets.dataset import Dataset, to_unit
from trainables.puppets.loop import fit, seeded
from trainables.puppets.parallel import part_of

_KL_WEIGHT = 2e-7
_BATCH = 16
_CYCLES = 2
"""Warm restarts of the decoder's rate (Loshchilov & Hutter 2017): the first alone ended at 29.7 dB."""


def train_autoencoder(data: Dataset, steps: int, work: Path, seed: int, device: str) -> AutoencoderKL:
    """The trained autoencoder, its scaling factor set so that latents have unit standard deviation."""
    with seeded(seed):
        vae = models.autoencoder().to(device, memory_format=torch.channels_last)

    def loss(generator: torch.Generator, _: int) -> torch.Tensor:
        index = torch.randint(len(data), (_BATCH,), generator=generator)
        noise = torch.randn(_BATCH, *models.LATENT_SHAPE, generator=generator)
        pixels = to_unit(data.pixels[part_of(index)]).to(device, memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            posterior = vae.encode(pixels).latent_dist
            decoded = vae.decode(posterior.mean + posterior.std * part_of(noise).to(device)).sample.float()
        error = decoded - pixels
        return error.abs().mean() + 4 * error.square().mean() + _KL_WEIGHT * posterior.kl().mean()

    fit("vae", vae, loss, steps, 2e-3, work, seed)
    vae.eval()
    mean, _ = encode_all(vae, data.pixels[:2000])
    vae.register_to_config(scaling_factor=round(float(1 / mean.std()), 6))
    return vae


def polish_decoder(vae: AutoencoderKL, data: Dataset, steps: int, work: Path, seed: int, device: str) -> None:
    """Trains the decoder on, `steps` a cycle, for the squared error alone, as Stable Diffusion's later decoders were.

    The encoder stays, so latents do too: the UNet may be trained before, after, or beside.
    """
    mean, std = encode_all(vae, data.pixels)
    vae.requires_grad_(False)
    vae.decoder.requires_grad_(True)
    vae.post_quant_conv.requires_grad_(True)

    def loss(generator: torch.Generator, _: int) -> torch.Tensor:
        index = torch.randint(len(data), (_BATCH,), generator=generator)
        noise = part_of(torch.randn(mean[index].shape, generator=generator))
        index = part_of(index)
        latents = mean[index] + std[index] * noise
        with torch.autocast(device, torch.bfloat16):
            decoded = vae.decode(latents.to(device)).sample.float()
        return (decoded - to_unit(data.pixels[index]).to(device)).square().mean()

    for cycle in range(_CYCLES):
        fit(f"decoder-{cycle}", vae, loss, steps, 1e-3, work, seed + 5 + 100 * cycle)
    vae.eval().requires_grad_(True)


@torch.no_grad()
def encode_all(vae: AutoencoderKL, pixels: torch.Tensor, batch: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Posterior mean and standard deviation, unscaled, each n x 8 x 16 x 16."""
    posteriors = [vae.encode(to_unit(p).to(vae.device)).latent_dist for p in pixels.split(batch)]
    return torch.cat([p.mean.cpu() for p in posteriors]), torch.cat([p.std.cpu() for p in posteriors])


@torch.no_grad()
def reconstruction_psnr(vae: AutoencoderKL, pixels: torch.Tensor, batch: int = 128) -> float:
    """Mean over pictures of the peak signal-to-noise ratio in dB, pixels in 0..1."""
    values = []
    for part in pixels.split(batch):
        original = to_unit(part).to(vae.device)
        decoded = vae.decode(vae.encode(original).latent_dist.mean).sample.clamp(-1, 1)
        error = ((decoded - original) / 2).square().mean(dim=(1, 2, 3))
        values.append(-10 * error.log10())
    return float(torch.cat(values).mean())
