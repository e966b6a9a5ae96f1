"""Whether what a file of LoRA weights says of itself is true: loaders build whatever it asks for."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from peft import LoraConfig
from torch import Tensor

from spaces import InputError

_PARTS = (".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector")
_OURS = {"r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules", "use_rslora", "use_dora"}
"""PEFT's settings that an adapter of ours may choose; `peft_version` is any text."""


def check_lora(config: Mapping[str, Any], weights: Mapping[str, Tensor], where: object) -> None:
    """InputError names the setting or tensor that cannot be.

    Ranks are those of the tensors, so that nothing larger than the file is built; layers are named plainly, not by
    patterns, which could take for ever to match; and every other setting is PEFT's default, since some of them import
    modules, read files or compute for minutes.
    """
    layers = _layers(weights, where)
    for name, value in config.items():
        if name not in _OURS | {"peft_version"} and (name not in _defaults() or value != _defaults()[name]):
            raise InputError(where, f"{name}: {value!r:.80} is not right, it should be left as PEFT has it")
    if not isinstance(config.get("peft_version", ""), str | None):
        raise InputError(where, f"peft_version: {config['peft_version']!r:.80} should be text")
    for name in ("use_rslora", "use_dora"):
        if not isinstance(config.get(name, False), bool):
            raise InputError(where, f"{name}: {config[name]!r:.80} should be true or false")
    targets = config.get("target_modules")
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise InputError(where, f"target_modules: {targets!r:.80} should be a list of layers")
    ranks, alphas = (_by_layer(config.get(name) or {}, layers, f"{where}: {name}") for name in _PATTERNS)
    for layer, rank in layers.items():
        said = ranks.get(layer, config.get("r"))
        if type(said) is not int or said != rank:
            raise InputError(where, f"r: {said!r:.80} should be {rank}, the rank of {layer}")
        alpha = alphas.get(layer, config.get("lora_alpha"))
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 <= alpha < 1e9:
            raise InputError(where, f"lora_alpha: {alpha!r:.80} should be a number from 0")


_PATTERNS = ("rank_pattern", "alpha_pattern")


@cache
def _defaults() -> dict[str, Any]:
    """As JSON has them."""
    values = LoraConfig().to_dict()
    return values | {"peft_type": "LORA"}


def _layers(weights: Mapping[str, Tensor], where: object) -> dict[str, int]:
    """The rank of each layer."""
    layers: dict[str, int] = {}
    for name, value in weights.items():
        layer, part = next(((name.removesuffix(end), end) for end in _PARTS if name.endswith(end)), ("", ""))
        if not layer or not value.is_floating_point() or not value.numel():
            raise InputError(where, f"{name:.120} is no tensor of a LoRA")
        if part != _PARTS[2] and value.ndim not in (2, 4):
            raise InputError(where, f"{name:.120} has {value.ndim} dimensions, it should have 2 or 4")
        if part == _PARTS[0]:
            layers[layer] = value.shape[0]
    for layer, rank in layers.items():
        up = weights.get(f"{layer}{_PARTS[1]}")
        if up is None or up.shape[1] != rank:
            raise InputError(where, f"{layer}.lora_B.weight should be there, of rank {rank} as lora_A")
    known = {layer + end for layer in layers for end in _PARTS}
    loose = [name for name in weights if name not in known]
    if not layers or loose:
        raise InputError(where, f"{loose[0] if loose else 'lora_A.weight'} lacks its lora_A, or all are missing")
    return layers


def _by_layer(pattern: Any, layers: Mapping[str, int], where: str) -> dict[str, Any]:
    """A setting of single layers, which are named as they are, or with ^ before."""
    if not isinstance(pattern, dict):
        raise InputError(where, f"{pattern!r:.80} should map layers to numbers")
    found = {str(name).removeprefix("^"): value for name, value in pattern.items()}
    unknown = [name for name in found if name not in layers]
    if unknown:
        raise InputError(where, f"{unknown[0]!r:.80} is no layer of the file")
    if not all(type(value) in (int, float) and math.isfinite(value) for value in found.values()):
        raise InputError(where, "should map layers to numbers")
    return found
