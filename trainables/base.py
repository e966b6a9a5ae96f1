"""The frozen models that every trial starts from, in the diffusers folder layout, by safetensors alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    ModelMixin,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from spaces import InputError
from trainables import hub
from trainables.fingerprint import fingerprint
from trainables.machine.device import DTYPES, Precision, device_named, precision_of

_CHUNK = 2**20
"""Pixels that go through the VAE at once: four pictures of 512 x 512."""
Model = TypeVar("Model", bound=PreTrainedModel | ModelMixin)
Loaded = TypeVar("Loaded")


@dataclass(frozen=True, eq=False)
class Base:
    """Frozen models: in evaluation mode, and no parameter takes a gradient."""

    source: str
    device: torch.device
    precision: Precision
    """Of the weights. What trains on top is fp32 all the same."""
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    schedule: DDPMScheduler
    controlnet: ControlNetModel
    fingerprint: str
    """Of all configs and weights: equal for equal files; the commits where the models are the hub's."""
    folder: Path
    """Where it was read from: judges that ship with a base are beside its models."""

    @classmethod
    def load(
        cls,
        source: str | Path,
        controlnet: str | Path | None = None,
        device: str = "cpu",
        precision: Precision | Literal["auto"] = "fp32",
    ) -> "Base":
        """The base in a folder or of a hub id, or `puppets`, the one that is shipped.

        The ControlNet is the base's `controlnet/` unless another folder or hub id is named. A `device` of `auto` is
        CUDA where there is one, else the CPU; a precision of `auto` is what the device is best at (`precision_of`).
        Weights are safetensors, whole or in shards, of the plain name or, where there are no others, of the fp16
        variant. InputError when a folder, a component or its safetensors are missing, broken or of another layout.
        """
        place = device_named(device)
        settled = precision_of(precision, place)
        parts = hub.BASE if controlnet else hub.WITH_CONTROLNET
        folder = hub.find(source, parts)
        control = hub.find(controlnet, hub.CONTROLNET) if controlnet else folder / "controlnet"
        model = partial(_model, place=place, dtype=DTYPES[settled])
        base = cls(
            str(source), place, settled,
            unet=model(UNet2DConditionModel, folder / "unet"),
            vae=model(AutoencoderKL, folder / "vae"),
            text_encoder=model(CLIPTextModel, folder / "text_encoder"),
            tokenizer=_load(folder / "tokenizer", lambda: CLIPTokenizer.from_pretrained(folder / "tokenizer")),
            schedule=_schedule(folder / "scheduler"),
            controlnet=model(ControlNetModel, control),
            fingerprint=fingerprint(folder, control),
            folder=folder,
        )  # fmt: skip
        _check_fit(base, folder, control)
        longest = base.text_encoder.config.max_position_embeddings
        base.tokenizer.model_max_length = min(base.tokenizer.model_max_length, longest)
        return base

    @property
    def dtype(self) -> torch.dtype:
        return DTYPES[self.precision]

    @property
    def size(self) -> int:
        """Side of the pictures that it was trained on, in pixels."""
        return self.unet.config.sample_size * 2 ** (len(self.vae.config.block_out_channels) - 1)

    def pipeline(self) -> StableDiffusionControlNetPipeline:
        """Generation by these very modules, adapters included, with DPM-Solver++ (Lu et al. 2022)."""
        made = StableDiffusionControlNetPipeline(
            **self.components(), controlnet=self.controlnet, feature_extractor=None, requires_safety_checker=False
        )
        made.set_progress_bar_config(disable=True)
        return made

    def components(self) -> dict[str, object]:
        """What any Stable Diffusion pipeline is made of, with a new sampler."""
        sampler = DPMSolverMultistepScheduler.from_config(self.schedule.config, algorithm_type="dpmsolver++")
        return {
            "vae": self.vae, "text_encoder": self.text_encoder, "tokenizer": self.tokenizer, "unet": self.unet,
            "scheduler": sampler, "safety_checker": None,
        }  # fmt: skip

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """n x tokens ids of n captions, padded to the text encoder's length, cut there if longer."""
        return self.tokenizer(
            list(captions), padding="max_length", max_length=self.tokenizer.model_max_length, truncation=True,
            return_tensors="pt",
        ).input_ids.to(self.device)  # fmt: skip

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """n x tokens x width embeddings; gradients flow to whatever trains in the text encoder."""
        return self.text_encoder(tokens)[0]

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """n x tokens x width embeddings of n captions, as the UNet takes them."""
        return self.encode_tokens(self.tokens(captions))

    @torch.no_grad()
    def latent_distribution(self, pixels: np.ndarray) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the VAE's posterior for n x h x w x 3 uint8 pictures, scaled as the UNet takes them.

        Both n x channels x height x width, fp32, on the CPU.
        """
        means, deviations = [], []
        for chunk in torch.from_numpy(pixels).split(max(1, _CHUNK // (pixels.shape[1] * pixels.shape[2]))):
            pictures = (chunk.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1).to(self.dtype)
            posterior = self.vae.encode(pictures).latent_dist
            means.append(posterior.mean.float().cpu())
            deviations.append(posterior.std.float().cpu())
        scale, shift = self.vae.config.scaling_factor, self.vae.config.get("shift_factor") or 0.0
        return ((torch.cat(means) - shift) * scale).contiguous(), (torch.cat(deviations) * scale).contiguous()


def _model(kind: type[Model], path: Path, place: torch.device, dtype: torch.dtype) -> Model:
    """A network from config and safetensors, with every weight that the config asks for."""
    variant = hub.weight_variant((file.name for file in path.iterdir()), path)

    def read() -> tuple[Model, dict[str, Sequence[str]]]:
        return kind.from_pretrained(
            path, use_safetensors=True, torch_dtype=dtype, variant=variant, output_loading_info=True
        )

    model, report = _load(path, read)
    lacking = sorted(report["missing_keys"])
    if lacking:  # they would be random
        raise InputError(path, f"cannot be loaded: its safetensors lack {len(lacking)} weights, such as {lacking[0]}")
    return model.to(place).eval().requires_grad_(False)


def _schedule(path: Path) -> DDPMScheduler:
    """The schedule that the model was trained with, whatever sampler the folder names."""
    schedule = _load(path, lambda: DDPMScheduler.from_config(DDPMScheduler.load_config(path)))
    predicts = schedule.config.prediction_type
    if predicts not in ("epsilon", "v_prediction"):
        where = path / "scheduler_config.json"
        raise InputError(where, f"prediction_type: {predicts!r} should be epsilon or v_prediction")
    return schedule


def _check_fit(base: Base, folder: Path, control: Path) -> None:
    """Parts that load one by one may not belong together: an inpainting or SDXL UNet, another model's ControlNet."""
    unet, width = base.unet.config, base.text_encoder.config.hidden_size
    if unet.in_channels != base.vae.config.latent_channels:
        hint = "an inpainting model's?" if unet.in_channels == 9 else "it should be of the same model"
        raise InputError(
            folder / "unet",
            f"takes {unet.in_channels} channels, the VAE gives {base.vae.config.latent_channels}; {hint}",
        )
    if unet.addition_embed_type is not None or unet.cross_attention_dim != width:
        raise InputError(
            folder / "unet",
            f"takes text of width {unet.cross_attention_dim} ({unet.addition_embed_type or 'nothing'} beside), "
            f"the text encoder gives {width}; it should be a Stable Diffusion 1 or 2",
        )
    pose = base.controlnet.config
    for field in ("block_out_channels", "cross_attention_dim", "layers_per_block"):
        if pose[field] != unet[field]:
            hint = f"the UNet's is {unet[field]}; take a ControlNet for this base"
            raise InputError(control / "config.json", f"{field}: {pose[field]} does not fit, {hint}")


def _load(path: Path, read: Callable[[], Loaded]) -> Loaded:
    try:
        with without_progress_bars():
            return read()
    except InputError:
        raise
    except Exception as error:  # whatever the insides of the libraries make of a broken config or file
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(path, f"cannot be loaded from config and safetensors ({reason})") from None


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Loading takes a moment; a bar for each component is noise."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
