"""Bases as they are found in the world: halves, shards, leftovers, and parts that do not belong together."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from benchmarks.sd15 import make
from spaces import InputError
from trainables.base import Base

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion 1.5's layout, in fp16."""
    return make(tmp_path_factory.mktemp("published") / "base", width=32, pixels=64, half=True)


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(published, tmp_path / "base"))


def assert_same_weights(a: Base, b: Base) -> None:
    for part in ("unet", "vae", "text_encoder", "controlnet"):
        ours, theirs = (dict(getattr(base, part).named_parameters()) for base in (a, b))
        assert ours.keys() == theirs.keys()
        assert [name for name, p in ours.items() if not torch.equal(p, theirs[name])] == []


def rename_weights(folder: Path) -> None:
    for path in folder.glob("*/*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))


def shard(folder: Path, variant: str | None) -> None:
    kinds = (("unet", UNet2DConditionModel), ("controlnet", ControlNetModel), ("text_encoder", CLIPTextModel))
    for part, kind in kinds:
        model = kind.from_pretrained(folder / part, torch_dtype=torch.float16)
        shutil.rmtree(folder / part)
        model.save_pretrained(folder / part, max_shard_size="2MB", variant=variant)
        assert len(list((folder / part).glob("*.safetensors"))) > 1


def leave_things_beside(folder: Path) -> None:
    """As the hub's repository has them."""
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"_class_name": "NoSuchPipeline", "safety_checker": ["nowhere", "NoSuchChecker"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "safety_checker").mkdir()
    for name in (
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "v1-5-pruned.ckpt",
        "text_encoder/pytorch_model.bin",
    ):
        (folder / name).write_bytes(b"never read")


FORMS: dict[str, Callable[[Path], None]] = {
    "only the fp16 variant": rename_weights,
    "in shards": lambda folder: shard(folder, None),
    "only the fp16 variant, in shards": lambda folder: shard(folder, "fp16"),
    "other files beside": leave_things_beside,
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_weights(published: Path, folder: Path, name: str) -> None:
    FORMS[name](folder)
    assert_same_weights(Base.load(folder), Base.load(published))


def test_what_is_not_read_is_not_in_the_fingerprint(published: Path, folder: Path) -> None:
    leave_things_beside(folder)
    assert Base.load(folder).fingerprint == Base.load(published).fingerprint
    rename_weights(folder)
    assert Base.load(folder).fingerprint != Base.load(published).fingerprint


def test_a_controlnet_of_its_own_has_its_files_at_the_top(published: Path, folder: Path, tmp_path: Path) -> None:
    """As `control_v11p_sd15_openpose` has, pickles beside them."""
    pose = Path(shutil.move(folder / "controlnet", tmp_path / "control_v11p"))
    (pose / "diffusion_pytorch_model.bin").write_bytes(b"never read")
    assert_same_weights(Base.load(folder, pose), Base.load(published))
    (pose / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"control_v11p: cannot be loaded: diffusion_pytorch_model.bin is a pickle"):
        Base.load(folder, pose)


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def drop_a_weight(folder: Path) -> None:
    tensors = load_file(folder / UNET)
    del tensors["conv_in.bias"]
    save_file(tensors, folder / UNET)


def remake(kind: type[UNet2DConditionModel | ControlNetModel], part: str, **changes: object) -> Callable[[Path], None]:
    """Puts another model, with these settings changed, in a part's place."""

    def spoil(folder: Path) -> None:
        config = json.loads((folder / part / "config.json").read_text())
        kind.from_config(config, **changes).save_pretrained(folder / part)

    return spoil


MISFITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a weight is missing": (drop_a_weight, "unet: cannot be loaded"),
    "an inpainting model": (
        remake(UNet2DConditionModel, "unet", in_channels=9),
        "unet: takes 9 channels, the VAE gives 4; an inpainting model's?",
    ),
    "another text encoder": (
        remake(UNet2DConditionModel, "unet", cross_attention_dim=96),
        "unet: takes text of width 96 (nothing beside), the text encoder gives 72",
    ),
    "SDXL's further conditions": (
        remake(UNet2DConditionModel, "unet", addition_embed_type="text"),
        "unet: takes text of width 72 (text beside), the text encoder gives 72; it should be a Stable Diffusion 1 or 2",
    ),
    "another base's ControlNet": (
        remake(ControlNetModel, "controlnet", layers_per_block=1),
        "layers_per_block: 1 does not fit, the UNet's is 2",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_parts_that_do_not_fit_are_refused_in_one_line(folder: Path, name: str) -> None:
    spoil, problem = MISFITS[name]
    spoil(folder)
    with pytest.raises(InputError) as caught:
        Base.load(folder)
    assert problem in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("said", "length"), [(10**30, 77), (64, 64)])
def test_captions_are_as_long_as_the_text_encoder_and_tokenizer_allow(folder: Path, said: int, length: int) -> None:
    """Old tokenizers say nothing of a length, which is read as endless."""
    change(folder / "tokenizer/tokenizer_config.json", model_max_length=said)
    base = Base.load(folder)
    caption = "a photo of sks robot" + " in snow" * 100
    assert base.encode_text([caption]).shape == (1, length, 72)
    embedded, _ = base.pipeline().encode_prompt([caption], base.device, 1, do_classifier_free_guidance=False)
    assert torch.equal(embedded, base.encode_text([caption]))


def test_a_longer_text_encoder_takes_longer_captions(folder: Path) -> None:
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    encoder.config.max_position_embeddings = 248
    shutil.rmtree(folder / "text_encoder")
    CLIPTextModel(encoder.config).save_pretrained(folder / "text_encoder")
    change(folder / "tokenizer/tokenizer_config.json", model_max_length=248)
    assert Base.load(folder).encode_text(["a photo of sks robot"]).shape == (1, 248, 72)
