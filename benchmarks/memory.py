"""What recipes take of memory beside what was predicted: `python -m benchmarks.memory`.

Recipes are drawn from the space `everything`, with batches of 1, 2 and 4 and their stages moved to the second step, so
that each is two segments of two steps: `load_of` says what is in a segment. A process for each recipe, so that none
inherits another's heap, trains them on a model of Stable Diffusion 1.5's layout with random weights, draws a picture
as scoring would, and measures with the trials' own meter: on a GPU what torch reserved, on a CPU the process's resident
set, Python and the libraries included. Each segment is then predicted twice: from those before it, as a sweep would
have it, and from all the others. Without a margin a prediction is a bound that may be too low; what is reserved has it.
"""

import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer

from search.trials.memory import MARGIN, Load, load_of, predict
from spaces import Inference, Recipe, load_space

SEGMENTS = ((0, 2), (2, 4))
SWITCHES = ("pose_from", "token_until", "text_encoder_until")
BATCHES = (1, 2, 4)


def drawn(count: int, seed: int) -> list[Recipe]:
    """Recipes of the space, with what begins later beginning at the second segment."""
    space, generator, found = load_space("everything"), np.random.default_rng(seed), []
    while len(found) < count:
        values = space.recipe(space.sample(generator)).model_dump()
        values |= {name: SEGMENTS[1][0] for name in SWITCHES if values[name]}
        values |= {"batch_size": BATCHES[len(found) % len(BATCHES)]}
        if values["prior"] == "images":
            values |= {"prior_images": 4}
        found.append(Recipe.parse(values))
    return found


def measured(folder: str, work: str, device: str, precision: str, values: dict[str, Any]) -> tuple[str, list[int]]:
    """The device, and the bytes of each segment. Runs in a process of its own."""
    import torch

    from trainables.base import Base
    from trainables.data.prior import class_prior
    from trainables.finetune import FineTune
    from trainables.generate import draw, start_noise
    from trainables.machine.meter import Meter, device_name
    from trainables.skeleton import render, skeleton_named
    from trainables.subject import Subject

    torch.set_num_threads(1)
    recipe, base = Recipe.parse(values), Base.load(folder, device=device, precision=precision)
    subject, peaks = Subject.load("puppets/robot"), []
    meter = Meter(base.device)
    prior = class_prior(base, subject, recipe.prior_images, work) if recipe.prior_images else None
    tune = FineTune(base, subject, recipe, 0, prior)
    pose, noise = subject.poses[0], start_noise(base, [0])
    skeleton = render(pose.keypoints, base.size, skeleton_named(subject.skeleton), source_size=pose.size)
    for start, stop in SEGMENTS:
        tune.advance(stop - start)
        draw(base, [subject.named(subject.prompts[0], token=True)], [skeleton], noise, 2, Inference())
        peaks.append(meter.peak())
        meter = Meter(base.device)
    return device_name(base.device), peaks


def in_words(recipe: Recipe, load: Load) -> str:
    """What a row is called."""
    parts = [
        f"{recipe.targets or recipe.unet} r{recipe.rank or 0}",
        f"{load.samples:g} samples",
        *(["dora"] if load.dora else []),
        *(["words"] if load.words else []),
        *(["ControlNet trains" if load.controlnet > 1 else "ControlNet"] if load.controlnet else []),
        *(["resized"] if load.resized else []),
    ]
    return ", ".join(parts)


def summary(name: str, rows: Sequence[tuple[int | None, int]]) -> str:
    """Of predictions and measurements: how often too little was reserved, and how much too much."""
    known = [(expected, taken) for expected, taken in rows if expected is not None]
    if not known:
        return f"{name}: nothing could be predicted"
    short = sum(expected < taken for expected, taken in known)
    bare = sum(expected / MARGIN < taken for expected, taken in known)
    over = float(np.median([expected / taken for expected, taken in known]))
    return (
        f"{name}: {short} of {len(known)} under-predicted ({short / len(known):.0%}; without the margin of "
        f"{MARGIN - 1:.0%} {bare / len(known):.0%}), reserved over taken {over:.2f} (median), "
        f"{max(expected / taken for expected, taken in known):.2f} at most"
    )


def main(
    recipes: Annotated[int, typer.Option(min=2, help="How many.")] = 12,
    width: Annotated[int, typer.Option(help="The UNet's; 320 is SD 1.5's.")] = 96,
    size: Annotated[int, typer.Option(help="Side of the pictures in pixels; 512 is SD 1.5's.")] = 256,
    device: Annotated[str, typer.Option(help="cpu or cuda; auto is what there is.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the recipes.")] = 0,
) -> None:
    from benchmarks.sd15 import make

    seen: list[tuple[str, Load, int]] = []
    with TemporaryDirectory() as work, multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        folder = str(make(Path(work) / "base", width, size))
        for number, recipe in enumerate(drawn(recipes, seed)):
            given = (folder, work, device, precision, recipe.model_dump())
            name, peaks = pool.apply(measured, given)
            if number == 0:
                print(f"SD 1.5's layout at width {width}, {size} px, on {name}\n")
                print(f"{'segment':58s} {'reserved':>9s} {'taken':>7s}")
            for segment, taken in zip(SEGMENTS, peaks, strict=True):
                load = load_of(recipe, *segment)
                expected = predict(load, [(old, bytes_) for _, old, bytes_ in seen]).expected
                text = "whole" if expected is None else f"{expected / 1e9:.2f} GB"
                words = f"{number + 1}. steps {segment[0]}-{segment[1]}: {in_words(recipe, load)}"
                print(f"{words:58s} {text:>9s} {taken / 1e9:6.2f}{' <' if (expected or taken) < taken else ''}")
                seen.append((words, load, taken))
    before = [predict(load, [(o, t) for _, o, t in seen[:i]]).expected for i, (_, load, _) in enumerate(seen)]
    others = [
        predict(load, [(o, t) for j, (_, o, t) in enumerate(seen) if j != i]).expected
        for i, (_, load, _) in enumerate(seen)
    ]
    taken = [each for *_, each in seen]
    print()
    print(summary("from those before", list(zip(before, taken, strict=True))))
    print(summary("from all others", list(zip(others, taken, strict=True))))


if __name__ == "__main__":
    typer.run(main)
