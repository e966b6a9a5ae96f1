"""Stable Diffusion 1.5 without its weights: `python -m benchmarks.sd15 make --width 64 -o DIR`.

Random weights in the exact layout of the published model, at any width: the same blocks, heads, layers and tensor
names in a diffusers folder, old names of the VAE's attention and of the text encoder included, with SD 1.5's schedule
and a ControlNet beside. Width 320 is the true size. For tests and for throughput where the weights cannot be had;
pictures drawn with it are noise.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from diffusers import AutoencoderKL, ControlNetModel, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from spaces import InputError

TRUE_WIDTH = 320
_GROUPS = 32
"""Of the group norms; every width must be a multiple of it."""
_VOCABULARY, _LENGTH = 49_408, 77
WORDS = (
    "a", "an", "the", "of", "in", "on", "at", "with", "and", "photo", "picture", "close", "up", "zoomed", "out", "far",
    "away", "very", "small", "person", "woman", "man", "robot", "dog", "toy", "astronaut", "standing", "dancing",
    "sitting", "running", "beach", "snow", "meadow", "sand", "night", "city", "street", "forest", "white", "red",
    "blue", "background", "sks", "ktn", "pll", "ucd", "zwx", "olis",
)  # fmt: skip
"""Words of captions, and rare tokens, that are one row of the vocabulary; all else is spelled out."""


@dataclass(frozen=True)
class Layout:
    """The configurations of SD 1.5's four networks at a width, the channels of the UNet's outermost level."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    text_encoder: dict[str, Any]
    controlnet: dict[str, Any]

    @classmethod
    def of(cls, width: int, pixels: int = 512) -> "Layout":
        """Heads, layers and blocks are as published; channels scale with the width, the VAE's and the text encoder's as
        nearly as their groups and heads allow. InputError when the width is no multiple of 32 or the side in pixels is
        none of 64."""
        if width < _GROUPS or width % _GROUPS:
            raise InputError(
                "--width", f"{width} should be a multiple of {_GROUPS}, such as {TRUE_WIDTH}, the true one"
            )
        if pixels < 64 or pixels % 64:
            raise InputError("--size", f"{pixels} should be a multiple of 64, such as 512, the true one")
        share = width / TRUE_WIDTH
        head = max(2, 2 * round(32 * share))
        inner = max(1, round(4 * share)) * _GROUPS
        unet = {
            "sample_size": pixels // 8, "in_channels": 4, "out_channels": 4, "layers_per_block": 2,
            "block_out_channels": (width, 2 * width, 4 * width, 4 * width), "attention_head_dim": 8,
            "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            "cross_attention_dim": 12 * head, "norm_num_groups": _GROUPS,
        }  # fmt: skip
        vae = {
            "sample_size": pixels, "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 2,
            "block_out_channels": (inner, 2 * inner, 4 * inner, 4 * inner), "norm_num_groups": _GROUPS,
            "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
        }  # fmt: skip
        text_encoder = {
            "vocab_size": _VOCABULARY, "max_position_embeddings": _LENGTH, "hidden_size": 12 * head,
            "intermediate_size": 48 * head, "num_hidden_layers": 12, "num_attention_heads": 12,
            "projection_dim": 12 * head, "hidden_act": "quick_gelu",
            "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,  # as published, though the tokenizer's are others
        }  # fmt: skip
        controlnet = {
            name: unet[name] for name in unet if name not in ("sample_size", "out_channels", "up_block_types")
        }
        return cls(unet, vae, text_encoder, controlnet | {"conditioning_embedding_out_channels": (16, 32, 96, 256)})

    def build(self) -> dict[str, nn.Module]:
        """New networks by component: unet, vae, text_encoder, controlnet. Draws from torch's global generator."""
        return {
            "unet": UNet2DConditionModel(**self.unet),
            "vae": AutoencoderKL(**self.vae),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**self.text_encoder)),
            "controlnet": ControlNetModel(**self.controlnet),
        }


def make(folder: Path, width: int, pixels: int = 512, seed: int = 0, half: bool = False) -> Path:
    """Writes a model of SD 1.5's layout, the same for the same arguments; InputError when something is there."""
    layout = Layout.of(width, pixels)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(folder, "is not empty; name a new folder")
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        parts = layout.build()
        parts["controlnet"].load_state_dict(_shared(parts["unet"], parts["controlnet"]), strict=False)
        _wake(parts["controlnet"])
    kind = torch.float16 if half else torch.float32
    for name, model in parts.items():
        (folder / name).mkdir(parents=True)
        (model.config.save_pretrained if name == "text_encoder" else model.save_config)(folder / name)
        file = "model" if name == "text_encoder" else "diffusion_pytorch_model"
        tensors = {key: value.to(kind) for key, value in model.state_dict().items() if value.is_floating_point()}
        save_file(published(name, tensors), folder / name / f"{file}.safetensors", {"format": "pt"})
    _scheduler().save_config(folder / "scheduler")
    _save_tokenizer(folder / "tokenizer")
    _write(folder / "model_index.json", _INDEX)
    return folder


def published(component: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A component's tensors by the names that they have in SD 1.5's published files."""
    if component == "text_encoder":
        return {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in tensors.items()}
    if component == "vae":
        return {_old_attention(name): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def _old_attention(name: str) -> str:
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        name = name.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
    return name


def _shared(unet: nn.Module, controlnet: nn.Module) -> dict[str, Tensor]:
    """What a ControlNet starts with: the UNet's way down (Zhang et al. 2023)."""
    own = controlnet.state_dict().keys()
    return {name: tensor for name, tensor in unet.state_dict().items() if name in own}


def _wake(controlnet: ControlNetModel) -> None:
    """A new ControlNet's last layers are zero, so that it does nothing: not so here."""
    condition = controlnet.controlnet_cond_embedding.conv_out
    for layer in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block, condition):
        nn.init.normal_(layer.weight, std=0.02)


def _scheduler() -> PNDMScheduler:
    """As published; the schedule that SD 1.5 was trained with is in it."""
    return PNDMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip


_INDEX = {
    "_class_name": "StableDiffusionControlNetPipeline",
    "requires_safety_checker": False,
    "controlnet": ["diffusers", "ControlNetModel"],
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def _save_tokenizer(folder: Path) -> None:
    """CLIP's byte-pair encoding over WORDS, in the files that SD 1.5's tokenizer has, filled up to its vocabulary."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = _merges()
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *(a + b for a, b in merges)]
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    filling = [f"<|unused{number}|>" for number in range(_VOCABULARY - len(pieces) - len(special))]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, *filling, *special.values()])}
    named = {**special, "unk_token": special["eos_token"], "pad_token": special["eos_token"]}
    folder.mkdir()
    _write(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text(
        "\n".join(["#version: 0.2", *(f"{a} {b}" for a, b in merges), ""]), encoding="utf-8"
    )
    _write(folder / "special_tokens_map.json", named)
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": _LENGTH,
        "do_lower_case": True,
        "errors": "replace",
    }
    _write(folder / "tokenizer_config.json", settings | named)


def _merges() -> list[tuple[str, str]]:
    """Each word from its first letter on; the long ones first, since short ones would take them apart."""
    found: dict[tuple[str, str], None] = {}
    for word in sorted(WORDS, key=len, reverse=True):
        letters = [*word[:-1], f"{word[-1]}</w>"]
        for end in range(1, len(letters)):
            found["".join(letters[:end]), letters[end]] = None
    return list(found)


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")


app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def _commands() -> None:
    """Keeps `make` a name of its own."""


@app.command("make")
def _make(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    width: Annotated[int, typer.Option(help="Channels of the UNet's outermost level; 320 is the true size.")] = 64,
    size: Annotated[int, typer.Option(help="Side of its pictures in pixels; 512 is the true one.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights.")] = 0,
    half: Annotated[bool, typer.Option("--half", help="fp16 weights.")] = False,
) -> None:
    """Writes a diffusers folder with random weights."""
    try:
        make(output, width, size, seed, half)
    except InputError as error:
        raise SystemExit(str(error)) from None
    count = sum(path.stat().st_size for path in output.rglob("*.safetensors"))
    print(f"{output}: width {width}, {count / 1e6:,.0f} MB of random weights in the layout of Stable Diffusion 1.5")


if __name__ == "__main__":
    app()
