"""Files that run code when they are read the careless way: each is refused by name, and none ever runs."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spaces import InputError, Recipe
from tests.trainables.judges.models import make_vitpose
from trainables.base import Base
from trainables.data.prior import class_prior
from trainables.export import TOKEN, WEIGHTS, load_adapter, save_adapter
from trainables.export.lora import read_loras
from trainables.finetune import FineTune
from trainables.judges import IdentityJudge, OpenPoseJudge, PromptJudge, ViTPoseJudge
from trainables.judges.people import load_tensors
from trainables.subject import Subject


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where a trap would leave its mark; looked at when the test is over. The environment asks for carelessness."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = tmp_path / "it-ran"
    yield path
    assert not path.exists(), "a pickle was loaded"


@pytest.fixture
def folder(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


def plant(path: Path, marker: Path, torchs: bool = True) -> None:
    """A pickle at that place, as torch writes it, or plain; with the weights that were there beside the trap."""
    content = {"weight": torch.zeros(2), "trap": Trap(marker)}
    if torchs:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))


def test_the_trap_is_one(tmp_path: Path) -> None:
    plant(tmp_path / "x.bin", tmp_path / "it-ran")
    torch.load(tmp_path / "x.bin", weights_only=False)
    assert (tmp_path / "it-ran").exists()


@pytest.mark.parametrize(
    ("part", "name"),
    [("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"), ("text_encoder", "model"),
     ("controlnet", "diffusion_pytorch_model")],
)  # fmt: skip
def test_a_base_with_pickles_alone_is_refused_by_name(folder: Path, marker: Path, part: str, name: str) -> None:
    (folder / part / f"{name}.safetensors").unlink()
    pickled = "pytorch_model.bin" if part == "text_encoder" else f"{name}.bin"
    plant(folder / part / pickled, marker)
    with pytest.raises(InputError, match=rf"{part}: cannot be loaded: {pickled} is a pickle, which may run code"):
        Base.load(folder)


@pytest.mark.parametrize("torchs", [True, False])
def test_a_pickle_by_the_name_of_safetensors_is_refused(folder: Path, marker: Path, torchs: bool) -> None:
    plant(folder / "unet" / "diffusion_pytorch_model.safetensors", marker, torchs)
    with pytest.raises(InputError, match="unet: cannot be loaded from config and safetensors"):
        Base.load(folder)


def test_pickles_beside_safetensors_are_left_alone(folder: Path, marker: Path) -> None:
    for part in ("unet", "vae", "controlnet"):
        plant(folder / part / "diffusion_pytorch_model.bin", marker)
    plant(folder / "text_encoder" / "pytorch_model.bin", marker)
    plant(folder / "tokenizer" / "tokenizer.bin", marker)
    Base.load(folder)


def test_a_base_that_sends_its_reader_elsewhere_is_refused(folder: Path, marker: Path) -> None:
    """transformers would follow this file, and load the adapter beside it."""
    plant(folder / "text_encoder" / "adapter_model.bin", marker)
    (folder / "text_encoder" / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "base_model_name_or_path": "/somewhere", "target_modules": ["q_proj"]}'
    )
    with pytest.raises(InputError, match=r"text_encoder: has adapter_config.json, by which it would be read from"):
        Base.load(folder)


@pytest.mark.parametrize("judge", [IdentityJudge, PromptJudge, ViTPoseJudge])
def test_a_judge_by_pickle_alone_is_refused_by_name(tmp_path: Path, marker: Path, judge: type) -> None:
    made = make_vitpose(tmp_path / "judge", 17)
    (made / "model.safetensors").unlink()
    plant(made / "pytorch_model.bin", marker)
    with pytest.raises(InputError, match=r"judge: cannot be loaded: pytorch_model.bin is a pickle"):
        judge.load(made)


def test_a_judges_own_code_is_neither_run_nor_asked_about(tmp_path: Path, marker: Path) -> None:
    """transformers would ask at the terminal whether to run it."""
    made = make_vitpose(tmp_path / "judge", 17)
    (made / "code.py").write_text(f"import os\nos.system('touch {marker}')\nclass P: pass\n")
    (made / "preprocessor_config.json").write_text('{"auto_map": {"AutoImageProcessor": "code.P"}}')
    assert type(ViTPoseJudge.load(made).processor).__module__.startswith("transformers.")


@pytest.mark.parametrize("torchs", [True, False])
def test_openposes_pickle_is_read_for_tensors_alone(tmp_path: Path, marker: Path, torchs: bool) -> None:
    plant(tmp_path / "body_pose_model.pth", marker, torchs)
    with pytest.raises(InputError, match=r"body_pose_model.pth: is a pickle that is not of weights alone"):
        OpenPoseJudge.load(tmp_path)


def test_openpose_is_the_same_by_safetensors_and_as_it_is_published(tmp_path: Path) -> None:
    weights = {"conv1_1.weight": torch.randn(2, 3), "conv1_1.bias": torch.randn(2)}
    torch.save(weights, tmp_path / "a.pth")
    save_file(weights, tmp_path / "a.safetensors")
    read = [load_tensors(tmp_path / name) for name in ("a.pth", "a.safetensors")]
    assert all(torch.equal(read[0][name], read[1][name]) for name in weights)
    torch.save([1, 2], tmp_path / "b.pth")
    with pytest.raises(InputError, match="should hold tensors by their names"):
        load_tensors(tmp_path / "b.pth")


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tiny_subject: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of UNet and token."""
    made = tmp_path_factory.mktemp("adapter")
    recipe = Recipe(rank=2, token="trained")
    tune = FineTune(Base.load(tiny_base), Subject.load(tiny_subject), recipe, 1)
    save_adapter(tune, made)
    tune.save_state(made / "state.safetensors")
    return made


@pytest.mark.parametrize("name", [WEIGHTS, TOKEN])
def test_an_adapter_that_is_a_pickle_is_refused(
    adapter: Path, tiny_base: Path, tmp_path: Path, marker: Path, name: str
) -> None:
    spoiled = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    plant(spoiled / name, marker)
    plant(spoiled / name.replace(".safetensors", ".bin"), marker)
    with pytest.raises(InputError, match=name):
        load_adapter(Base.load(tiny_base), spoiled)
    (spoiled / name).unlink()
    with pytest.raises(InputError, match=f"{name}: is not there"):
        load_adapter(Base.load(tiny_base), spoiled)
    if name == WEIGHTS:
        plant(spoiled / name, marker, torchs=False)
        with pytest.raises(InputError, match="is not a safetensors file"):
            read_loras(spoiled / name)


def test_a_state_that_is_a_pickle_is_refused(
    adapter: Path, tiny_base: Path, tiny_subject: Path, tmp_path: Path, marker: Path
) -> None:
    plant(tmp_path / "state.safetensors", marker)
    tune = FineTune(Base.load(tiny_base), Subject.load(tiny_subject), Recipe(rank=2, token="trained"), 1)
    tune.load_state(adapter / "state.safetensors")
    with pytest.raises(InputError, match="is not a state to go on from"):
        tune.load_state(tmp_path / "state.safetensors")


def test_class_pictures_that_are_a_pickle_are_drawn_anew(
    tiny_base: Path, tiny_subject: Path, tmp_path: Path, marker: Path
) -> None:
    base, subject = Base.load(tiny_base), Subject.load(tiny_subject)
    first = class_prior(base, subject, 2, tmp_path)
    (kept,) = tmp_path.glob("*.safetensors")
    plant(kept, marker)
    again = class_prior(base, subject, 2, tmp_path)
    assert torch.equal(first.mean, again.mean) and first.captions == again.captions
    assert set(load_file(kept)) == {"mean", "std"}


def test_a_panels_pictures_that_are_a_pickle_are_refused(tmp_path: Path, marker: Path) -> None:
    from trainables.panels.panel import _read_pictures

    np.save(tmp_path / "base.npy", np.array([Trap(marker)], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        _read_pictures(tmp_path / "base.npy")


def test_the_command_says_it_in_one_line(folder: Path, tiny_subject: Path, tmp_path: Path, marker: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    plant(folder / "unet" / "diffusion_pytorch_model.bin", marker)
    command = ["sweep", "puppets", "--base", folder, "--subject", tiny_subject, "--home", tmp_path / "runs"]
    done = subprocess.run([sys.executable, "-m", "search", *map(str, command)], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"--base {folder}/unet: cannot be loaded: diffusion_pytorch_model.bin is a pickle" in done.stderr
