"""Every method in every form: what other programs load draws the picture of the live fine-tune."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline
from PIL import Image
from safetensors.torch import load_file

from spaces import Inference, Observation, Recipe
from tests.tiny import SIZE
from trainables.base import Base
from trainables.export import (
    CARD,
    OUT,
    POSE,
    RECIPE,
    WEIGHTS,
    Drawing,
    Form,
    MadeFrom,
    Parts,
    read_made_from,
    save_adapter,
    write_card,
    write_diffusers,
    write_kohya,
    write_merged,
)
from trainables.finetune import FineTune
from trainables.generate import lora_scaled
from trainables.subject import Subject

FORMS: tuple[Form, ...] = ("diffusers", "kohya", "merged")
PROMPT = "a sks robot on grass"
RECIPES = {
    "unet": Recipe(targets="attention+ff", rank=4, alpha=10, learning_rate=1e-2, dropout=0.5),
    "unet-and-text": Recipe(
        targets="cross-kv", rank=4, alpha=1, learning_rate=1e-2, text_encoder="lora", text_encoder_rank=2
    ),
}


@pytest.fixture(scope="module", params=RECIPES)
def tuned(
    request: pytest.FixtureRequest, tiny_base: Path, tiny_subject: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FineTune, Path]]:
    """Trained a little, and its saved adapter."""
    tune = FineTune(Base.load(tiny_base), Subject.load(tiny_subject), RECIPES[request.param], seed=0)
    tune.advance(5)
    folder = tmp_path_factory.mktemp("adapter")
    save_adapter(tune, folder)
    yield tune, folder
    tune.remove()


def draw(pipeline: StableDiffusionControlNetPipeline) -> np.ndarray:
    """h x w x 3, 0 to 1."""
    pipeline.set_progress_bar_config(disable=True)
    condition = Image.new("RGB", (SIZE, SIZE), "red")
    generator = torch.Generator().manual_seed(0)
    return pipeline(PROMPT, condition, num_inference_steps=3, generator=generator, output_type="np").images[0]


def live(tune: FineTune, lora_scale: float = 1.0) -> np.ndarray:
    """The picture to match."""
    with lora_scaled(tune.base.unet, lora_scale), lora_scaled(tune.base.text_encoder, lora_scale):
        return draw(tune.base.pipeline())


def write(form: Form, base: Path, adapter: Path, out: Path, half: bool = False, lora_scale: float = 1.0) -> Parts:
    out.mkdir()
    if form == "diffusers":
        return write_diffusers(adapter, out, lora_scale)
    if form == "kohya":
        return write_kohya(Base.load(base), adapter, out, "mine", half, lora_scale)
    write_merged(Base.load(base), adapter, out, half, lora_scale)
    return Parts()


def card(form: Form, base: Path, adapter: Path, out: Path, parts: Parts, inference: Inference) -> str:
    """The page's text."""
    made_from = read_made_from(adapter)
    observation = Observation("t0001", made_from.recipe, made_from.seed, made_from.steps, {"identity": 0.25})
    drawing = Drawing(str(base), None, 3, inference, PROMPT)
    write_card(out, form, made_from, parts, drawing, "my-sweep", observation)
    return (out / CARD).read_text(encoding="utf-8")


def run(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Runs the page's program in the folder; its names."""
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(compile(program, CARD, "exec"), names)
    return names


@pytest.mark.parametrize("form", FORMS)
def test_the_page_s_program_draws_the_picture(form, tuned, tiny_base, tmp_path, monkeypatch) -> None:
    tune, adapter = tuned
    out, inference = tmp_path / "out", Inference(lora_scale=0.5, guidance=4, controlnet_scale=0.5)
    page = card(form, tiny_base, adapter, out, write(form, tiny_base, adapter, out, lora_scale=0.5), inference)
    Image.new("RGB", (SIZE, SIZE), "red").save(out / POSE)
    pipe = run(page, out, monkeypatch)["pipe"]
    wanted, untuned = live(tune, 0.5), live(tune, 0.0)
    assert np.abs(draw(pipe) - wanted).max() <= 1e-5
    assert np.abs(untuned - wanted).max() > 1e-3
    with lora_scaled(tune.base.unet, 0.5), lora_scaled(tune.base.text_encoder, 0.5):
        program_s = tune.base.pipeline()(
            PROMPT, Image.open(out / POSE), num_inference_steps=3, guidance_scale=4.0,
            controlnet_conditioning_scale=0.5, generator=torch.Generator().manual_seed(0),
        ).images[0]  # fmt: skip
    assert np.abs(np.asarray(Image.open(out / OUT), int) - np.asarray(program_s, int)).max() <= 1
