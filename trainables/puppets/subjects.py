"""Draws the two shipped subjects, which no model was trained on, in the subject folder's format."""

import json
import shutil
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from trainables.puppets.characters import BACKGROUNDS, SUBJECT_PERSON, SUBJECT_ROBOT, Character
from trainables.puppets.draw import Drawing, sample_drawing
from trainables.puppets.poses import SIZE, Grade, keypoints_of, sample_stance
from trainables.skeleton import PUPPET_13

PICTURES = 5
POSES = 16
"""Target poses of each grade; the training pictures have none of them."""
HELD_OUT = (
    "on grass at night", "on sand in a studio", "at a wall on grass", "in the sky at night", "on sand at a wall",
    "in a studio at night",
)  # fmt: skip
"""Scenes of words that the base knows, put together as no caption has them."""
_SEEDS = {"robot": 101, "person": 202}


def write_subjects(folder: Path) -> None:
    """`folder/robot` and `folder/person`."""
    for name, character in (("robot", SUBJECT_ROBOT), ("person", SUBJECT_PERSON)):
        write_subject(folder / name, character, _SEEDS[name])


def write_subject(folder: Path, character: Character, seed: int, token: str = "sks") -> None:
    """Pictures in plain stances before different backgrounds, their captions, keypoints and masks, and target poses."""
    generator = np.random.default_rng(seed)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "masks").mkdir(parents=True)
    scenes = generator.permutation(BACKGROUNDS)[:PICTURES]
    drawings = [sample_drawing(generator, character, "plain", str(scene)) for scene in scenes]
    rows = [_write_picture(folder, number, drawing, character, token) for number, drawing in enumerate(drawings)]
    grades: list[Grade] = ["plain"] * POSES + ["hard"] * POSES
    poses = [{"grade": grade, "keypoints": _pose(generator, character, grade)} for grade in grades]
    about = {
        "class": character.kind,
        "token": token,
        "skeleton": PUPPET_13.name,
        "prompts": [f"a {{name}} {background}" for background in BACKGROUNDS],
        "held_out_prompts": [f"a {{name}} {scene}" for scene in HELD_OUT],
    }
    (folder / "subject.yaml").write_text(yaml.safe_dump(about, sort_keys=False), encoding="utf-8")
    _write_lines(folder / "metadata.jsonl", rows)
    _write_lines(folder / "poses.jsonl", poses)
    example = {"skeleton": PUPPET_13.name, "size": SIZE, "keypoints": _pose(generator, character, "hard")}
    (folder / "pose-example.json").write_text(json.dumps(example) + "\n", encoding="utf-8")


def _write_picture(folder: Path, number: int, drawing: Drawing, character: Character, token: str) -> dict[str, object]:
    picture, mask = f"{number:02d}.png", f"masks/{number:02d}.png"
    Image.fromarray(drawing.pixels).save(folder / picture)
    Image.fromarray(drawing.mask).save(folder / mask)
    return {
        "file_name": picture,
        "text": f"a {token} {character.kind} {drawing.background}",
        "keypoints": _rounded(drawing.keypoints),
        "mask": mask,
    }


def _pose(generator: np.random.Generator, character: Character, grade: Grade) -> list[list[float]]:
    return _rounded(keypoints_of(character, sample_stance(generator, grade)))


def _rounded(keypoints: np.ndarray) -> list[list[float]]:
    return [[round(float(x), 2), round(float(y), 2), int(v)] for x, y, v in keypoints]


def _write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
