"""Every method in every form: what other programs load draws the picture of the live fine-tune."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline
from PIL import Image

from spaces import Inference, InputError, Observation, Recipe
from tests.tiny import SIZE
from trainables.base import Base
from trainables.export import (
    CARD,
    OUT,
    POSE,
    Drawing,
    Exported,
    Form,
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
FAST = {"rank": 4, "learning_rate": 1e-2}
TEXT = {"text_encoder": "lora", "text_encoder_rank": 2}
RECIPES = {
    "lora": Recipe(**FAST, targets="attention+ff", alpha=10, dropout=0.5),
    "lora-and-text": Recipe(**FAST, **TEXT, targets="cross-kv", alpha=1),
    "text": Recipe(unet="frozen", **TEXT, text_encoder_learning_rate=1e-2),
    "transformer": Recipe(**FAST, targets="transformer", alpha=2),
    "rslora": Recipe(**FAST, **TEXT, adapter="rslora", text_encoder_alpha=6),
    "dora": Recipe(**FAST, **TEXT, adapter="dora", targets="transformer", alpha=2),
    "pissa": Recipe(**FAST, **TEXT, init="pissa", alpha=2),
    "pissa-rslora": Recipe(**FAST, adapter="rslora", init="pissa", alpha=2),
    "orthogonal": Recipe(**FAST, init="orthogonal"),
    "token": Recipe(unet="frozen", token="trained", token_learning_rate=0.1),
    "tokens": Recipe(unet="frozen", token="trained", token_vectors=3, token_learning_rate=0.1),
    "pivotal": Recipe(**FAST, **TEXT, token="trained", token_until=2, token_learning_rate=0.1),
    "full-kv": Recipe(unet="full-kv", learning_rate=1e-2, token="trained", token_learning_rate=0.1),
    "two-stage": Recipe(
        **FAST, **TEXT, pose_from=2, pose_trains="both", controlnet_rank=3, controlnet_learning_rate=1e-2
    ),
    "controlnet": Recipe(unet="frozen", pose_from=0, pose_trains="controlnet", controlnet_learning_rate=1e-2),
    "timestep": Recipe(**FAST, rank_schedule="timestep", min_rank=1),
    "timestep-dora": Recipe(**FAST, adapter="dora", targets="transformer", rank_schedule="timestep", min_rank=1),
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


@pytest.fixture(scope="module")
def untuned(tiny_base: Path) -> np.ndarray:
    return draw(Base.load(tiny_base).pipeline())


def draw(pipeline: StableDiffusionControlNetPipeline, prompt: str = PROMPT) -> np.ndarray:
    """h x w x 3, 0 to 1."""
    pipeline.set_progress_bar_config(disable=True)
    condition = Image.new("RGB", (SIZE, SIZE), "red")
    generator = torch.Generator().manual_seed(0)
    return pipeline(prompt, condition, num_inference_steps=3, generator=generator, output_type="np").images[0]


def write(form: Form, base: Path, adapter: Path, out: Path, half: bool = False, lora_scale: float = 1.0) -> Exported:
    out.mkdir()
    if form == "diffusers":
        return write_diffusers(adapter, out, lora_scale)
    if form == "kohya":
        return write_kohya(Base.load(base), adapter, out, "mine", half, lora_scale)
    write_merged(Base.load(base), adapter, out, half, lora_scale)
    return Exported()


def card(form: Form, base: Path, adapter: Path, out: Path, parts: Exported, inference: Inference) -> str:
    """The page's text."""
    made_from = read_made_from(adapter)
    observation = Observation("t0001", made_from.recipe, made_from.seed, made_from.steps, {"identity": 0.25})
    drawing = Drawing(str(base), None, 3, inference, PROMPT)
    write_card(out, form, made_from, parts, drawing, "my-sweep", observation)
    return (out / CARD).read_text(encoding="utf-8")


def run(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Runs the page's program in the folder, as Python runs a file there; its names."""
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    names: dict[str, Any] = {}
    exec(compile(program, CARD, "exec"), names)
    return names


@pytest.mark.parametrize("form", FORMS)
def test_the_page_s_program_draws_the_picture(form, tuned, untuned, tiny_base, tmp_path, monkeypatch) -> None:
    tune, adapter = tuned
    if form != "diffusers" and tune.recipe.rank_schedule == "timestep":
        with pytest.raises(InputError, match=r"--format: .* cannot say rank_schedule timestep"):
            write(form, tiny_base, adapter, tmp_path / "out")
        return
    # PiSSA's frozen weights lack what its LoRA has at first, so half of the live LoRA is not half of what was trained
    scale = 1.0 if tune.recipe.init == "pissa" else 0.5
    out, inference = tmp_path / "out", Inference(lora_scale=scale)
    files = write(form, tiny_base, adapter, out, lora_scale=scale)
    page = card(form, tiny_base, adapter, out, files, inference)
    Image.new("RGB", (SIZE, SIZE), "red").save(out / POSE)
    pipe = run(page, out, monkeypatch)["pipe"]
    with lora_scaled(tune.base.unet, scale), lora_scaled(tune.base.text_encoder, scale):
        wanted = draw(tune.base.pipeline())
    assert np.abs(draw(pipe) - wanted).max() <= 1e-5
    assert np.abs(untuned - wanted).max() > 1e-3
    program_s = np.asarray(Image.open(out / OUT), dtype=int)
    assert program_s.shape == (SIZE, SIZE, 3) and program_s.std() > 1


@pytest.mark.parametrize("tuned", ["pivotal"], indirect=True)
@pytest.mark.parametrize("form", ["kohya", "merged"])
def test_the_page_s_program_takes_files_of_half_precision(form, tuned, tiny_base, tmp_path, monkeypatch) -> None:
    tune, adapter = tuned
    out = tmp_path / "out"
    page = card(form, tiny_base, adapter, out, write(form, tiny_base, adapter, out, half=True), Inference())
    Image.new("RGB", (SIZE, SIZE), "red").save(out / POSE)
    drawn = draw(run(page, out, monkeypatch)["pipe"])
    assert 0 < np.abs(drawn - draw(tune.base.pipeline())).max() <= 2e-2


@pytest.mark.parametrize("form", ["diffusers", "merged"])
def test_a_token_that_is_a_row_by_its_own_name_gets_another(
    form, tiny_base, tiny_subject, tmp_path, monkeypatch
) -> None:
    subject = Path(shutil.copytree(tiny_subject, tmp_path / "subject"))
    for name in ("subject.yaml", "metadata.jsonl"):
        (subject / name).write_text((subject / name).read_text().replace("sks", "x"))
    tune, prompt = (
        FineTune(Base.load(tiny_base), Subject.load(subject), RECIPES["tokens"], seed=0),
        "a x robot on grass",
    )
    tune.advance(3)
    save_adapter(tune, tmp_path / "adapter")
    assert read_made_from(tmp_path / "adapter").prompt("a x robot, not an axe") == "a <x> robot, not an axe"
    out = tmp_path / "out"
    page = card(
        form, tiny_base, tmp_path / "adapter", out, write(form, tiny_base, tmp_path / "adapter", out), Inference()
    )
    assert "# <x> robot" in page
    Image.new("RGB", (SIZE, SIZE), "red").save(out / POSE)
    pipe = run(page.replace(PROMPT, prompt), out, monkeypatch)["pipe"]
    assert np.abs(draw(pipe, "a <x> robot on grass") - draw(tune.base.pipeline(), prompt)).max() <= 1e-5
    assert np.abs(draw(pipe, prompt) - draw(pipe, "a <x> robot on grass")).max() > 1e-3
