"""Judges of the real ones' layouts, with random weights, as small as they can be."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    VitPoseImageProcessor,
)

_TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_SEEING = {**_TOWER, "image_size": 32, "patch_size": 8}


def make_dinov2(folder: Path) -> Path:
    model = Dinov2Model(
        Dinov2Config(image_size=56, patch_size=14, hidden_size=32, num_hidden_layers=4, num_attention_heads=2)
    )
    processor = BitImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56})
    return _saved(folder, model, processor)


def make_clip(folder: Path, tokenizer: CLIPTokenizer | None = None) -> Path:
    text = {**_TOWER, "vocab_size": len(tokenizer) if tokenizer else 100, "max_position_embeddings": 16}
    if tokenizer:
        text |= {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
        text |= {"pad_token_id": tokenizer.pad_token_id}
        tokenizer.save_pretrained(folder)
    model = CLIPModel(CLIPConfig(vision_config={**_SEEING, "projection_dim": 16}, text_config=text, projection_dim=16))
    size = {"height": 32, "width": 32}
    return _saved(folder, model, CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size))


def make_siglip(folder: Path) -> Path:
    model = SiglipModel(SiglipConfig(vision_config=_SEEING, text_config={**_TOWER, "vocab_size": 100}))
    return _saved(folder, model, SiglipImageProcessor(size={"height": 32, "width": 32}))


def make_siglip2(folder: Path) -> Path:
    seeing = {**_TOWER, "num_patches": 16, "patch_size": 8}
    model = Siglip2Model(Siglip2Config(vision_config=seeing, text_config={**_TOWER, "vocab_size": 100}))
    return _saved(folder, model, Siglip2ImageProcessor(max_num_patches=16, patch_size=8))


def make_vitpose(folder: Path, joints: int = 17, experts: int = 1) -> Path:
    backbone = VitPoseBackboneConfig(
        image_size=[64, 48], patch_size=[16, 16], hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_experts=experts, part_features=8 if experts > 1 else 0, out_indices=[2],
    )  # fmt: skip
    model = VitPoseForPoseEstimation(
        VitPoseConfig(backbone_config=backbone, num_labels=joints, use_simple_decoder=True)
    )
    return _saved(folder, model, VitPoseImageProcessor(size={"height": 64, "width": 48}))


MAKERS: dict[str, Callable[[Path], Path]] = {
    "dinov2": make_dinov2, "clip": make_clip, "siglip": make_siglip, "siglip2": make_siglip2,
}  # fmt: skip


def seeded(make: Callable[..., Path], *arguments: object) -> Path:
    """The same weights each time."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return make(*arguments)


def _saved(folder: Path, model: torch.nn.Module, processor: object) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
