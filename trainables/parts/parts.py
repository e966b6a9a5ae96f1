"""The parts of a base that a recipe trains, put on together."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import nn

from spaces import Recipe
from spaces.stages import adapted
from trainables.base import Base
from trainables.parts.adapters import attach, controlnet_config, text_encoder_config, unet_config
from trainables.parts.full import train_keys_and_values
from trainables.parts.masks import Masking
from trainables.parts.token import train_token
from trainables.subject import Subject


class Part(Protocol):
    """What trains in one model: a LoRA (`Adapter`), full weights (`FullWeights`) or a token (`Token`)."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All that trains, fp32, by name."""

    def dropping(self, seed: int, first: int = 0, of: int | None = None) -> AbstractContextManager[None]:
        """Inside, dropout is on, for the rows from `first` of a batch of `of`."""

    def off(self) -> AbstractContextManager[None]:
        """Inside, the model is the base's own."""

    def remove(self) -> None:
        """Leaves the base as it was."""


def attach_parts(base: Base, subject: Subject, recipe: Recipe, generator: torch.Generator) -> dict[str, Part]:
    """All that the recipe trains at any step, in the order of `spaces.stages.PARTS`; nothing where one cannot be."""

    def lora(name: str, model: nn.Module, config: object) -> Part:
        horizon = base.schedule.config.num_train_timesteps
        return attach(model, config, generator, recipe.init, Masking.of(recipe, name), horizon)

    makers: dict[str, Callable[[], Part]] = {
        "unet": lambda: (
            train_keys_and_values(base.unet)
            if recipe.unet == "full-kv"
            else lora("unet", base.unet, unet_config(recipe))
        ),
        "text_encoder": lambda: lora("text_encoder", base.text_encoder, text_encoder_config(recipe)),
        "controlnet": lambda: lora("controlnet", base.controlnet, controlnet_config(recipe)),
        "token": lambda: train_token(base, subject, recipe),
    }
    parts: dict[str, Part] = {}
    try:
        for name in adapted(recipe):
            parts[name] = makers[name]()
    except BaseException:
        remove_parts(parts)
        raise
    return parts


def remove_parts(parts: dict[str, Part]) -> None:
    """The last first: a token's embedding stands in a text encoder that may have a LoRA."""
    while parts:
        parts.popitem()[1].remove()


def learning_rates(recipe: Recipe) -> dict[str, float | None]:
    """Of each part."""
    return {
        "unet": recipe.learning_rate,
        "text_encoder": recipe.text_encoder_learning_rate,
        "controlnet": recipe.controlnet_learning_rate,
        "token": recipe.token_learning_rate,
    }
