"""Measures the trained base and judges on held-out characters and poses, and writes the model card."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trainables.base import Base
from trainables.generate import draw_pictures, start_noise
from trainables.judges import IdentityJudge, KeypointJudge, load_judges, pck
from trainables.judges.check import area_under_curve
from trainables.puppets.autoencoder import reconstruction_psnr
from trainables.puppets.dataset import HELD_OUT_HARD_SHARE, HELD_OUT_SEED, Dataset, make_dataset, to_unit
from trainables.puppets.judging import character_views, worsen
from trainables.puppets.models import parameter_count

HELD_OUT = 1000
_GENERATED = 64
"""Generated pictures for each kind and grade."""
_STEPS, _GUIDANCE = 15, 3.0
_GROUPS = tuple((kind, grade) for kind in ("people", "robots") for grade in ("plain", "hard"))


def measure(folder: Path, work: Path, device: str) -> dict[str, float]:
    """Every figure of the card, from the weights as they ship (fp16, computed in fp32)."""
    base = Base.load(str(folder), device=device)
    judges = load_judges(folder, device)
    data = make_dataset(HELD_OUT, HELD_OUT_SEED, work, HELD_OUT_HARD_SHARE)
    figures = {"autoencoder PSNR, dB": reconstruction_psnr(base.vae, data.pixels)}
    figures |= _identity_figures(judges.identity, work)
    figures |= _keypoint_figures(judges.keypoints, data)
    figures |= _generation_figures(base, judges.keypoints, data, work / "generated.png")
    for name in ("vae", "text_encoder", "unet", "controlnet"):
        figures[f"million parameters, {name}"] = parameter_count(getattr(base, name)) / 1e6
    return figures


def _identity_figures(judge: IdentityJudge, work: Path) -> dict[str, float]:
    pixels, regions, person = character_views(300, HELD_OUT_SEED + 10, work)
    figures = {}
    for name, pictures in (("drawn", pixels), ("blurred and noisy", _worsened(pixels))):
        first, second = (
            judge.embed(pictures[:, view].permute(0, 2, 3, 1).numpy(), regions[:, view].numpy()) for view in (1, 2)
        )
        similarity = (first @ second.T).numpy()
        for kind, who in (("people", person.numpy()), ("robots", ~person.numpy())):
            among = similarity[np.ix_(who, who)]
            other = among[~np.eye(len(among), dtype=bool)]
            figures[f"identity judge AUC, {kind}, {name}"] = area_under_curve(among.diagonal(), other)
            figures[f"identity judge, mean cosine same character, {kind}, {name}"] = float(among.diagonal().mean())
            figures[f"identity judge, mean cosine different characters, {kind}, {name}"] = float(other.mean())
    return figures


def _worsened(pixels: torch.Tensor) -> torch.Tensor:
    unit = worsen(to_unit(pixels.flatten(0, 1)), torch.Generator().manual_seed(5))
    return ((unit + 1) * 127.5).round().to(torch.uint8).reshape(pixels.shape)


def _keypoint_figures(judge: KeypointJudge, data: Dataset) -> dict[str, float]:
    figures = {}
    for name, pixels in (("drawn", data.pixels), ("blurred and noisy", _worsened(data.pixels[None])[0])):
        share = pck(judge.detect(pixels.permute(0, 2, 3, 1).numpy()), data.keypoints.numpy(), pixels.shape[-1])
        for kind, grade in _GROUPS:
            figures[f"keypoint judge PCK@0.05, {kind}, {grade}, {name}"] = float(
                share[_group(data, kind, grade)].mean()
            )
    return figures


def _group(data: Dataset, kind: str, grade: str) -> np.ndarray:
    return ((data.person == (kind == "people")) & (data.hard == (grade == "hard"))).nonzero().flatten().numpy()


def _generation_figures(base: Base, judge: KeypointJudge, data: Dataset, sheet: Path) -> dict[str, float]:
    """PCK of pictures that base + ControlNet draw of held-out captions and poses, and with the ControlNet off."""
    figures, rows = {}, []
    for kind, grade in _GROUPS:
        index = _group(data, kind, grade)[:_GENERATED]
        prompts = [data.captions[i] for i in index]
        skeletons = [Image.fromarray(data.skeletons[i].permute(1, 2, 0).numpy()) for i in index]
        noise = start_noise(base, [int(i) for i in index])
        rows += [data.pixels[index[:16]].permute(0, 2, 3, 1).numpy(), np.stack([np.asarray(s) for s in skeletons[:16]])]
        for name, scale in (("with ControlNet", 1.0), ("without ControlNet", 0.0)):
            pictures = draw_pictures(base, prompts, skeletons, noise, _STEPS, _GUIDANCE, scale)
            share = pck(judge.detect(pictures), data.keypoints.numpy()[index], pictures.shape[1])
            figures[f"generated PCK@0.05, {kind}, {grade}, {name}"] = float(share.mean())
            rows.append(pictures[:16])
    for kind in ("people", "robots"):
        plain, hard = (figures[f"generated PCK@0.05, {kind}, {grade}, with ControlNet"] for grade in ("plain", "hard"))
        mixed = (1 - HELD_OUT_HARD_SHARE) * plain + HELD_OUT_HARD_SHARE * hard
        figures[f"generated PCK@0.05, {kind}, {HELD_OUT_HARD_SHARE:.0%} hard, with ControlNet"] = mixed
    Image.fromarray(np.vstack([np.hstack(list(row)) for row in rows])).save(sheet)
    return figures


def write_card(path: Path, figures: dict[str, float], steps: dict[str, int], seed: int) -> None:
    """Markdown: what it is, how it was trained, what it reaches."""
    table = "\n".join(f"| {name} | {value:.3f} |" for name, value in figures.items())
    steps = ", ".join(f"{name} {value}" for name, value in steps.items())
    path.write_text(
        _TEXT.format(seed=seed, steps=steps, held_out=HELD_OUT, table=table, generated=_GENERATED), encoding="utf-8"
    )


_TEXT = """# The puppets' base

A latent-diffusion model in Stable Diffusion's layout, small enough for two CPU cores, with a ControlNet and two judges.
It exists so that posefront's searches can be run, tested and measured anywhere. It draws 64 x 64 pictures of drawn
people and robots, and nothing else. The folder `base/` holds fp16 safetensors, and
`StableDiffusionControlNetPipeline.from_pretrained` loads it.

Trained from nothing by `python -m trainables.puppets.train` with seed {seed} (steps: {steps}).
The base saw people and robots; **the ControlNet saw people only**, so it carries a human bias, as ControlNets for
photographs do. The judges saw both, clear, blurred and noisy. No model saw the colours of the two shipped subjects
together, or a robot with another number of limbs than two arms and two legs.

Captions name the kind, up to three colours, and the scene: "a robot with red body and black head on grass". Unused
words that are one token each, for new subjects: sks, zwx, ohwx, phol, kvk, bnha, qlz, wrf.

## Measured

On {held_out} held-out pictures (characters, stances and scenes of their own); generated pictures: {generated} for each
kind and grade, 15 steps of DPM-Solver++, guidance 3. PCK@0.05 is the share of joints within 0.05 x 64 = 3.2 pixels.
"Without ControlNet" is the floor: how well a figure drawn anywhere meets the pose by chance.

| what | value |
| --- | --- |
{table}
"""
