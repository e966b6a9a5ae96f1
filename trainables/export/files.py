"""The files of a saved adapter, and the page beside them that tells what it was made from."""

import json
import re
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import safe_open
from torch import Tensor

from spaces import InputError, Recipe
from spaces.paths import inside
from spaces.text import parse_json, read_text
from trainables.subject.cards import ClassNoun, TokenWord

WEIGHTS = "pytorch_lora_weights.safetensors"
"""LoRA of UNet and text encoder, by diffusers' own name: `load_lora_weights(folder)`."""
TOKEN = "learned_embeds.safetensors"
"""The token's vectors, by diffusers' own name: `load_textual_inversion(folder)`."""
CONTROLNET = "controlnet_lora.safetensors"
"""LoRA of the ControlNet: `controlnet.load_lora_adapter(folder, weight_name=..., prefix="controlnet")`."""
CONFIG = "adapter_config.json"
PartFile = Literal["pytorch_lora_weights.safetensors", "learned_embeds.safetensors", "controlnet_lora.safetensors"]
"""The three of them."""
METADATA = "lora_adapter_metadata"
"""Where diffusers keeps PEFT's configuration in a file of LoRA weights."""


@dataclass(frozen=True)
class Exported:
    """The files of an exported adapter, None where it has no such part."""

    lora: str | None = None
    """Of UNet and text encoder."""
    token: str | None = None
    """The token's vectors."""
    controlnet: str | None = None
    schedule: str | None = None
    """The file of Python that lets a rank fall with the noise."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in astuple(self) if name is not None)


class MadeFrom(BaseModel):
    """What an adapter was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    recipe: Recipe
    steps: int = Field(description="optimizer steps")
    seed: int
    token: TokenWord
    class_noun: ClassNoun = Field(alias="class")
    base: str
    base_fingerprint: str
    files: tuple[PartFile, ...] = Field(
        (WEIGHTS,), description="the adapter's parts; a folder without one is not whole"
    )
    spoken: TokenWord | None = Field(None, description="what prompts call the subject once the token's file is loaded")

    @property
    def schedules(self) -> dict[str, int]:
        """The least rank of those parts whose rank falls with the noise."""
        recipe = self.recipe
        if recipe.rank_schedule != "timestep":
            return {}
        ranks = {"unet": recipe.rank, "controlnet": recipe.controlnet_rank}
        most = recipe.rank or recipe.controlnet_rank
        return {part: max(1, round(recipe.min_rank / most * rank)) for part, rank in ranks.items() if rank}

    def prompt(self, text: str) -> str:
        """The text with the token by the name that the files give it."""
        spoken = self.spoken or self.token
        return re.sub(rf"(?<!\w){re.escape(self.token)}(?!\w)", lambda _: spoken, text)

    def write(self, path: Path, **more: Any) -> None:
        """As JSON, with whatever else there is to say."""
        values = self.model_dump(mode="json", by_alias=True) | more
        path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_made_from(folder: Path) -> MadeFrom:
    """InputError when the folder holds no adapter, or not all of one."""
    path = folder / CONFIG
    try:
        inside(folder, CONFIG, path)
        values = parse_json(read_text(path), path)
        made = MadeFrom.model_validate(values | {"recipe": Recipe.parse(values["recipe"], path)})
    except InputError:
        raise
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise InputError(path, f"is not the config of an adapter ({problem})") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"is not the config of an adapter ({type(error).__name__}: {error})") from None
    for name in made.files:
        if not inside(folder, name, folder / name).is_file():
            raise InputError(folder / name, f"is not there; the adapter has {', '.join(made.files)}")
    return made


def refuse_schedule(made_from: MadeFrom, form: str) -> None:
    """InputError where the rank falls with the noise: that is no matter of weights alone."""
    if made_from.schedules:
        raise InputError("--format", f"{form} cannot say rank_schedule timestep; diffusers' form can, with a hook")


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, and its metadata. InputError when it is none."""
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:  # the reader's own, and torch's for a header that promises too much
        raise InputError(path, f"is not a safetensors file ({error})") from None
