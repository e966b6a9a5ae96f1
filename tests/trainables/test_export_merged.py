"""A whole model with an adapter merged in: it loads as any other, and is a base like any other."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline
from PIL import Image
from safetensors.torch import load_file

from spaces import Recipe
from tests.tiny import SIZE
from trainables.base import Base
from trainables.export import save_adapter, write_merged
from trainables.finetune import FineTune
from trainables.parts.adapters import is_adapted
from trainables.subject import Subject

RECIPE = Recipe(
    rank=4, learning_rate=1e-2, text_encoder="lora", text_encoder_rank=2, token="trained", token_learning_rate=0.1,
    pose_from=1, pose_trains="both",
)  # fmt: skip


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tiny_subject: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A saved adapter, and the picture of the fine-tune."""
    tune = FineTune(Base.load(tiny_base), Subject.load(tiny_subject), RECIPE, seed=0)
    tune.advance(3)
    folder = tmp_path_factory.mktemp("adapter")
    save_adapter(tune, folder)
    return folder, draw(tune.base.pipeline())


def draw(pipeline: StableDiffusionControlNetPipeline) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    condition, generator = Image.new("RGB", (SIZE, SIZE), "red"), torch.Generator().manual_seed(0)
    drawn = pipeline("a sks robot on grass", condition, num_inference_steps=3, generator=generator, output_type="np")
    return drawn.images[0]


def test_it_is_a_base_that_draws_the_picture_and_can_be_trained_on(adapter, tiny_base, tiny_subject, tmp_path) -> None:
    folder, wanted = adapter
    write_merged(Base.load(tiny_base), folder, tmp_path / "merged")
    base = Base.load(tmp_path / "merged")
    assert not any(is_adapted(module) for module in (base.unet, base.text_encoder, base.controlnet))
    assert np.abs(draw(base.pipeline()) - wanted).max() <= 1e-5
    tune = FineTune(base, Subject.load(tiny_subject), RECIPE, seed=0)
    assert np.isfinite(tune.advance(2))
    tune.remove()


def test_it_can_be_of_half_precision(adapter, tiny_base, tmp_path) -> None:
    folder, wanted = adapter
    write_merged(Base.load(tiny_base), folder, tmp_path, half=True)
    for part in ("unet", "vae", "controlnet"):
        (path,) = (tmp_path / part).glob("*.safetensors")
        assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(tmp_path, torch_dtype=torch.float32)
    assert np.abs(draw(pipeline) - wanted).max() <= 2e-2


def test_older_readers_find_the_text_encoder(adapter, tiny_base, tmp_path) -> None:
    write_merged(Base.load(tiny_base), adapter[0], tmp_path)
    names = load_file(tmp_path / "text_encoder" / "model.safetensors").keys()
    assert all(name.startswith("text_model.") for name in names)
    assert "text_model.encoder.layers.0.self_attn.q_proj.weight" in names
