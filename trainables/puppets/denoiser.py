"""Trains the UNet with the text encoder along, and then a ControlNet on people alone."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from trainables.losses import min_snr_weights
from trainables.puppets import models
from trainables.puppets.autoencoder import encode_all
from trainables.puppets.dataset import Dataset
from trainables.puppets.loop import fit, seeded
from trainables.puppets.parallel import part_of

_MIN_SNR_GAMMA = 5.0
_EMPTY_CAPTIONS = 0.1


def words_of(data: Dataset) -> list[str]:
    """Every word of every caption, once."""
    return sorted({word for caption in data.captions for word in caption.replace(",", " ,").split()})


class NoisedLatents:
    """Draws training batches: noised latents, timesteps, the noise, and caption tokens (sometimes of the empty one).

    Of each, this process's part.
    """

    def __init__(self, data: Dataset, vae: AutoencoderKL, tokens: CLIPTokenizer, device: str) -> None:
        self.data, self.tokenizer = data, tokens
        mean, std = encode_all(vae, data.pixels)
        self.mean, self.std = mean * vae.config.scaling_factor, std * vae.config.scaling_factor
        self.tokens = tokens(
            [*data.captions, ""], padding="max_length", max_length=models.TOKENS, truncation=True, return_tensors="pt"
        ).input_ids
        self.schedule, self.device = models.noise_schedule(), device

    def batch(self, index: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        count = len(index)
        latents = self.mean[index] + self.std[index] * torch.randn(self.mean[index].shape, generator=generator)
        noise = torch.randn(latents.shape, generator=generator)
        time = torch.randint(0, 1000, (count,), generator=generator)
        tokens = self.tokens[index].clone()
        tokens[torch.rand(count, generator=generator) < _EMPTY_CAPTIONS] = self.tokens[-1]
        noised = self.schedule.add_noise(latents, noise, time)
        return tuple(part_of(t).to(self.device) for t in (noised, time, noise, tokens))

    def loss(self, predicted: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        weights = min_snr_weights(self.schedule.alphas_cumprod.to(time.device), time, _MIN_SNR_GAMMA, "epsilon")
        return (weights * (predicted.float() - noise).square().mean(dim=(1, 2, 3))).mean()


def train_denoiser(
    latents: NoisedLatents, steps: int, work: Path, seed: int, batch: int = 48
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """Ho et al. 2020's noise prediction with min-SNR weights (Hang et al. 2023)."""
    device = latents.device
    with seeded(seed + 1):
        net = nn.ModuleDict({"unet": models.unet(), "text": models.text_encoder(latents.tokenizer)}).to(device)

    def loss(generator: torch.Generator, _: int) -> torch.Tensor:
        index = torch.randint(len(latents.data), (batch,), generator=generator)
        noised, time, noise, ids = latents.batch(index, generator)
        with torch.autocast(device, torch.bfloat16):
            predicted = net["unet"](noised, time, net["text"](ids)[0]).sample
        return latents.loss(predicted, noise, time)

    fit("denoiser", net, loss, steps, 1.2e-3, work, seed + 1)
    return net["unet"].eval(), net["text"].eval()


def train_controlnet(
    latents: NoisedLatents,
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    steps: int,
    work: Path,
    seed: int,
    batch: int = 32,
) -> ControlNetModel:
    """Zhang et al. 2023, on people alone: what it knows of bodies is human, as with the ControlNets in use."""
    data, device = latents.data, latents.device
    unet.requires_grad_(False)
    text.requires_grad_(False)
    with seeded(seed + 2):
        control = models.controlnet(unet).to(device).requires_grad_(True)
    people = data.person.nonzero().flatten()

    def loss(generator: torch.Generator, _: int) -> torch.Tensor:
        index = people[torch.randint(len(people), (batch,), generator=generator)]
        noised, time, noise, ids = latents.batch(index, generator)
        condition = data.skeletons[part_of(index)].float().div(255).to(device)
        with torch.autocast(device, torch.bfloat16):
            words = text(ids)[0]
            down, middle = control(noised, time, words, condition, return_dict=False)
            predicted = unet(
                noised, time, words, down_block_additional_residuals=down, mid_block_additional_residual=middle
            ).sample
        return latents.loss(predicted, noise, time)

    fit("controlnet", control, loss, steps, 8e-4, work, seed + 2)
    return control.eval()
