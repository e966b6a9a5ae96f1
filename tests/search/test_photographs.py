"""From photographs to an adapter that loads elsewhere, by the commands that a person types."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionControlNetPipeline
from PIL import Image, ImageDraw
from skimage import data

from benchmarks.sd15 import make
from tests.trainables.judges.models import make_dinov2, make_vitpose, seeded

ROOT = Path(__file__).parents[2]
PIXELS = 64
SPACE = """\
about: A fast look at a person.
base: {base}
subject: {subject}
rungs: [3]
objectives: [identity, pose]
recipe:
  targets: [cross-kv, attention]
  rank: {{low: 2, high: 4}}
  text_encoder: lora
  text_encoder_rank: 2
  prior: base
  learning_rate: 1.0e-3
"""


def posefront(*arguments: object) -> str:
    """What a command prints; it must end well."""
    ran = subprocess.run(
        [sys.executable, "-m", "search", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=580,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "160"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def take_photographs(folder: Path) -> Path:
    """Three cuts of the public-domain portrait that comes with scikit-image, as JPEG, with masks drawn by hand."""
    portrait = Image.fromarray(data.astronaut())
    mask = Image.new("L", portrait.size)
    drawing = ImageDraw.Draw(mask)
    drawing.ellipse((140, 10, 310, 210), fill=255)
    drawing.polygon([(60, 511), (90, 300), (180, 200), (280, 200), (400, 260), (440, 511)], fill=255)
    (folder / "masks").mkdir(parents=True)
    for number, box in enumerate([(0, 0, 512, 512), (20, 0, 420, 400), (100, 0, 356, 256)]):
        portrait.crop(box).save(folder / f"{number}.jpg", quality=95)
        mask.crop(box).save(folder / "masks" / f"{number}.png")
    return folder


@pytest.mark.slow
def test_a_portrait_goes_from_prepare_to_export(tmp_path: Path) -> None:
    base = make(tmp_path / "sd15", width=32, pixels=PIXELS)
    photographs, subject, home = take_photographs(tmp_path / "photographs"), tmp_path / "subject", tmp_path / "runs"
    judges = seeded(make_dinov2, tmp_path / "dinov2"), seeded(make_vitpose, tmp_path / "vitpose")

    said = posefront(
        "prepare", photographs, "-o", subject, "--class", "woman", "--size", PIXELS, "--openpose", "none"
    )  # fmt: skip
    assert "3 pictures, 0 with joints, 3 with masks" in said
    posefront("subject", "check", subject)

    (tmp_path / "fast.yaml").write_text(SPACE.format(base=base, subject=subject))
    posefront(
        "sweep", tmp_path / "fast.yaml", "--name", "portrait", "--trials", 2, "--panel-steps", 2, "--workers", 1,
        "--identity-judge", judges[0], "--pose-judge", judges[1], "--home", home,
    )  # fmt: skip
    found = json.loads(posefront("show", "portrait", "--json", "--home", home))
    assert len(found["observations"]) == 2
    for observation in found["observations"]:
        assert observation["steps"] == 3 and -1 <= observation["scores"]["identity"] <= 1

    posefront("export", "portrait", "--pick", "knee", "-o", tmp_path / "diffusers", "--home", home)
    posefront("export", "portrait", "--pick", "knee", "--format", "merged", "-o", tmp_path / "merged", "--home", home)
    plain, tuned, merged = draw(base), draw(base, tmp_path / "diffusers"), draw(tmp_path / "merged")
    assert np.abs(tuned - plain).max() > 0.01
    np.testing.assert_allclose(merged, tuned, atol=2e-3)


def draw(base: Path, adapter: Path | None = None) -> np.ndarray:
    """A picture as anybody would draw it with diffusers."""
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(base)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DDIMScheduler.from_pretrained(base, subfolder="scheduler")  # whichever the folder names
    if adapter is not None:
        pipeline.load_lora_weights(adapter)
    noise, pose = torch.Generator().manual_seed(0), Image.new("RGB", (PIXELS, PIXELS), "red")
    return pipeline("a photo of sks woman", pose, num_inference_steps=3, generator=noise, output_type="np").images
