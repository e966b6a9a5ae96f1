"""Adapters as files that diffusers loads anywhere."""

import json
from pathlib import Path

from diffusers import StableDiffusionControlNetPipeline
from safetensors import SafetensorError
from torch import Tensor

from spaces import InputError, Recipe
from trainables.adapters import Adapter
from trainables.base import Base, without_progress_bars
from trainables.finetune import FineTune

WEIGHTS, CONFIG = "pytorch_lora_weights.safetensors", "adapter_config.json"


def save_adapter(tune: FineTune, folder: str | Path) -> None:
    """Writes the LoRA as `load_lora_weights(folder)` of any pipeline reads it, and what it was made from.

    PEFT's configuration goes along as metadata: a loader without it takes alpha for rank and so gets the scale wrong.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    unet, text_encoder = tune.adapters["unet"], tune.adapters.get("text_encoder")
    StableDiffusionControlNetPipeline.save_lora_weights(
        folder,
        unet_lora_layers=_weights(unet),
        unet_lora_adapter_metadata=_metadata(unet),
        text_encoder_lora_layers=_text_encoder_weights(text_encoder) if text_encoder else None,
        text_encoder_lora_adapter_metadata=_metadata(text_encoder) if text_encoder else None,
        weight_name=WEIGHTS,
    )
    made_from = {
        "recipe": tune.recipe.model_dump(),
        "steps": tune.steps,
        "seed": tune.seed,
        "token": tune.subject.token,
        "class": tune.subject.class_noun,
        "base": tune.base.source,
        "base_fingerprint": tune.base.fingerprint,
    }
    (folder / CONFIG).write_text(json.dumps(made_from, indent=2) + "\n", encoding="utf-8")


def load_adapter(
    to: Base | StableDiffusionControlNetPipeline, folder: str | Path
) -> tuple[StableDiffusionControlNetPipeline, Recipe]:
    """Puts a saved adapter on a pipeline, or on a base's own modules; the pipeline that draws with it, and its recipe.

    `pipeline.unload_lora_weights()` takes it off again. InputError when the folder holds no adapter for this base.
    """
    folder = Path(folder)
    recipe = _read_recipe(folder / CONFIG)
    pipeline = to.pipeline() if isinstance(to, Base) else to
    try:
        with without_progress_bars():
            pipeline.load_lora_weights(folder, weight_name=WEIGHTS, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(folder / WEIGHTS, f"does not load onto this base ({reason})") from None
    return pipeline, recipe


def _read_recipe(path: Path) -> Recipe:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["recipe"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"is not the config of an adapter ({type(error).__name__}: {error})") from None
    return Recipe.parse(values, path)


def _weights(adapter: Adapter) -> dict[str, Tensor]:
    return {name: parameter.detach().cpu().contiguous() for name, parameter in adapter.parameters.items()}


def _text_encoder_weights(adapter: Adapter) -> dict[str, Tensor]:
    """With the prefix that CLIPTextModel had before transformers flattened it: every loader knows the names with it."""
    return {f"text_model.{name.removeprefix('text_model.')}": value for name, value in _weights(adapter).items()}


def _metadata(adapter: Adapter) -> dict[str, object]:
    """PEFT's configuration. Without dropout: a loader would switch it on while drawing."""
    return adapter.config.to_dict() | {"lora_dropout": 0.0}
