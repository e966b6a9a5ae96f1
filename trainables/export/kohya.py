"""An adapter as kohya's trainer writes it, which ComfyUI, A1111 and diffusers read."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file
from torch import Tensor, nn

from trainables.base import Base
from trainables.export.files import (
    CONTROLNET,
    TOKEN,
    WEIGHTS,
    Exported,
    MadeFrom,
    read_made_from,
    read_weights,
    refuse_schedule,
)
from trainables.export.lora import TEXT_MODEL, Lora, full_rank, read_loras
from trainables.export.saved import load_adapter
from trainables.generate import lora_scaled

PREFIXES = {"unet": "lora_unet_", "text_encoder": f"lora_te_{TEXT_MODEL}"}


def write_kohya(
    base: Base, adapter: Path, out: Path, name: str, half: bool = False, lora_scale: float = 1.0
) -> Exported:
    """`NAME.safetensors`, the token's vectors as `TOKEN.safetensors`, `NAME-controlnet.safetensors`.

    These programs know neither rank-stabilised scales nor our DoRA, and no LoRA for a ControlNet. So the scale is said
    by alpha; what a DoRA changes is a LoRA of full rank, since each program divides `dora_scale` by another norm; and
    the ControlNet is written whole, its LoRA merged in. `base` is one that nothing else uses: it is changed for good.
    """
    made_from, dtype = read_made_from(adapter), torch.float16 if half else torch.float32
    refuse_schedule(made_from, "a file of kohya's")
    load_adapter(base, adapter)
    lora = token = controlnet = None
    if WEIGHTS in made_from.files:
        lora = f"{name}.safetensors"
        loras = {
            part: _without_dora(own, getattr(base, part), lora_scale) if own.dora else own.scaled(lora_scale)
            for part, own in read_loras(adapter / WEIGHTS).items()
        }
        tensors = {key: value for part in loras for key, value in kohya_keys(part, loras[part], dtype).items()}
        save_file(tensors, out / lora, _metadata(made_from, loras, name))
    if TOKEN in made_from.files:
        token = f"{made_from.token}.safetensors"
        (vectors,) = read_weights(adapter / TOKEN)[0].values()
        save_file({"emb_params": vectors.reshape(-1, vectors.shape[-1]).to(dtype)}, out / token)
    if CONTROLNET in made_from.files:
        controlnet = f"{name}-controlnet.safetensors"
        save_file(_merged_tensors(base.controlnet, dtype), out / controlnet)
    return Exported(lora, token, controlnet)


def kohya_keys(part: str, lora: Lora, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The tensors of one module's LoRA by kohya's names: down and up of each layer, and alpha.

    One alpha for all layers, as kohya's trainer has it: diffusers does not find an alpha of a layer's own. Where
    layers differ in alpha / rank, up takes the difference.
    """
    rank = max(lora.weights[f"{layer}.lora_A.weight"].shape[0] for layer in lora.layers)
    alpha = lora.scale(lora.layers[0]) * rank
    tensors = {}
    for layer in lora.layers:
        down, up = lora.weights[f"{layer}.lora_A.weight"], lora.weights[f"{layer}.lora_B.weight"]
        key = (PREFIXES[part] + layer).replace(".", "_")
        tensors[f"{key}.lora_down.weight"] = down.to(dtype)
        tensors[f"{key}.lora_up.weight"] = (up * (lora.scale(layer) * down.shape[0] / alpha)).to(dtype)
        tensors[f"{key}.alpha"] = torch.tensor(float(alpha))
    return tensors


def _without_dora(lora: Lora, module: nn.Module, lora_scale: float) -> Lora:
    """A DoRA (Liu et al. 2024) as a LoRA that adds the same to the weights of `module`, which wears it."""
    deltas = {}
    with lora_scaled(module, lora_scale):
        for name in lora.layers:
            layer = module.get_submodule(name)
            before = layer.get_base_layer().weight.detach().float().cpu().clone()
            layer.merge()
            deltas[name] = layer.get_base_layer().weight.detach().float().cpu() - before
    return full_rank(deltas)


def _metadata(made_from: MadeFrom, loras: Mapping[str, Lora], name: str) -> dict[str, str]:
    """What kohya's trainer writes and other programs show: they look the trigger words up in `ss_tag_frequency`."""
    recipe, lora = made_from.recipe, next(iter(loras.values()))
    words = f"{made_from.token} {made_from.class_noun}"
    said = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": max(lora.weights[f"{layer}.lora_A.weight"].shape[0] for layer in lora.layers),
        "ss_network_alpha": lora.config["lora_alpha"],
        "ss_output_name": name,
        "ss_sd_model_name": made_from.base,
        "ss_base_model_version": "sd_v1",
        "ss_v2": False,
        "ss_steps": made_from.steps,
        "ss_seed": made_from.seed,
        "ss_unet_lr": recipe.learning_rate,
        "ss_text_encoder_lr": recipe.text_encoder_learning_rate,
        "ss_network_dropout": recipe.dropout,
        "ss_caption_dropout_rate": recipe.caption_dropout,
        "ss_min_snr_gamma": recipe.min_snr_gamma,
        "ss_prior_loss_weight": recipe.prior_weight,
        "ss_training_comment": json.dumps(recipe.flat()),
        "ss_tag_frequency": json.dumps({made_from.token: {words: 1}}),
        "modelspec.title": name,
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.trigger_phrase": words,
    }
    return {key: str(value) for key, value in said.items()}


def _merged_tensors(controlnet: ControlNetModel, dtype: torch.dtype) -> dict[str, Tensor]:
    controlnet.fuse_lora()
    controlnet.unload_lora()
    return {key: value.to("cpu", dtype).contiguous() for key, value in controlnet.state_dict().items()}
