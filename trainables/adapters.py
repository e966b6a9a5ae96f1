"""LoRA adapters (Hu et al. 2021) on frozen modules: put on, drawn from a generator, and taken off without a trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from spaces import Recipe

ADAPTER = "default"
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_CROSS_ATTENTION = tuple(f"attn2.{name}" for name in _ATTENTION)
_ALL_ATTENTION = (*(f"attn1.{name}" for name in _ATTENTION), *_CROSS_ATTENTION)
UNET_TARGETS: dict[str, tuple[str, ...]] = {
    "cross-kv": ("attn2.to_k", "attn2.to_v"),
    "cross-attention": _CROSS_ATTENTION,
    "attention": _ALL_ATTENTION,
    "attention+ff": (*_ALL_ATTENTION, "ff.net.0.proj", "ff.net.2"),
}
"""How the names of the adapted layers end, by the recipe's targets."""
TEXT_ENCODER_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")


def unet_config(recipe: Recipe) -> LoraConfig:
    """PEFT's configuration of the recipe's LoRA in the UNet."""
    return _config(UNET_TARGETS[recipe.targets], recipe.rank, recipe.alpha, recipe.dropout)


def text_encoder_config(recipe: Recipe) -> LoraConfig | None:
    """That of the LoRA in the text encoder, None while it is frozen. Its scale, alpha / rank, is the UNet's."""
    if recipe.text_encoder == "frozen":
        return None
    rank = recipe.text_encoder_rank
    return _config(TEXT_ENCODER_TARGETS, rank, recipe.alpha * rank / recipe.rank, recipe.dropout)


def _config(targets: tuple[str, ...], rank: int, alpha: float, dropout: float) -> LoraConfig:
    return LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets), init_lora_weights="gaussian"
    )


class SeededDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose masks come from a generator of its own, not from torch's global one.

    Off until a step turns it on, so that pictures drawn between steps are drawn without it.
    """

    def __init__(self, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share, self.generator = share, generator
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = 1 - self.share
        drawn = torch.rand(x.shape, generator=self.generator, device=x.device)  # half the time of bernoulli_ on a CPU
        return x * (drawn < keep).to(x.dtype).div_(keep)


@dataclass(frozen=True, eq=False)
class Adapter:
    """The LoRA on one module."""

    module: nn.Module
    config: LoraConfig
    layers: dict[str, LoraLayer]
    """The layers that carry it, by their name in the module, in the module's order."""
    dropouts: tuple[SeededDropout, ...]
    """Empty without dropout."""
    dropout_generator: torch.Generator
    """On the module's device; `dropping` seeds it anew for each step."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All that trains, fp32: `NAME.lora_A.weight` (rank x in) and `NAME.lora_B.weight` (out x rank)."""
        return {
            f"{name}.lora_{side}.weight": getattr(layer, f"lora_{side}")[ADAPTER].weight
            for name, layer in self.layers.items()
            for side in "AB"
        }

    @contextmanager
    def dropping(self, seed: int) -> Iterator[None]:
        """Inside, the LoRA's dropout is on, with the masks that follow from `seed`."""
        self.dropout_generator.manual_seed(seed)
        for dropout in self.dropouts:
            dropout.training = True
        try:
            yield
        finally:
            for dropout in self.dropouts:
                dropout.training = False

    def remove(self) -> None:
        """Puts the very modules back that were there before."""
        for name, layer in self.layers.items():
            _replace(self.module, name, layer.get_base_layer())
        del self.module.peft_config


def attach(module: nn.Module, config: LoraConfig, generator: torch.Generator) -> Adapter:
    """Puts a LoRA on a frozen module: A drawn from the CPU `generator`, gaussian with deviation 1 / rank, and B zero.

    Its parameters are fp32, whatever the module's precision: in bf16, small steps of AdamW round to nothing.
    Raises ValueError when the module carries one already or has no layer that the config names.
    """
    if is_adapted(module):
        raise ValueError("the module carries an adapter already: remove it first")
    device = next(module.parameters()).device
    with torch.random.fork_rng([]):  # PEFT's own initial values, drawn anew below, come from the global generator
        inject_adapter_in_model(config, module, ADAPTER)
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLayer)}
    dropout_generator = torch.Generator(device)
    for layer in layers.values():
        a, b = layer.lora_A[ADAPTER].float(), layer.lora_B[ADAPTER].float()
        with torch.no_grad():
            a.weight.copy_(torch.randn(a.weight.shape, generator=generator) / config.r)
            b.weight.zero_()
        if config.lora_dropout:
            layer.lora_dropout[ADAPTER] = SeededDropout(config.lora_dropout, dropout_generator)
    dropouts = tuple(layer.lora_dropout[ADAPTER] for layer in layers.values() if config.lora_dropout)
    return Adapter(module, config, layers, dropouts, dropout_generator)


def is_adapted(module: nn.Module) -> bool:
    """Whether any layer carries a LoRA."""
    return any(isinstance(layer, LoraLayer) for layer in module.modules())


def _replace(module: nn.Module, name: str, child: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, child)
