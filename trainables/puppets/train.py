"""Trains the embedded base and its judges from nothing: `python -m trainables.puppets.train`.

Interrupted, it goes on where it was; with `torchrun --nproc-per-node 2 -m trainables.puppets.train` two processes share
the work. The work folder keeps drawn pictures and unfinished trainings; the result is a
diffusers folder with the judges beside it, fp16 safetensors, and the measured card.
"""

import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from diffusers import StableDiffusionControlNetPipeline

from trainables.machine.device import device_named
from trainables.puppets import models, parallel
from trainables.puppets.autoencoder import polish_decoder, train_autoencoder
from trainables.puppets.card import measure, write_card
from trainables.puppets.dataset import TRAIN_HARD_SHARE, TRAIN_SEED, make_dataset
from trainables.puppets.denoiser import NoisedLatents, train_controlnet, train_denoiser, words_of
from trainables.puppets.judging import train_identity, train_keypoints
from trainables.puppets.subjects import write_subjects

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Plan:
    """How long each model trains, in optimizer steps, and on how many pictures."""

    pictures: int = 16_000
    vae: int = 1500
    decoder: int = 1500
    denoiser: int = 4000
    controlnet: int = 2500
    identity: int = 1000
    keypoints: int = 5000

    def scaled(self, factor: float) -> "Plan":
        """The same with `factor` times the steps and pictures, at least one each."""
        return replace(self, **{f.name: max(1, round(getattr(self, f.name) * factor)) for f in fields(self)})


def train(plan: Plan, work: Path, out: Path, seed: int, device: str) -> None:
    """Trains whatever `work` has not finished, and writes the base to `out`."""
    with parallel.first_process_first():
        data = make_dataset(plan.pictures, TRAIN_SEED, work, TRAIN_HARD_SHARE)
        tokens = models.tokenizer(words_of(data), work / "tokenizer")
    vae = train_autoencoder(data, plan.vae, work, seed, device)
    keypoints = train_keypoints(data, work, plan.keypoints, seed, device)
    identity = train_identity(work, plan.identity, seed, device, characters=max(100, plan.pictures // 4))
    latents = NoisedLatents(data, vae, tokens, device)
    unet, text = train_denoiser(latents, plan.denoiser, work, seed)
    control = train_controlnet(latents, unet, text, plan.controlnet, work, seed)
    polish_decoder(vae, data, plan.decoder, work, seed, device)
    if not parallel.is_first():
        return
    pipeline = StableDiffusionControlNetPipeline(
        vae=vae, text_encoder=text, tokenizer=tokens, unet=unet, controlnet=control, scheduler=models.noise_schedule(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(partial, safe_serialization=True)
    identity.half().save_pretrained(partial / "judges" / "identity")
    keypoints.half().save_pretrained(partial / "judges" / "keypoints")
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)


def main(
    work: Annotated[Path, typer.Option(help="keeps drawn pictures and unfinished trainings")] = Path("scratch/puppets"),
    out: Annotated[Path, typer.Option(help="the base's folder")] = HERE / "base",
    card: Annotated[Path, typer.Option(help="the measured figures")] = HERE / "CARD.md",
    seed: Annotated[int, typer.Option(help="of everything that is drawn at random")] = 0,
    device: Annotated[str, typer.Option(help="`cpu`, `cuda`, or `auto`")] = "auto",
    scale: Annotated[float, typer.Option(help="steps and pictures as a multiple of the shipped plan's")] = 1.0,
) -> None:
    """Trains the puppets' base and judges, draws the shipped subjects, and measures it all."""
    device = str(device_named(device))
    plan = Plan().scaled(scale)
    parallel.join()
    train(plan, work, out, seed, device)
    if parallel.is_first():
        write_subjects(HERE / "subjects")
        write_card(card, measure(out, work, device), asdict(plan), seed)
    parallel.leave()


if __name__ == "__main__":
    typer.run(main)
