"""LoRA adapters (Hu et al. 2021) on frozen modules: put on, drawn from a generator, and taken off without a trace.

Also rank-stabilised (Kalajdzievski 2023, "rsLoRA") and with weights decomposed into direction and magnitude (Liu et al.
2024, "DoRA"), as PEFT has them.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from spaces import Recipe
from spaces.recipe import Init
from trainables.parts.initial import initialise
from trainables.parts.masks import NOTHING, Masking, Masks
from trainables.parts.swap import replace_module, swapped

ADAPTER = "default"
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_CROSS_ATTENTION = tuple(f"attn2.{name}" for name in _ATTENTION)
_ALL_ATTENTION = (*(f"attn1.{name}" for name in _ATTENTION), *_CROSS_ATTENTION)
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
UNET_TARGETS: dict[str, tuple[str, ...]] = {
    "cross-kv": ("attn2.to_k", "attn2.to_v"),
    "cross-attention": _CROSS_ATTENTION,
    "attention": _ALL_ATTENTION,
    "attention+ff": (*_ALL_ATTENTION, *_FEED_FORWARD),
    "transformer": (*_ALL_ATTENTION, *_FEED_FORWARD, "proj_in", "proj_out"),
}
"""How the names of the adapted layers end, by the recipe's targets."""
TEXT_ENCODER_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
CONTROLNET_TARGETS = _ALL_ATTENTION


def unet_config(recipe: Recipe) -> LoraConfig:
    """PEFT's configuration of the recipe's LoRA in the UNet."""
    return _config(recipe, UNET_TARGETS[recipe.targets], recipe.rank, recipe.alpha)


def text_encoder_config(recipe: Recipe) -> LoraConfig | None:
    """That of the LoRA in the text encoder, None while it is frozen."""
    if recipe.text_encoder == "frozen":
        return None
    return _config(recipe, TEXT_ENCODER_TARGETS, recipe.text_encoder_rank, recipe.text_encoder_alpha)


def controlnet_config(recipe: Recipe) -> LoraConfig | None:
    """That of the LoRA in the ControlNet, None where it has none."""
    if recipe.controlnet_rank is None:
        return None
    return _config(recipe, CONTROLNET_TARGETS, recipe.controlnet_rank, recipe.controlnet_alpha)


def _config(recipe: Recipe, targets: tuple[str, ...], rank: int, alpha: float) -> LoraConfig:
    """Without dropout and with PEFT's simplest first values: both are drawn here, from generators of their own."""
    return LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(targets), init_lora_weights="gaussian",
        use_rslora=recipe.adapter == "rslora", use_dora=recipe.adapter == "dora",
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Adapter:
    """The LoRA on one module."""

    module: nn.Module
    config: LoraConfig
    layers: dict[str, LoraLayer]
    """The layers that carry it, by their name in the module, in the module's order."""
    masks: Masks
    changed: dict[str, nn.Parameter]
    """The weights that the layers had before, by layer, where the first values (PiSSA's) changed them."""
    first: dict[str, Tensor]
    """The first values of A and B by their parameters' names, where the weights were changed by them: what training
    added is scale (B A - first B first A)."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All that trains, fp32: `NAME.lora_A.weight` (rank x in), `NAME.lora_B.weight` (out x rank) and, of DoRA,
        `NAME.lora_magnitude_vector` (out)."""
        named = {
            f"{name}.lora_{side}.weight": getattr(layer, f"lora_{side}")[ADAPTER].weight
            for name, layer in self.layers.items()
            for side in "AB"
        }
        if self.config.use_dora:
            for name, layer in self.layers.items():
                named[f"{name}.lora_magnitude_vector"] = layer.lora_magnitude_vector[ADAPTER].weight
        return named

    def dropping(self, seed: int, first: int = 0, of: int | None = None) -> AbstractContextManager[None]:
        """Inside, the LoRA's dropout is on, with the masks that follow from `seed` (see `Masks`)."""
        return self.masks.dropping(seed, first, of)

    @contextmanager
    def off(self) -> Iterator[None]:
        """Inside, the module is as it was before."""
        with swapped(self.module, self._bare()):
            self._exchange()
            try:
                yield
            finally:
                self._exchange()

    def remove(self) -> None:
        """Puts the very modules back that were there before."""
        self.masks.remove()
        self._exchange()
        for name, layer in self._bare().items():
            replace_module(self.module, name, layer)
        del self.module.peft_config

    def _bare(self) -> dict[str, nn.Module]:
        return {name: layer.get_base_layer() for name, layer in self.layers.items()}

    def _exchange(self) -> None:
        """Weights that the first values changed: those from before for those of now, or back."""
        for name, before in self.changed.items():
            layer = self.layers[name].get_base_layer()
            self.changed[name], layer.weight = layer.weight, before


def attach(
    module: nn.Module, config: LoraConfig, generator: torch.Generator, init: Init = "gaussian",
    masking: Masking = NOTHING, horizon: int = 1000,
) -> Adapter:  # fmt: skip
    """Puts a LoRA on a frozen module, its first values drawn from the CPU `generator` (see `initialise`).

    Its parameters are fp32, whatever the module's precision: in bf16, small steps of AdamW round to nothing. `horizon`
    is the number of timesteps. Raises ValueError when the module carries an adapter already or has no layer that the
    config names.
    """
    if is_adapted(module):
        raise ValueError("the module carries an adapter already: remove it first")
    device = next(module.parameters()).device
    with torch.random.fork_rng([]):  # PEFT's own initial values, drawn anew below, come from the global generator
        inject_adapter_in_model(config, module, ADAPTER)
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLayer)}
    masks, changed, first = Masks(masking, device, horizon), {}, {}
    masks.watch(module)
    for number, (name, layer) in enumerate(layers.items()):
        layer.lora_A[ADAPTER].float(), layer.lora_B[ADAPTER].float()
        before = initialise(layer, ADAPTER, init, generator)
        if before is not None:
            changed[name] = before
            layer.whole = (before,)  # in a tuple, so that it is no parameter of the layer: what `lora_scaled` needs
            for side in "AB":
                first[f"{name}.lora_{side}.weight"] = getattr(layer, f"lora_{side}")[ADAPTER].weight.detach().clone()
        if config.use_dora:  # PEFT's own magnitude is of the module's precision
            _remeasure(layer)
        masks.on(layer.lora_A[ADAPTER], number)
    return Adapter(module, config, layers, masks, changed, first)


def _remeasure(layer: LoraLayer) -> None:
    """DoRA's magnitude: the norm of each row of the weight with its LoRA, fp32."""
    a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    magnitude = layer.lora_magnitude_vector[ADAPTER]
    magnitude.update_layer(
        base_layer=layer.get_base_layer(), lora_A=a.detach(), lora_B=b.detach(), scaling=layer.scaling[ADAPTER]
    )
    magnitude.weight = nn.Parameter(magnitude.weight.detach().float())


def is_adapted(module: nn.Module) -> bool:
    """Whether any layer carries a LoRA, or weights or embeddings in place of its own."""
    return any(isinstance(layer, LoraLayer) or hasattr(layer, "stands_for") for layer in module.modules())
