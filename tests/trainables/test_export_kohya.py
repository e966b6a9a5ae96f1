"""Files of kohya's form, read by the arithmetic of the programs that they are for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from spaces import Recipe
from trainables.base import Base
from trainables.export import Exported, save_adapter, write_kohya
from trainables.export.kohya import kohya_keys
from trainables.export.lora import Lora
from trainables.finetune import FineTune
from trainables.parts.adapters import TEXT_ENCODER_TARGETS, UNET_TARGETS
from trainables.parts.full import FullLinear
from trainables.subject import Subject

PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}
FAST = {"rank": 4, "learning_rate": 1e-2, "text_encoder": "lora", "text_encoder_rank": 2}
RECIPES = {
    "lora": Recipe(**FAST, alpha=10, text_encoder_alpha=3),
    "rslora": Recipe(**FAST, adapter="rslora", alpha=8),
    "dora": Recipe(**FAST, adapter="dora", targets="transformer", alpha=2),
    "pissa": Recipe(**FAST, adapter="rslora", init="pissa", alpha=2),
    "full-kv": Recipe(unet="full-kv", learning_rate=1e-2),
}


@pytest.fixture(scope="module", params=RECIPES)
def written(
    request: pytest.FixtureRequest, tiny_base: Path, tiny_subject: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FineTune, Path]]:
    """A fine-tune that wears its adapters, and the file."""
    folder = tmp_path_factory.mktemp("kohya")
    tune = FineTune(Base.load(tiny_base), Subject.load(tiny_subject), RECIPES[request.param], seed=0)
    tune.advance(3)
    save_adapter(tune, folder / "adapter")
    files = write_kohya(Base.load(tiny_base), folder / "adapter", folder, "mine")
    assert files == Exported(lora="mine.safetensors")
    yield tune, folder / "mine.safetensors"
    tune.remove()


def linear_map(layer: nn.Module) -> Tensor:
    """out x in (x 1 x 1): what the layer, with all that it wears, does to the unit vectors, less what it does to 0."""
    bare = layer.stands_for if isinstance(layer, FullLinear) else layer.get_base_layer()
    width = bare.weight.shape[1]
    units = torch.eye(width) if bare.weight.ndim == 2 else torch.eye(width)[..., None, None]
    units = units[:, None] if bare.weight.ndim == 2 else units  # one token each: DoRA's own reading has two dimensions
    with torch.no_grad():
        columns = layer(units) - layer(torch.zeros_like(units[:1]))
    return columns.reshape(width, -1).T.reshape(bare.weight.shape)


def test_weight_plus_alpha_by_rank_up_down_is_the_trained_weight(written: tuple[FineTune, Path], tiny_base) -> None:
    tune, path = written
    tensors, read = load_file(path), 0
    bare = Base.load(tiny_base)
    for part, prefix in PREFIXES.items():
        for name, layer in getattr(bare, part).named_modules():
            key = prefix + name.replace(".", "_")
            if f"{key}.alpha" not in tensors:
                continue
            up, down = tensors[f"{key}.lora_up.weight"], tensors[f"{key}.lora_down.weight"]
            scale = tensors[f"{key}.alpha"].item() / down.shape[0]
            delta = (up.flatten(1) @ down.flatten(1)).reshape(layer.weight.shape)
            trained = linear_map(getattr(tune.base, part).get_submodule(name))
            assert torch.allclose(layer.weight + scale * delta, trained, atol=1e-5)
            assert not torch.allclose(layer.weight, trained, atol=1e-4)
            read += 3
    assert read == len(tensors) > 0


def test_the_metadata_says_what_it_is(written: tuple[FineTune, Path]) -> None:
    with safe_open(written[1], "pt") as file:
        metadata = file.metadata()
    assert metadata["ss_network_module"] == "networks.lora" and metadata["ss_output_name"] == "mine"
    assert metadata["ss_tag_frequency"] == '{"sks": {"sks robot": 1}}'
    assert (metadata["ss_steps"], metadata["ss_seed"]) == ("3", "0")


def test_the_names_are_those_of_stable_diffusion_1_5() -> None:
    """For its own layout, without memory for its weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)
        text_encoder = CLIPTextModel(CLIPTextConfig(hidden_size=768, num_hidden_layers=12))
    targets = {"unet": (unet, UNET_TARGETS["transformer"]), "text_encoder": (text_encoder, TEXT_ENCODER_TARGETS)}
    names = {key for part, (module, ends) in targets.items() for key in kohya_keys(part, rank_one(module, ends))}
    assert len(names) == 3 * (192 + 48)
    attention = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_"
    assert {
        f"{attention}q.lora_down.weight", f"{attention}k.lora_up.weight", f"{attention}out_0.alpha",
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj.lora_up.weight",
        "lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_ff_net_2.alpha",
        "lora_unet_up_blocks_1_attentions_0_proj_in.lora_down.weight",
        "lora_te_text_model_encoder_layers_11_self_attn_out_proj.lora_up.weight",
    } <= names  # fmt: skip


def rank_one(module: nn.Module, ends: tuple[str, ...]) -> Lora:
    """A LoRA of zeros on the layers whose names end so."""
    weights = {}
    for name, layer in module.named_modules():
        if name.endswith(ends):
            out, into = layer.weight.shape[:2]
            weights |= {f"{name}.lora_A.weight": torch.zeros(1, into), f"{name}.lora_B.weight": torch.zeros(out, 1)}
    return Lora({"lora_alpha": 1.0}, weights)
