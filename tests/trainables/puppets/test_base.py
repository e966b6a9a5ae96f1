"""The shipped weights, held to what the card says of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline
from PIL import Image

from trainables.base import Base
from trainables.generate import draw_pictures, start_noise
from trainables.judges import load_judges, pck
from trainables.judges.check import area_under_curve
from trainables.puppets.autoencoder import reconstruction_psnr
from trainables.puppets.dataset import HELD_OUT_HARD_SHARE, _draw
from trainables.puppets.judging import character_views
from trainables.puppets.models import RARE_TOKENS

UNSEEN_SEED = 77


@pytest.fixture(scope="module")
def base() -> Base:
    return Base.load("puppets")


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    return _draw(200, UNSEEN_SEED, HELD_OUT_HARD_SHARE)


def test_diffusers_loads_the_folder_like_any_other(base):
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(base.folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pose = Image.new("RGB", (64, 64))
    picture = pipeline("a person on grass", image=pose, num_inference_steps=1, generator=torch.Generator()).images[0]
    assert picture.size == (64, 64)


def test_the_shipped_files_are_small_and_safetensors_alone(base):
    files = [path for path in base.folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".txt"}


def test_rare_tokens_are_one_token_and_any_text_can_be_spelled(base):
    for word in (*RARE_TOKENS, "robot", "person", "red"):
        assert len(base.tokenizer.tokenize(word)) == 1
    assert "".join(base.tokenizer.tokenize("Zebra-7")).replace("</w>", "") == "zebra-7"


def test_the_autoencoder_keeps_pictures(base, drawn):
    assert reconstruction_psnr(base.vae, torch.from_numpy(drawn["pixels"])) > 29


def test_the_keypoint_judge_finds_joints_of_people_and_of_robots(base, drawn):
    found = load_judges(base.folder).keypoints.detect(drawn["pixels"].transpose(0, 2, 3, 1))
    share = pck(found, drawn["keypoints"], 64)
    assert share[drawn["person"]].mean() > 0.93 and share[~drawn["person"]].mean() > 0.93


def test_the_identity_judge_tells_characters_apart(base, tmp_path: Path):
    pixels, regions, _ = character_views(100, UNSEEN_SEED, tmp_path)
    judge = load_judges(base.folder).identity
    first, second = (judge.embed(pixels[:, v].permute(0, 2, 3, 1).numpy(), regions[:, v].numpy()) for v in (1, 2))
    similarity = (first @ second.T).numpy()
    assert area_under_curve(similarity.diagonal(), similarity[~np.eye(100, dtype=bool)]) > 0.97


def test_the_controlnet_poses_people_better_than_robots_and_chance(base, drawn):
    """The human bias, which the searches are about: on few pictures, so the margin is wide."""
    judge, plain = load_judges(base.folder).keypoints, ~drawn["hard"]
    means = {}
    for kind, who in (("people", drawn["person"] & plain), ("robots", ~drawn["person"] & plain)):
        index = np.flatnonzero(who)[:12]
        prompts = drawn["captions"][index].tolist()
        skeletons = [Image.fromarray(drawn["skeletons"][i].transpose(1, 2, 0)) for i in index]
        for scale in (1.0, 0.0):
            pictures = draw_pictures(base, prompts, skeletons, start_noise(base, index.tolist()), 10, 3.0, scale)
            means[kind, scale] = pck(judge.detect(pictures), drawn["keypoints"][index], 64).mean()
    assert means["people", 1.0] > 0.85 > 0.5 > means["people", 0.0]
    assert means["people", 1.0] > means["robots", 1.0] + 0.03
