"""What was trained in one module, as a LoRA that every loader of diffusers and PEFT understands."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.utils.other import get_pattern_key
from safetensors.torch import save_file
from torch import Tensor

from spaces import InputError
from spaces.text import parse_json
from trainables.export.files import METADATA, read_weights
from trainables.export.lora_check import check_lora
from trainables.parts.adapters import Adapter
from trainables.parts.full import FullWeights

TEXT_MODEL = "text_model."
"""Prefix of the text encoder's layers before transformers flattened CLIPTextModel: every loader knows the names
with it."""
_DORA = "lora_magnitude_vector"


@dataclass(frozen=True, eq=False)
class Lora:
    """The LoRA of one module."""

    config: dict[str, Any]
    """PEFT's configuration. A loader without it takes alpha for rank, and so gets the scale wrong."""
    weights: dict[str, Tensor]
    """`LAYER.lora_A.weight` (rank x in), `LAYER.lora_B.weight` (out x rank), DoRA's `LAYER.lora_magnitude_vector`."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The adapted layers' names."""
        return tuple(name.removesuffix(".lora_A.weight") for name in self.weights if name.endswith(".lora_A.weight"))

    @property
    def dora(self) -> bool:
        return bool(self.config.get("use_dora"))

    def scale(self, layer: str) -> float:
        """What the layer multiplies B A with: alpha / rank, or alpha / sqrt(rank) in a rank-stabilised LoRA."""
        rank, alphas = self.weights[f"{layer}.lora_A.weight"].shape[0], self.config.get("alpha_pattern") or {}
        alpha = alphas.get(get_pattern_key(list(alphas), layer), self.config["lora_alpha"])
        return alpha / (rank**0.5 if self.config.get("use_rslora") else rank)

    def scaled(self, factor: float) -> "Lora":
        """One that adds `factor` times as much."""
        alphas = {name: alpha * factor for name, alpha in (self.config.get("alpha_pattern") or {}).items()}
        changed = {"lora_alpha": self.config["lora_alpha"] * factor, "alpha_pattern": alphas}
        return Lora(self.config | changed, self.weights)


def plain_lora(part: Adapter | FullWeights) -> Lora:
    """What a part trained as a LoRA that adds the same to the base's own weights.

    First values that changed these weights (PiSSA's) are subtracted by as many components again; full weights become
    a LoRA of full rank.
    """
    if isinstance(part, FullWeights):
        return full_rank({name: delta.cpu() for name, delta in part.deltas.items()})
    lora = Lora(_for_drawing(part.config), {name: p.detach().cpu().contiguous() for name, p in part.parameters.items()})
    return _less_first_values(lora, part.first) if part.first else lora


def _less_first_values(lora: Lora, first: Mapping[str, Tensor]) -> Lora:
    """B A - first B first A, by twice the rank and the same scale."""
    rank, scale, weights = lora.config["r"], lora.scale(lora.layers[0]), dict(lora.weights)
    for layer in lora.layers:
        down, up = f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"
        weights[down] = torch.cat([lora.weights[down], first[down].cpu()])
        weights[up] = torch.cat([lora.weights[up], -first[up].cpu()], dim=1)
    return Lora(lora.config | {"r": 2 * rank, "lora_alpha": 2 * rank * scale, "use_rslora": False}, weights)


def write_loras(path: Path, loras: Mapping[str, Lora]) -> None:
    """One safetensors file of the LoRA of several modules, with PEFT's configurations as diffusers keeps them."""
    weights, metadata = {}, {}
    for part, lora in loras.items():
        for name, value in lora.weights.items():
            weights[f"{part}.{_of_text_encoder(name) if part == 'text_encoder' else name}"] = value
        metadata |= {f"{part}.{name}": sorted(v) if isinstance(v, set) else v for name, v in lora.config.items()}
    save_file(weights, path, {"format": "pt", METADATA: json.dumps(metadata, sort_keys=True)})


def read_loras(path: Path) -> dict[str, Lora]:
    """What `write_loras` wrote, by module. InputError where the settings are not of such weights."""
    weights, metadata = read_weights(path)
    if METADATA not in metadata:
        raise InputError(path, f"has no {METADATA} in its metadata, without which its scale is unknown")
    settings = parse_json(metadata[METADATA], f"{path}: {METADATA}")
    if not isinstance(settings, dict):
        raise InputError(path, f"{METADATA}: should map PEFT's settings to values")
    loras = {}
    for part in dict.fromkeys(name.partition(".")[0] for name in weights):
        prefix = f"{part}."
        config = {name.removeprefix(prefix): v for name, v in settings.items() if name.startswith(prefix)}
        mine = {name.removeprefix(prefix): v for name, v in weights.items() if name.startswith(prefix)}
        if part == "text_encoder":
            mine = {name.removeprefix(TEXT_MODEL).replace(f"{_DORA}.weight", _DORA): v for name, v in mine.items()}
        check_lora(config, mine, f"{path}: {part}")
        loras[part] = Lora(config, mine)
    return loras


def _of_text_encoder(name: str) -> str:
    """As transformers reads it, who finds DoRA's magnitude by another name than PEFT saves it under."""
    return TEXT_MODEL + name.removeprefix(TEXT_MODEL).replace(_DORA, f"{_DORA}.weight")


def full_rank(deltas: Mapping[str, Tensor]) -> Lora:
    """The LoRA that adds just these to the weights of layers: B A is a delta to the bit, since A or B is the identity.

    Out x in of linear layers, or out x in x 1 x 1 of convolutions that are such; each gets the smaller as its rank.
    """
    weights, ranks = {}, {}
    for layer, delta in deltas.items():
        out, into = delta.shape[:2]
        ranks[f"^{layer}"] = rank = min(out, into)
        identity = torch.eye(rank, dtype=delta.dtype).reshape(rank, rank, *delta.shape[2:])
        down, up = (delta, identity) if out < into else (identity, delta)
        weights |= {f"{layer}.lora_A.weight": down.contiguous(), f"{layer}.lora_B.weight": up.contiguous()}
    most = max(ranks.values())
    config = LoraConfig(
        r=most, lora_alpha=most, rank_pattern=ranks, alpha_pattern=dict(ranks), target_modules=list(deltas)
    )
    return Lora(_for_drawing(config), weights)


def _for_drawing(config: LoraConfig) -> dict[str, Any]:
    """Without what a loader would do anew: drop while drawing, or draw initial values and subtract them."""
    return config.to_dict() | {"lora_dropout": 0.0, "init_lora_weights": True}
