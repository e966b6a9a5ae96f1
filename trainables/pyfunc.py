"""A registered fine-tune as MLflow's `pyfunc` loads it: `load_model` names this module, and no pickle is read."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spaces import Inference, InputError
from spaces.text import parse_json, read_text
from trainables.artist import Artist, base_of
from trainables.skeleton import parse_pose

FILE, ADAPTER = "drawing.json", "adapter"
"""What a model's folder has, beside the skeleton where it is the subject's own."""


class DrawnWith(BaseModel):
    """What an adapter is put on, and how pictures are drawn with it: the base itself stays where it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = Field(description="`puppets`, a diffusers folder, or a hub id")
    controlnet: str | None = Field(None, description="folder or hub id; empty is the one inside the base's folder")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    device: str = "auto"
    steps: int = Field(ge=1, description="sampler steps")
    inference: Inference = Inference()


class PictureModel:
    """Draws a picture for each row."""

    def __init__(self, artist: Artist, folder: Path) -> None:
        """`folder` may have the skeleton that poses name."""
        self._artist, self._folder = artist, folder

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """n rows of `prompt` and `pose`, the text of a pose's JSON, to n rows of `picture`, the bytes of a PNG.

        `params`: `seed`, of the noise, 0 unless given. InputError for a pose that makes no sense.
        """
        seed = int((params or {}).get("seed", 0))
        pictures = []
        for number, (prompt, text) in enumerate(zip(rows["prompt"], rows["pose"], strict=True)):
            where = f"row {number}, pose"
            pose = parse_pose(parse_json(text, where), where, self._folder)
            buffer = io.BytesIO()
            self._artist.draw(prompt, pose, seed).save(buffer, format="png")
            pictures.append(buffer.getvalue())
        return pd.DataFrame({"picture": pictures})


def _load_pyfunc(path: str) -> PictureModel:
    """MLflow's name for it. InputError where the folder is not whole, or the base has changed."""
    folder = Path(path)
    try:
        with_ = DrawnWith.model_validate(parse_json(read_text(folder / FILE), folder / FILE))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(folder / FILE, f"cannot be read ({error})") from None
    except ValidationError as error:
        raise InputError(folder / FILE, str(error).splitlines()[0]) from None
    base = base_of(folder / ADAPTER, with_.base, with_.controlnet, with_.device, with_.precision)
    return PictureModel(Artist.wearing(base, folder / ADAPTER, with_.steps, with_.inference), folder)
