"""Weights that train as they are, without a LoRA: Custom Diffusion's cross-attention keys and values."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.parts.adapters import is_adapted
from trainables.parts.swap import replace_module, swapped

KEYS_AND_VALUES = ("attn2.to_k", "attn2.to_v")


class FullLinear(nn.Module):
    """A linear layer whose weight is a trained copy, fp32 whatever the precision of the layer that it stands for.

    What it makes of the first token, which every caption has, teaches it nothing, as in the published method.
    """

    def __init__(self, stands_for: nn.Linear) -> None:
        super().__init__()
        self.stands_for = stands_for
        self.weight = nn.Parameter(stands_for.weight.detach().float().clone())
        self.scaling = {"default": 1.0}
        """How much of what training added is there; named as a LoRA's layers name theirs."""

    def forward(self, x: Tensor) -> Tensor:
        weight, before, scale = self.weight.to(x.dtype), self.stands_for.weight, self.scaling["default"]
        if scale != 1:
            weight = torch.lerp(before.to(x.dtype), weight, scale)
        first, rest = functional.linear(x, weight, self.stands_for.bias).split([1, x.shape[1] - 1], dim=1)
        return torch.cat([first.detach(), rest], dim=1)


@dataclass(frozen=True, eq=False)
class FullWeights:
    """The trained weights of one module."""

    module: nn.Module
    layers: dict[str, FullLinear]
    """By their name in the module, in the module's order."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All that trains: `NAME.weight` (out x in), fp32."""
        return {f"{name}.weight": layer.weight for name, layer in self.layers.items()}

    @property
    def deltas(self) -> dict[str, Tensor]:
        """What training added to the weight of each layer, fp32, by the layer's name."""
        return {n: layer.weight.detach() - layer.stands_for.weight.float() for n, layer in self.layers.items()}

    def dropping(self, seed: int, first: int = 0, of: int | None = None) -> AbstractContextManager[None]:
        """Nothing is dropped."""
        return nullcontext()

    @contextmanager
    def off(self) -> Iterator[None]:
        """Inside, the module is as it was before."""
        with swapped(self.module, {name: layer.stands_for for name, layer in self.layers.items()}):
            yield

    def remove(self) -> None:
        """Puts the very modules back that were there before."""
        for name, layer in self.layers.items():
            replace_module(self.module, name, layer.stands_for)


def train_keys_and_values(unet: nn.Module) -> FullWeights:
    """Puts trained copies in the place of the cross-attention's key and value weights (Kumari et al. 2023)."""
    if is_adapted(unet):
        raise ValueError("the module carries an adapter already: remove it first")
    found = {name: layer for name, layer in unet.named_modules() if name.endswith(KEYS_AND_VALUES)}
    layers = {name: FullLinear(layer) for name, layer in found.items()}
    for name, layer in layers.items():
        replace_module(unet, name, layer)
    return FullWeights(unet, layers)
