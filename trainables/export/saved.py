"""A checkpoint's adapter: written so that diffusers loads it as it is, and put back onto a base."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffusers import StableDiffusionControlNetPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import save_file
from transformers.utils import logging as transformers_logging

from spaces import InputError
from trainables.base import Base, without_progress_bars
from trainables.export.files import CONFIG, CONTROLNET, TOKEN, WEIGHTS, MadeFrom, read_made_from
from trainables.export.lora import plain_lora, read_loras, write_loras
from trainables.export.timestep_rank import fall_with_noise
from trainables.finetune import FineTune
from trainables.parts.token import Token


def save_adapter(tune: FineTune, folder: str | Path) -> None:
    """Writes all that was trained as diffusers reads it, and what it was made from.

    LoRA of UNet and text encoder in one file, the ControlNet's in another, the token's vectors in a third: those that
    the recipe trains. What is trained otherwise than as a LoRA is written as one that does the same (`plain_lora`).
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    loras = {name: plain_lora(part) for name, part in tune.parts.items() if not isinstance(part, Token)}
    files, spoken = [], tune.subject.token
    for name, parts in ((WEIGHTS, ("unet", "text_encoder")), (CONTROLNET, ("controlnet",))):
        chosen = {part: loras[part] for part in parts if part in loras}
        if chosen:
            write_loras(folder / name, chosen)
            files.append(name)
    token = tune.parts.get("token")
    if isinstance(token, Token):
        spoken = _free_word(tune.base, tune.subject.token)
        save_file({spoken: token.vectors.detach().cpu().contiguous()}, folder / TOKEN)
        files.append(TOKEN)
    made_from = MadeFrom(
        recipe=tune.recipe,
        steps=tune.steps,
        seed=tune.seed,
        token=tune.subject.token,
        class_noun=tune.subject.class_noun,
        base=tune.base.source,
        base_fingerprint=tune.base.fingerprint,
        files=tuple(files),
        spoken=spoken,
    )
    made_from.write(folder / CONFIG)


def load_adapter(
    to: Base | StableDiffusionControlNetPipeline, folder: str | Path
) -> tuple[StableDiffusionControlNetPipeline, MadeFrom]:
    """Puts a saved adapter on a pipeline, or on a base's own modules; the pipeline that draws with it.

    By diffusers' own loaders, whose `unload_...` take it off again. Prompts name the subject as `MadeFrom.prompt`
    writes them. InputError when the folder holds no adapter for this base.
    """
    folder = Path(folder)
    made_from = read_made_from(folder)
    pipeline = to.pipeline() if isinstance(to, Base) else to
    if TOKEN in made_from.files:
        with _loading(folder / TOKEN):
            pipeline.load_textual_inversion(folder, weight_name=TOKEN, use_safetensors=True)
    if WEIGHTS in made_from.files:
        with _loading(folder / WEIGHTS):
            read_loras(folder / WEIGHTS)  # PEFT itself believes all that the metadata say
            pipeline.load_lora_weights(folder, weight_name=WEIGHTS, use_safetensors=True)
    if CONTROLNET in made_from.files:
        with _loading(folder / CONTROLNET):
            read_loras(folder / CONTROLNET)
            pipeline.controlnet.load_lora_adapter(
                folder, weight_name=CONTROLNET, prefix="controlnet", use_safetensors=True
            )
    for part, least in made_from.schedules.items():
        fall_with_noise(getattr(pipeline, part), least, pipeline.scheduler.config.num_train_timesteps)
    return pipeline, made_from


def _free_word(base: Base, token: str) -> str:
    """What the token can be called where it is added to the tokenizer: a row's own name cannot be added again."""
    word = token.lower()  # as CLIP's tokenizer reads all text
    return f"<{word}>" if word in base.tokenizer.get_vocab() else word


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    """A file that does not fit is the user's mistake; that it has no part for some module is not worth a word."""
    loggers = diffusers_logging, transformers_logging
    levels = [logger.get_verbosity() for logger in loggers]
    for logger in loggers:
        logger.set_verbosity_error()
    try:
        with without_progress_bars():
            yield
    except InputError:
        raise
    except Exception as error:  # whatever the insides of three libraries make of a file that does not fit
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(path, f"does not load onto this base ({reason})") from None
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.set_verbosity(level)
