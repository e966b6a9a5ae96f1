import json
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionControlNetPipeline
from safetensors import safe_open
from torch import nn
from typer.testing import CliRunner

from benchmarks.sd15 import TRUE_WIDTH, WORDS, Layout, app, make, published
from spaces import InputError
from trainables.base import Base

FILES = {
    "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model",
    "controlnet": "diffusion_pytorch_model",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("sd15") / "base", width=32, pixels=64)


@pytest.fixture(scope="module")
def true() -> dict[str, nn.Module]:
    """The networks at their true size, without memory."""
    with torch.device("meta"):
        return Layout.of(TRUE_WIDTH).build()


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    with safe_open(path, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def test_the_true_width_has_the_published_numbers_of_parameters(true: dict[str, nn.Module]) -> None:
    counts = {name: sum(p.numel() for p in model.parameters()) for name, model in true.items()}
    assert counts == {
        "unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480, "controlnet": 361_279_120
    }  # fmt: skip


@pytest.mark.parametrize("part", FILES)
def test_every_tensor_has_its_published_name_and_its_share_of_the_shape(
    folder: Path, true: dict[str, nn.Module], part: str
) -> None:
    found = shapes(folder / part / f"{FILES[part]}.safetensors")
    expected = {name: tuple(t.shape) for name, t in published(part, true[part].state_dict()).items()}
    if part == "text_encoder":
        expected = {name: shape for name, shape in expected.items() if not name.endswith("position_ids")}
    assert found.keys() == expected.keys()
    share = {"unet": 10, "controlnet": 10, "vae": 4}.get(part, 768 / 72)
    fixed = {3, 4, 8, 9, 16, 96, 256, 49408, 77, 1}  # pictures, latents, pose layers, vocabulary, tokens, kernels
    for name, shape in expected.items():
        for mine, theirs in zip(found[name], shape, strict=True):
            assert mine == theirs or theirs / mine in (share, 768 / 72), (name, found[name], shape)
            assert mine != theirs or theirs in fixed or "controlnet_cond_embedding" in name, (name, shape)


def test_names_that_only_the_published_files_have(folder: Path) -> None:
    assert "text_model.encoder.layers.11.self_attn.q_proj.weight" in shapes(folder / "text_encoder/model.safetensors")
    vae = shapes(folder / "vae" / "diffusion_pytorch_model.safetensors")
    assert {f"decoder.mid_block.attentions.0.{n}.weight" for n in ("query", "key", "value", "proj_attn")} <= vae.keys()


def test_it_loads_as_a_base_with_every_weight_in_its_place(folder: Path) -> None:
    base = Base.load(folder)
    for part, model in (("vae", base.vae), ("text_encoder", base.text_encoder), ("unet", base.unet)):
        with safe_open(folder / part / f"{FILES[part]}.safetensors", "pt") as file:
            loaded = published(part, dict(model.named_parameters()))
            assert loaded.keys() == set(file.keys())
            assert [name for name, p in loaded.items() if not torch.equal(p, file.get_tensor(name))] == []
    assert base.tokenizer.decode(base.tokenizer("sks unheard-of Wörter").input_ids[1:-1]) == "sks unheard - of wörter"
    assert base.size == 64 and base.schedule.config.prediction_type == "epsilon"
    ids = base.tokens(["a photo of sks robot"])[0]
    assert ids.shape == (77,) and (ids[0], ids[6]) == (49406, 49407)
    assert [word for word in WORDS if len(base.tokenizer(word).input_ids) != 3] == []  # each is one row
    assert len(base.tokenizer) == base.text_encoder.config.vocab_size == 49408


def test_its_schedule_is_sd_15_s(folder: Path) -> None:
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, 1000)
    torch.testing.assert_close(Base.load(folder).schedule.betas, roots**2)
    assert isinstance(Base.load(folder).schedule, DDPMScheduler)


def test_diffusers_draws_with_it_and_follows_the_pose(folder: Path) -> None:
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)

    def draw(value: float) -> torch.Tensor:
        pose = torch.full((1, 3, 64, 64), value)
        noise = torch.Generator().manual_seed(0)
        return pipeline("a sks robot", pose, num_inference_steps=2, generator=noise, output_type="pt").images

    assert draw(0.0).shape == (1, 3, 64, 64)
    assert not torch.equal(draw(0.0), draw(1.0))


def test_the_same_seed_gives_the_same_files_and_half_the_size(folder: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    again, half = make(tmp_path / "again", 32, 64), make(tmp_path / "half", 32, 64, half=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert Base.load(again).fingerprint == Base.load(folder).fingerprint != Base.load(half).fingerprint
    size = lambda place: (place / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size  # noqa: E731
    assert size(half) < 0.51 * size(again)


def test_widths_and_folders_that_cannot_be(tmp_path: Path) -> None:
    for arguments, problem in (((48,), "48 should be a multiple of 32"), ((32, 100), "100 should be a multiple of 64")):
        with pytest.raises(InputError, match=problem):
            Layout.of(*arguments)
    (tmp_path / "mine.txt").touch()
    failed = CliRunner().invoke(app, ["make", "--width", "32", "-o", str(tmp_path)])
    assert failed.exit_code != 0 and "is not empty" in str(failed.exception)


def test_the_command_makes_it(tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["make", "--width", "32", "--size", "64", "--half", "-o", str(tmp_path / "base")])
    assert made.exit_code == 0, made.output
    assert json.loads((tmp_path / "base/unet/config.json").read_text())["block_out_channels"] == [32, 64, 128, 128]
    assert Base.load(tmp_path / "base").unet.config.sample_size == 8
