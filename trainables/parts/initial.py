"""A LoRA's first values. PEFT draws them from torch's global generator; here they follow from one of their own."""

import math

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from spaces.recipe import Init


@torch.no_grad()
def initialise(layer: LoraLayer, adapter: str, kind: Init, generator: torch.Generator) -> Tensor | None:
    """Fills A (rank x in) and B (out x rank) of a layer; the weight that was there before if it had to change.

    `gaussian`: A normal with deviation 1 / rank, B zero, as diffusers' scripts have it. `kaiming`: A uniform within
    1 / sqrt(in), B zero (Hu et al. 2021). `orthogonal`: both random and B A = 0, by orthogonal halves.
    `pissa`: the weight's principal components, which the frozen weight loses (Meng et al. 2024, "PiSSA"). In all of
    them the layer does at first what it did before. The generator is on the CPU.
    """
    a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    rank, width, height = a.shape[0], a[0].numel(), b.shape[0]
    before = None
    if kind == "gaussian":
        first, second = torch.randn(a.shape, generator=generator) / rank, torch.zeros(b.shape)
    elif kind == "kaiming":
        bound = 1 / math.sqrt(width)
        first, second = (2 * torch.rand(a.shape, generator=generator) - 1) * bound, torch.zeros(b.shape)
    elif kind == "orthogonal":
        first, second = _orthogonal(rank, width, height, generator)
    else:
        before = layer.get_base_layer().weight
        first, second = _principal(before, rank, layer.scaling[adapter], generator)
        residual = before.float() - (layer.scaling[adapter] * second @ first).view_as(before)
        layer.get_base_layer().weight = nn.Parameter(residual.to(before.dtype), requires_grad=False)
    a.copy_(first.view_as(a))
    b.copy_(second.view_as(b))
    return before


def _orthogonal(rank: int, width: int, height: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A = R Q1 and B = S Q2 where the rows of Q1 and Q2 are orthogonal: B A' = 0. A lone component has a zero B."""
    basis, _ = torch.linalg.qr(torch.randn(rank, rank, generator=generator))
    inner, outer = basis[0::2], basis[1::2]
    first = inner.T @ torch.randn(len(inner), width, generator=generator) / 10
    second = torch.randn(height, len(outer), generator=generator) @ outer / 10
    return first, second


def _principal(weight: Tensor, rank: int, scale: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A and B with `scale` B A the weight's best approximation of that rank; components beyond its own rank are as
    kaiming's."""
    u, s, v = torch.linalg.svd(weight.float().flatten(1), full_matrices=False)
    own = min(rank, len(s))
    root = (s[:own] / scale).sqrt()
    spare = 2 * torch.rand(rank - own, v.shape[1], generator=generator) - 1
    first = torch.cat([root[:, None] * v[:own], spare.to(v) / math.sqrt(v.shape[1])])
    second = torch.cat([u[:, :own] * root, u.new_zeros(len(u), rank - own)], dim=1)
    return first, second
