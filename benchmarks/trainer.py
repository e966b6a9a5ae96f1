"""Seconds per training step beside those of diffusers' script, in one run: `python -m benchmarks.trainer`.

The model has Stable Diffusion 1.5's layout and random weights (`benchmarks.sd15`), at a width and a picture size that
the device can do; on a GPU `--width 320 --size 512 --device cuda` is the true one. Both sides train a LoRA of rank 16
on all attention, VAE and text encoder frozen, on the same pictures and captions in the same batches. The reference is
the step of `train_dreambooth_lora.py` as the script runs it: eager, in fp32, with VAE and text encoder in every step.
Sides take turns, round by round, so that whatever else the machine does falls on all of them; what is printed is the
median of the rounds, with their range, and the median of the ratios within a round. At width 160 the VAE has exactly
its share of the work; at 64 and 32 it has more, since its channels cannot be that few.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from peft import LoraConfig
from torch.nn.functional import mse_loss
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.sd15 import make
from spaces import Recipe
from trainables.base import DTYPES, Base
from trainables.finetune import FineTune
from trainables.generate import draw_pictures, start_noise
from trainables.skeleton import render, skeleton_named
from trainables.subject import Subject

RANK, RATE = 16, 1e-4
ATTENTION = ["to_k", "to_q", "to_v", "to_out.0"]
PEAKS = {"H100": 989, "H200": 989, "A100": 312, "L40S": 362, "L40": 181, "L4": 121, "A10": 125, "4090": 165, "3090": 71}
"""Dense bf16 TFLOP/s by what a card's name contains, from the makers' data sheets."""


@dataclass(frozen=True)
class Side:
    """One way to take a step."""

    name: str
    step: Callable[[], object]


class Script:
    """The step of diffusers' DreamBooth LoRA script, without prior, on a base's models."""

    def __init__(self, base: Base, subject: Subject, batch: int) -> None:
        self.base, self.batch = base, batch
        self.unet = deepcopy(base.unet)
        self.unet.add_adapter(
            LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=ATTENTION)
        )
        self.trained = [p for p in self.unet.parameters() if p.requires_grad]
        for parameter in self.trained:  # the script's cast_training_params
            parameter.data = parameter.data.float()
        self.optimizer = torch.optim.AdamW(self.trained, lr=RATE, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
        fitted = [picture.fitted(base.size) for picture in subject.pictures]
        pixels = np.stack([picture.pixels for picture in fitted]).astype(np.float32) / 127.5 - 1
        self.pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        self.ids = base.tokens([picture.caption for picture in fitted])
        self.turn = 0

    def step(self) -> float:
        base, device = self.base, self.base.device
        which = [(self.turn + i) % len(self.pixels) for i in range(self.batch)]
        self.turn += self.batch
        pixels = self.pixels[which].to(device, base.dtype)
        with torch.autocast(device.type, DTYPES[base.precision], base.precision != "fp32"):
            latents = base.vae.encode(pixels).latent_dist.sample() * base.vae.config.scaling_factor
            noise = torch.randn_like(latents)
            timesteps = torch.randint(0, 1000, (self.batch,), device=device)
            noised = base.schedule.add_noise(latents, noise, timesteps)
            words = base.text_encoder(self.ids[which], return_dict=False)[0]
            predicted = self.unet(noised, timesteps, words.to(base.dtype), return_dict=False)[0]
            loss = mse_loss(predicted.float(), noise.float(), reduction="mean")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


@contextmanager
def fine_tune(base: Base, subject: Subject, batch: int) -> Iterator[FineTune]:
    recipe = Recipe(targets="attention", rank=RANK, learning_rate=RATE, batch_size=batch)
    tune = FineTune(base, subject, recipe, seed=0)
    try:
        yield tune
    finally:
        tune.remove()


def seconds(action: Callable[[], object], steps: int, device: torch.device) -> float:
    """Of one step, the mean over some."""
    start = time.perf_counter()
    for _ in range(steps):
        action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / steps


def in_turns(sides: list[Side], rounds: int, steps: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds per step of each side in each round, after a round that does not count."""
    times: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds + 1):
        for side in sides:
            taken = seconds(side.step, steps, device)
            if number:
                times[side.name].append(taken)
    return times


def tera_operations(action: Callable[[], object]) -> float:
    """Of one step, forward and backward, as the shapes of its matrix products and convolutions say: 1e12 operations."""
    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops() / 1e12


def peak_gigabytes(action: Callable[[], object], device: torch.device) -> float | None:
    """The most GPU memory that was held during one step, frozen models included; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    action()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) / 1e9


def training(folder: Path, subject: Subject, device: str, precision: str, batch: int, rounds: int, steps: int) -> None:
    """Prints a table: the script, ours in its precision, and ours in its own where that is another."""
    plain = Base.load(folder, device=device, precision="fp32")
    script = Side("script, fp32", Script(plain, subject, batch).step)
    with fine_tune(plain, subject, batch) as tune:
        same = Side("ours, fp32: by caching alone", lambda: tune.advance(1))
        rows = measured([script, same], rounds, steps, plain.device)
    if precision != "fp32":
        with fine_tune(Base.load(folder, device=device, precision=precision), subject, batch) as tune:
            default = Side(f"ours, {precision}: as by default", lambda: tune.advance(1))
            rows |= {default.name: measured([script, default], rounds, steps, plain.device)[default.name]}
    print(f"\nbatch {batch}\n")
    print("| step | s/step (range) | it/s | of the script's | TFLOP | TFLOP/s | peak memory, GB |")
    print("|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {row} |")


def measured(sides: list[Side], rounds: int, steps: int, device: torch.device) -> dict[str, str]:
    """The cells of each side's row; the first is what the others are compared with."""
    times = in_turns(sides, rounds, steps, device)
    first = times[sides[0].name]
    rows = {}
    for side in sides:
        own = times[side.name]
        middle = statistics.median(own)
        ratio = statistics.median(a / b for a, b in zip(own, first, strict=True))
        work, memory = tera_operations(side.step), peak_gigabytes(side.step, device)
        cells = (
            f"{middle:.3f} ({min(own):.3f} to {max(own):.3f})", f"{1 / middle:.2f}", f"{ratio:.2f}", f"{work:.3g}",
            f"{work / middle:.3g}", "" if memory is None else f"{memory:.1f}",
        )  # fmt: skip
        rows[side.name] = " | ".join(cells)
    return rows


def scoring(folder: Path, subject: Subject, device: str, precision: str, count: int, steps: int) -> None:
    """Prints pictures per second as a panel draws them: with ControlNet and guidance."""
    base = Base.load(folder, device=device, precision=precision)
    skeleton = skeleton_named(subject.skeleton, subject.folder / "subject.yaml")
    poses = [pose for _, pose in zip(range(count), subject.poses, strict=False)]
    skeletons = [render(pose.keypoints, base.size, skeleton, source_size=pose.size) for pose in poses]
    prompts, noise = ["a photo of sks robot"] * len(poses), start_noise(base, list(range(len(poses))))

    def draw(sampler_steps: int) -> object:
        return draw_pictures(base, prompts, skeletons, noise, sampler_steps, guidance=7.5, controlnet_scale=1.0)

    draw(1)
    taken = seconds(lambda: draw(steps), 1, base.device)
    print(
        f"\nscoring: {len(poses)} pictures of {base.size} px, {steps} sampler steps with guidance and ControlNet, "
        f"{base.precision}: {len(poses) / taken:.2f} pictures/s"
    )


def profiled(folder: Path, subject: Subject, device: str, precision: str, batch: int) -> None:
    """Prints where the time of our steps goes, by operation."""
    base = Base.load(folder, device=device, precision=precision)
    cuda = base.device.type == "cuda"
    with fine_tune(base, subject, batch) as tune:
        tune.advance(2)
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
        with profile(activities=activities) as seen:
            tune.advance(3)
    order = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    print(seen.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=60))


def main(
    width: Annotated[int, typer.Option(help="The UNet's; 320 is SD 1.5's.")] = 160,
    size: Annotated[int, typer.Option(help="Side of the pictures in pixels; 512 is SD 1.5's.")] = 256,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"], typer.Option(help="Of ours as by default; auto is the device's.")
    ] = "auto",
    batch: Annotated[list[int] | None, typer.Option(help="Samples a step; several times for several.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often the sides take turns.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a side in a round.")] = 3,
    pictures: Annotated[int, typer.Option(min=0, help="How many are drawn to time scoring; 0 is not.")] = 4,
    where: Annotated[bool, typer.Option("--profile", help="Only print where our time goes.")] = False,
) -> None:
    with TemporaryDirectory() as work:
        folder, subject = make(Path(work) / "base", width, size), Subject.load("puppets/robot")
        base = Base.load(folder, device=device, precision=precision)
        print(f"SD 1.5's layout at width {width}, {size} px, rank {RANK}; {hardware(base.device)}")
        precision = base.precision
        del base
        if where:
            profiled(folder, subject, device, precision, (batch or [1])[0])
            return
        for each in batch or [1, 2, 4]:
            training(folder, subject, device, precision, each, rounds, steps)
        if pictures:
            scoring(folder, subject, device, precision, pictures, 20)


def hardware(device: torch.device) -> str:
    if device.type != "cuda":
        return f"{torch.get_num_threads()} CPU threads"
    name = torch.cuda.get_device_name(device)
    peak = next((peak for part, peak in PEAKS.items() if part in name), None)
    return f"{name}, " + (f"bf16 peak {peak} TFLOP/s" if peak else "whose bf16 peak is not in PEAKS")


if __name__ == "__main__":
    typer.run(main)
