import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionControlNetPipeline
from PIL import Image
from safetensors import safe_open

from spaces import InputError, Recipe
from tests.tiny import SIZE
from trainables.base import Base
from trainables.export import CONFIG, WEIGHTS, load_adapter, save_adapter
from trainables.finetune import FineTune
from trainables.parts.adapters import is_adapted
from trainables.subject import Subject

RECIPES = {
    "unet": Recipe(targets="attention+ff", rank=4, alpha=10, learning_rate=1e-2, dropout=0.5),
    "unet-and-text": Recipe(
        targets="cross-kv", rank=4, alpha=1, learning_rate=1e-2, text_encoder="lora", text_encoder_rank=2, dropout=0.5
    ),
}


@pytest.fixture(params=RECIPES)
def tune(request: pytest.FixtureRequest, base: Base, tiny_subject: Path) -> Iterator[FineTune]:
    """Trained a little."""
    fine = FineTune(base, Subject.load(tiny_subject), RECIPES[request.param], seed=0)
    fine.advance(5)
    yield fine
    if is_adapted(base.unet):
        fine.remove()


def draw(pipeline: StableDiffusionControlNetPipeline) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    condition = Image.new("RGB", (SIZE, SIZE), "red")
    prompt = "a sks robot on grass"
    return pipeline(prompt, condition, num_inference_steps=4, generator=generator, output_type="np").images


def stranger(folder: Path) -> StableDiffusionControlNetPipeline:
    """diffusers' own pipeline, which knows nothing of us."""
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(folder)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, algorithm_type="dpmsolver++"
    )
    return pipeline


def test_a_fresh_pipeline_draws_the_same_with_it(tune: FineTune, base: Base, tiny_base: Path, tmp_path: Path) -> None:
    save_adapter(tune, tmp_path)
    tuned = draw(base.pipeline())
    fresh = stranger(tiny_base)
    untuned = draw(fresh)
    fresh.load_lora_weights(tmp_path)
    assert np.abs(draw(fresh) - tuned).max() <= 1e-5
    assert np.abs(untuned - tuned).max() > 1e-3


def test_it_goes_back_onto_the_base_and_off_again(tune: FineTune, base: Base, tmp_path: Path) -> None:
    save_adapter(tune, tmp_path)
    tuned = draw(base.pipeline())
    tune.remove()
    bare = draw(base.pipeline())
    pipeline, made_from = load_adapter(base, tmp_path)
    assert made_from.recipe == tune.recipe
    assert np.abs(draw(pipeline) - tuned).max() <= 1e-5
    pipeline.unload_lora_weights()
    assert np.array_equal(draw(base.pipeline()), bare)
    again = FineTune(base, tune.subject, tune.recipe, seed=0)
    again.advance(5)
    assert all(torch.equal(p, tune.parameters[name]) for name, p in again.parameters.items())
    again.remove()


def test_it_goes_onto_a_pipeline(tune: FineTune, base: Base, tiny_base: Path, tmp_path: Path) -> None:
    save_adapter(tune, tmp_path)
    pipeline, _ = load_adapter(stranger(tiny_base), tmp_path)
    assert np.abs(draw(pipeline) - draw(base.pipeline())).max() <= 1e-5


def test_the_files_tell_what_they_are(tune: FineTune, base: Base, tmp_path: Path) -> None:
    save_adapter(tune, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS, CONFIG}
    config = json.loads((tmp_path / CONFIG).read_text())
    assert Recipe.parse(config["recipe"]) == tune.recipe
    assert (config["steps"], config["seed"], config["token"], config["class"]) == (5, 0, "sks", "robot")
    assert config["base_fingerprint"] == base.fingerprint
    with safe_open(tmp_path / WEIGHTS, "pt") as file:
        names = set(file.keys())
    parts = {"unet."} | ({"text_encoder.text_model."} if tune.recipe.text_encoder == "lora" else set())
    assert len(names) == len(tune.parameters)
    assert all(name.startswith(tuple(parts)) for name in names)


def test_bad_adapters_are_input_errors(tune: FineTune, base: Base, tmp_path: Path) -> None:
    save_adapter(tune, tmp_path / "good")
    tune.remove()
    with pytest.raises(InputError, match=rf"nowhere/{CONFIG}"):
        load_adapter(base, tmp_path / "nowhere")
    for spoilt, name in (("config", CONFIG), ("weights", WEIGHTS)):
        folder = Path(shutil.copytree(tmp_path / "good", tmp_path / spoilt))
        (folder / name).write_bytes((folder / name).read_bytes()[:50])
        with pytest.raises(InputError, match=rf"{spoilt}/{name}") as caught:
            load_adapter(base, folder)
        assert "\n" not in str(caught.value)
    assert not is_adapted(base.unet)
