"""Trains the judges: an identity encoder and a keypoint detector, on people and robots, clear, blurred and noisy."""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate, log_softmax, normalize
from transformers import Dinov2Model, VitPoseForPoseEstimation

from trainables.puppets import models
from trainables.puppets.characters import sample_character
from trainables.puppets.dataset import PEOPLE_SHARE, Dataset, to_unit
from trainables.puppets.draw import sample_drawing
from trainables.puppets.loop import fit, seeded
from trainables.puppets.parallel import first_process_first, part_of
from trainables.puppets.poses import SIZE
from trainables.skeleton import region

VIEWS = 4
_HEATMAP = 16
_SIGMA = 0.6
"""Width of a joint's target in heatmap cells."""
_TEMPERATURE = 0.1
_MASK = 0.88
"""Share of the views whose background is masked, as the panel masks it."""


def worsen(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blur, noise and shifted colours, each on some of the pictures (n x 3 x h x w in -1..1).

    Generated pictures are never as clean as drawn ones; a judge that saw only those would punish the wrong thing.
    """
    chance = lambda: torch.rand(len(pictures), 1, 1, 1, generator=generator)  # noqa: E731
    half = interpolate(avg_pool2d(pictures, 2), scale_factor=2, mode="bilinear")
    soft = avg_pool2d(torch.nn.functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    which = chance()
    pictures = torch.where(which < 0.2, half, torch.where(which < 0.45, soft, pictures))
    amount = chance() * 0.35 * (chance() < 0.5)
    coarse = torch.randn(len(pictures), 3, SIZE // 4, SIZE // 4, generator=generator)
    fine = torch.randn(pictures.shape, generator=generator)
    pictures = pictures + amount * (0.6 * fine + 0.6 * interpolate(coarse, scale_factor=4, mode="bilinear"))
    contrast, shift = 1 + 0.3 * (chance() - 0.5), 0.2 * (chance() - 0.5)
    return (pictures * contrast + shift).clamp(-1, 1)


def character_views(characters: int, seed: int, folder: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures and regions of each of some characters, in stances and scenes of their own, and who is a person.

    characters x VIEWS x 3 x 64 x 64 uint8, characters x VIEWS x 64 x 64 bool, and characters bool.
    """
    path = folder / f"characters-{characters}-{seed}.npz"
    if not path.exists():
        generator = np.random.default_rng(seed)
        person = generator.random(characters) < PEOPLE_SHARE
        pixels, regions = [], []
        for p in person:
            character = sample_character(generator, bool(p))
            views = [sample_drawing(generator, character, "hard" if v == 0 else "plain") for v in range(VIEWS)]
            pixels.append([d.pixels.transpose(2, 0, 1) for d in views])
            regions.append([region(d.keypoints, SIZE) for d in views])
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, pixels=np.array(pixels), regions=np.array(regions), person=person)
        partial.replace(path)
    with np.load(path, allow_pickle=False) as arrays:
        return tuple(torch.from_numpy(arrays[name]) for name in ("pixels", "regions", "person"))


def train_identity(
    work: Path, steps: int, seed: int, device: str, characters: int = 4000, batch: int = 64
) -> Dinov2Model:
    """Two views of each of `batch` characters, told apart by InfoNCE (van den Oord et al. 2018) both ways."""
    with first_process_first():
        pixels, regions, _ = character_views(characters, seed + 10, work)
    with seeded(seed + 3):
        model = models.identity_encoder().to(device)
    model.embeddings.mask_token.requires_grad_(False)  # masked-image training only

    def loss(generator: torch.Generator, _: int) -> torch.Tensor:
        index = torch.randperm(characters, generator=generator)[:batch]
        first = torch.randint(VIEWS, (batch,), generator=generator)
        second = (first + torch.randint(1, VIEWS, (batch,), generator=generator)) % VIEWS
        index, view = index.repeat(2), torch.cat([first, second])
        pictures, shown = to_unit(pixels[index, view]), regions[index, view][:, None]
        shown = shown | (torch.rand(len(index), 1, 1, 1, generator=generator) > _MASK)
        pictures = torch.where(shown, worsen(pictures, generator), 0.0)
        with torch.autocast(device, torch.bfloat16):
            embedded = model(pictures.to(device)).pooler_output
        a, b = normalize(embedded.float(), dim=-1).chunk(2)
        logits = a @ b.T / _TEMPERATURE
        same = torch.arange(batch, device=logits.device)
        return (cross_entropy(logits, same) + cross_entropy(logits.T, same)) / 2

    fit("identity", model, loss, steps, 1e-3, work, seed + 3)
    return model.eval()


def train_keypoints(
    data: Dataset, work: Path, steps: int, seed: int, device: str, batch: int = 48
) -> VitPoseForPoseEstimation:
    """Cross-entropy between a heatmap's softmax and a small Gaussian at the joint."""
    with seeded(seed + 4):
        model = models.keypoint_detector().to(device)
    cells = torch.arange(_HEATMAP) + 0.5

    def targets(keypoints: torch.Tensor) -> torch.Tensor:
        position = keypoints * _HEATMAP / SIZE
        x, y = (torch.exp(-0.5 * ((cells - position[..., k, None]) / _SIGMA) ** 2) for k in (0, 1))
        heat = (y[..., :, None] * x[..., None, :]).flatten(2)
        return heat / heat.sum(-1, keepdim=True)

    def loss(generator: torch.Generator, _: int) -> torch.Tensor:
        index = torch.randint(len(data), (batch,), generator=generator)
        pictures = part_of(worsen(to_unit(data.pixels[index]), generator))
        with torch.autocast(device, torch.bfloat16):
            heatmaps = model(pictures.to(device)).heatmaps
        return (
            -(targets(data.keypoints[part_of(index)]).to(device) * log_softmax(heatmaps.float().flatten(2), -1))
            .sum(-1)
            .mean()
        )

    fit("keypoints", model, loss, steps, 1e-3, work, seed + 4)
    return model.eval()
