"""The frozen models that every trial starts from, in the diffusers folder layout, by safetensors alone."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from spaces import InputError

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SHIPPED = {"puppets": Path(__file__).parent / "puppets" / "base"}
_COMPONENTS = {
    "unet": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "tokenizer": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
}
"""What a base's folder must have, and the file that tells it is there."""
_WEIGHTS = ("diffusion_pytorch_model", "model")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CHUNK = 8
"""Pictures that go through the VAE at once."""
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
        precision: Precision = "fp32",
    ) -> "Base":
        """The base in a folder or of a hub id, or `puppets`, the one that is shipped.

        The ControlNet is the base's `controlnet/` unless another folder or hub id is named. `auto` is CUDA where there
        is one, else the CPU. InputError when a folder, a component or its safetensors are missing or broken.
        """
        folder = _resolve(source, tuple(_COMPONENTS) if controlnet else (*_COMPONENTS, "controlnet"))
        control = _resolve(controlnet, ()) if controlnet else folder / "controlnet"
        _check_complete(folder, control)
        place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        dtype = DTYPES[precision]

        def model(kind: type[Loaded], path: Path) -> Loaded:
            loaded = _load(path, lambda: kind.from_pretrained(path, use_safetensors=True, torch_dtype=dtype))
            return loaded.to(place).eval().requires_grad_(False)

        schedule = _load(
            folder / "scheduler", lambda: DDPMScheduler.from_config(DDPMScheduler.load_config(folder / "scheduler"))
        )
        if schedule.config.prediction_type not in ("epsilon", "v_prediction"):
            raise InputError(
                folder / "scheduler" / "scheduler_config.json",
                f"prediction_type: {schedule.config.prediction_type!r} should be epsilon or v_prediction",
            )
        return cls(
            str(source), place, precision,
            unet=model(UNet2DConditionModel, folder / "unet"),
            vae=model(AutoencoderKL, folder / "vae"),
            text_encoder=model(CLIPTextModel, folder / "text_encoder"),
            tokenizer=_load(folder / "tokenizer", lambda: CLIPTokenizer.from_pretrained(folder / "tokenizer")),
            schedule=schedule,
            controlnet=model(ControlNetModel, control),
            fingerprint=_fingerprint(folder, control),
            folder=folder,
        )  # fmt: skip

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
        for chunk in torch.from_numpy(pixels).split(_CHUNK):
            pictures = (chunk.to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1).to(self.dtype)
            posterior = self.vae.encode(pictures).latent_dist
            means.append(posterior.mean.float().cpu())
            deviations.append(posterior.std.float().cpu())
        scale, shift = self.vae.config.scaling_factor, self.vae.config.get("shift_factor") or 0.0
        return ((torch.cat(means) - shift) * scale).contiguous(), (torch.cat(deviations) * scale).contiguous()


def _resolve(source: str | Path, components: Sequence[str]) -> Path:
    """The folder of a shipped name, a folder or a hub id; what the hub holds is downloaded, by safetensors alone."""
    folder = SHIPPED.get(str(source), Path(source))
    if folder.is_dir():
        return folder
    if not _HUB_ID.fullmatch(str(source)):
        raise InputError(source, "is neither a folder with a base in the diffusers layout nor a hub id nor `puppets`")
    weights = [f"{name}{shard}" for name in _WEIGHTS for shard in (".safetensors", "-*-of-*.safetensors")]
    wanted = [f"{part}/{file}" for part in components for file in ("*.json", "*.txt", *weights)]
    try:
        return Path(snapshot_download(str(source), allow_patterns=wanted or ["*.json", *weights]))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(source, f"is not a folder, and the hub does not give it ({reason})") from None


def _check_complete(folder: Path, control: Path) -> None:
    for part, file in _COMPONENTS.items():
        if not (folder / part / file).is_file():
            raise InputError(folder, f"has no {part}/{file}; a base has {', '.join(_COMPONENTS)}")
    if not (control / "config.json").is_file():
        raise InputError(control, "has no ControlNet (config.json and safetensors); name one with --controlnet")


def _load(path: Path, read: Callable[[], Loaded]) -> Loaded:
    try:
        with without_progress_bars():
            return read()
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
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


def _fingerprint(folder: Path, control: Path) -> str:
    """16 hex digits over the names and contents of all that was read; a hub snapshot stands for its contents."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (*(folder / name for name in _COMPONENTS), control):
        snapshot = next((parent.name for parent in part.parents if parent.parent.name == "snapshots"), None)
        if snapshot is not None:
            digest.update(f"{part.name} {snapshot}".encode())
            continue
        for file in sorted(part.iterdir()):
            if file.suffix in (".json", ".txt", ".safetensors"):
                digest.update(f"{part.name if part != control else 'controlnet'}/{file.name}".encode())
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()
