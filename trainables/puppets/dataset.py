"""The pictures that the puppets' models learn from, and those that they are measured on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from trainables.puppets.characters import sample_character
from trainables.puppets.draw import sample_drawing
from trainables.skeleton import PUPPET_13, render

TRAIN_SEED, HELD_OUT_SEED = 1, 2
"""Held-out pictures have characters, stances and scenes of their own."""
PEOPLE_SHARE = 0.6
TRAIN_HARD_SHARE, HELD_OUT_HARD_SHARE = 0.5, 0.3
"""Hard poses take longer to learn, so training has more of them."""
_PARTS_NAMED = (0.2, 0.1, 0.2, 0.5)
"""How often a caption names no part, one, two, or all three: prompts name none."""


@dataclass(frozen=True)
class Dataset:
    """n drawn pictures."""

    pixels: torch.Tensor
    """n x 3 x 64 x 64 uint8."""
    skeletons: torch.Tensor
    """n x 3 x 64 x 64 uint8: the conditioning pictures."""
    keypoints: torch.Tensor
    """n x 13 x 2 float, pixels."""
    person: torch.Tensor
    """n bool."""
    hard: torch.Tensor
    """n bool."""
    captions: list[str]

    def __len__(self) -> int:
        return len(self.captions)


def make_dataset(count: int, seed: int, folder: Path, hard_share: float) -> Dataset:
    """Draws `count` pictures, or reads them where they were drawn before (the same seed draws the same)."""
    path = folder / f"pictures-{count}-{seed}-{hard_share:g}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **_draw(count, seed, hard_share))
        partial.replace(path)
    with np.load(path, allow_pickle=False) as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "captions"}
        return Dataset(**tensors, captions=arrays["captions"].tolist())


def _draw(count: int, seed: int, hard_share: float) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    person = generator.random(count) < PEOPLE_SHARE
    hard = generator.random(count) < hard_share
    characters, drawings = [], []
    for p, h in zip(person, hard, strict=True):
        characters.append(sample_character(generator, bool(p)))
        drawings.append(sample_drawing(generator, characters[-1], "hard" if h else "plain"))
    parts = np.random.default_rng([seed, 1]).choice(4, size=count, p=_PARTS_NAMED)
    skeletons = [np.asarray(render(d.keypoints, d.pixels.shape[0], PUPPET_13)) for d in drawings]
    return {
        "pixels": np.stack([d.pixels.transpose(2, 0, 1) for d in drawings]),
        "skeletons": np.stack([s.transpose(2, 0, 1) for s in skeletons]),
        "keypoints": np.stack([d.keypoints[:, :2] for d in drawings]).astype(np.float32),
        "person": person,
        "hard": hard,
        "captions": np.array(
            [c.caption(d.background, int(n)) for c, d, n in zip(characters, drawings, parts, strict=True)]
        ),
    }


def to_unit(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 to -1..1."""
    return pixels.float() / 127.5 - 1
