import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spaces import InputError
from tests.tiny import SIZE, make_tiny_base
from trainables.base import Base


@pytest.fixture
def folder(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy that the test may spoil."""
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


def models(base: Base) -> tuple[torch.nn.Module, ...]:
    return base.unet, base.vae, base.text_encoder, base.controlnet


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_models_are_frozen_and_of_the_precision_asked_for(tiny_base: Path, precision: str, dtype: torch.dtype) -> None:
    base = Base.load(tiny_base, precision=precision)
    for model in models(base):
        assert not model.training
        assert {(p.requires_grad, p.dtype) for p in model.parameters()} == {(False, dtype)}
    assert base.size == SIZE


def spoil_weights(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def predict_samples(folder: Path) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "sample"}))


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "base: is neither"),
    "no unet": (lambda f: shutil.rmtree(f / "unet"), "has no unet/config.json"),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "has no tokenizer/tokenizer_config.json"),
    "no controlnet": (
        lambda f: shutil.rmtree(f / "controlnet"),
        "has no ControlNet (controlnet/config.json); name one with --controlnet",
    ),
    "no weights": (lambda f: (f / "vae" / "diffusion_pytorch_model.safetensors").unlink(), "vae: cannot be loaded"),
    "cut weights": (
        lambda f: spoil_weights(f / "text_encoder" / "model.safetensors"),
        "text_encoder: cannot be loaded",
    ),
    "config is no JSON": (lambda f: (f / "unet" / "config.json").write_text("{"), "unet: cannot be loaded"),
    "prediction type": (predict_samples, "prediction_type: 'sample'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_said_in_one_line(folder: Path, name: str) -> None:
    spoil, problem = MISTAKES[name]
    spoil(folder)
    with pytest.raises(InputError) as caught:
        Base.load(folder)
    assert problem in str(caught.value) and "\n" not in str(caught.value)


def test_pickles_are_not_read(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    Base.load(folder)  # beside safetensors it does not matter
    weights.unlink()
    with pytest.raises(InputError, match=r"unet: cannot be loaded: diffusion_pytorch_model.bin is a pickle"):
        Base.load(folder)


def test_a_hub_id_is_read_from_the_hub_s_cache_by_commit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cache, commit = tmp_path / "hub", "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    with pytest.raises(InputError, match="somebody/tiny: is not a folder, and the hub does not give it"):
        Base.load("somebody/tiny")
    repository = cache / "models--somebody--tiny"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert (
        Base.load("somebody/tiny").fingerprint
        == Base.load("somebody/tiny").fingerprint
        != Base.load(folder).fingerprint
    )


def test_another_controlnet_may_be_named(tiny_base: Path, folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "controlnet", tmp_path / "pose")
    moved = Base.load(folder, controlnet=tmp_path / "pose")
    assert moved.fingerprint == Base.load(tiny_base).fingerprint
    with pytest.raises(InputError, match="elsewhere: is neither"):
        Base.load(folder, controlnet="elsewhere")


def test_the_fingerprint_is_that_of_the_files(tiny_base: Path, folder: Path) -> None:
    fingerprint = Base.load(tiny_base).fingerprint
    assert Base.load(folder).fingerprint == fingerprint
    predictor = make_tiny_base(folder.parent / "v", "v_prediction")
    assert Base.load(predictor).fingerprint != fingerprint
    weights = folder / "controlnet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert Base.load(folder).fingerprint != fingerprint


def test_auto_is_a_device_that_exists(tiny_base: Path) -> None:
    assert Base.load(tiny_base, device="auto").device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_captions_are_encoded_as_the_pipeline_encodes_them(tiny_base: Path) -> None:
    base = Base.load(tiny_base)
    captions = ["a sks robot on grass", "a person at night" + " on sand" * 20]
    embedded, _ = base.pipeline().encode_prompt(captions, base.device, 1, do_classifier_free_guidance=False)
    assert torch.equal(base.encode_text(captions), embedded)
    assert base.encode_text(captions).shape == (2, 16, 32)


def test_latents_are_scaled_as_the_pipeline_expects_and_survive_the_way_back(tiny_base: Path) -> None:
    base = Base.load(tiny_base)
    pixels = np.random.default_rng(0).integers(0, 256, (11, SIZE, SIZE, 3), dtype=np.uint8)
    mean, std = base.latent_distribution(pixels)
    assert mean.shape == std.shape == (11, 4, 8, 8) and (std > 0).all()
    whole = base.vae.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist
    torch.testing.assert_close(mean, whole.mean * base.vae.config.scaling_factor)
    torch.testing.assert_close(std, whole.std * base.vae.config.scaling_factor)


def test_the_pipeline_draws_with_the_base_s_own_modules_and_no_global_draws(tiny_base: Path) -> None:
    base = Base.load(tiny_base)
    pipeline = base.pipeline()
    assert pipeline.unet is base.unet and pipeline.controlnet is base.controlnet
    before = torch.get_rng_state()
    condition = Image.new("RGB", (SIZE, SIZE), "red")

    def draw(condition: Image.Image) -> np.ndarray:
        return pipeline(
            "a robot", condition, num_inference_steps=2, generator=torch.Generator().manual_seed(0), output_type="np"
        ).images  # fmt: skip

    assert np.array_equal(draw(condition), draw(condition))
    assert not np.array_equal(draw(condition), draw(Image.new("RGB", (SIZE, SIZE), "blue")))
    assert torch.equal(torch.get_rng_state(), before)
