"""A table of real fine-tunes, for searches to be compared on: `python -m benchmarks.table collect`, `pack`.

`collect` trains recipes that fill the puppets' space (a scrambled Sobol sequence), each with several seeds, and scores
them at every rung on a sweep's own panel. A finished fine-tune is kept as lines of a file in the work folder and is not
trained again, so it may be stopped at any time, and asked for more recipes or seeds later. Costs are seconds of the
processor, not of the clock: other work on the machine does not count. `pack` makes one parquet file of it all. `check`
says what such a file holds: how well its surrogate predicts recipes that it never saw, and where in the steps the best
checkpoints are.
"""

import json
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import filelock
import numpy as np
import pandas as pd
import typer
from scipy.stats import qmc

from spaces import Space, load_space, to_losses

RUNGS = (25, 50, 100, 200, 400)
"""One more at the lower end than the puppets' own space has: where early stopping could save most."""
FILE = "rows.jsonl"
app = typer.Typer(no_args_is_help=True, add_completion=False)

Work = Annotated[Path, typer.Option(help="Where rows are kept.")]


def points(space: Space, number: int) -> list[dict[str, Any]]:
    """The first recipes' values; with more of them the first stay the same."""
    sequence = qmc.Sobol(len(space.parameters), seed=0)
    drawn = sequence.random_base2(int(np.ceil(np.log2(max(number, 2)))))
    return [space.at(row.tolist()) for row in drawn[:number]]


def left(work: Path, recipes: int, seeds: int) -> list[tuple[int, int]]:
    """(recipe, seed) pairs that are not in the file, one seed of all recipes before the next."""
    done = {(row["recipe"], row["seed"]) for row in rows(work) if row["steps"] == RUNGS[-1]}
    return [(recipe, seed) for seed in range(seeds) for recipe in range(recipes) if (recipe, seed) not in done]


def rows(work: Path) -> Iterator[dict[str, Any]]:
    """What was collected, a row for each checkpoint."""
    if (work / FILE).exists():
        yield from map(json.loads, (work / FILE).read_text(encoding="utf-8").splitlines())


class Collector:
    """Base, subject and panel, read once, and the file of what was trained."""

    def __init__(self, work: Path, rungs: tuple[int, ...] = RUNGS) -> None:
        import torch

        from trainables.base import Base
        from trainables.job import Job
        from trainables.trial import Studio

        torch.set_num_threads(1)
        self.work, self.rungs = work, rungs
        self.space = load_space("puppets")
        folder = work / Base.load("puppets").fingerprint  # what the untuned base draws is kept by base
        with filelock.FileLock(work / "panel.lock"):
            self.studio = Studio(Job(folder=str(folder), cache=str(work), subject=self.space.subject, rungs=rungs))

    def collect(self, recipe: int, seed: int) -> None:
        """Trains one recipe with one seed and keeps its rows, all or none."""
        from trainables.data.prior import class_prior
        from trainables.finetune import FineTune

        values = points(self.space, recipe + 1)[recipe]
        fields, base, subject = self.space.recipe(values), self.studio.base, self.studio.subject
        prior = class_prior(base, subject, fields.prior_images, self.work) if fields.prior_images else None
        tune, made = FineTune(base, subject, fields, seed, prior), []
        try:
            for steps in self.rungs:
                start = time.process_time()
                tune.advance(steps - tune.steps)
                trained = time.process_time()
                scored = self.studio.panel.score()
                seconds = {"train": trained - start, "score": time.process_time() - trained}
                key = {"recipe": recipe, "seed": seed, "steps": steps, "values": values, "base": base.fingerprint}
                made.append(key | {"scores": scored.scores, "cells": scored.cells, "seconds": seconds})
        finally:
            tune.remove()
        with filelock.FileLock(self.work / "rows.lock"), (self.work / FILE).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in made)


def _run(work: Path, tasks: list[tuple[int, int]], until: float) -> None:
    collector = Collector(work)
    for recipe, seed in tasks:
        if time.time() > until:
            return
        began = time.monotonic()
        collector.collect(recipe, seed)
        print(f"recipe {recipe}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)


@app.command()
def collect(
    recipes: Annotated[int, typer.Option(min=1)] = 128,
    seeds: Annotated[int, typer.Option(min=1)] = 2,
    processes: Annotated[int, typer.Option(min=1, help="Each has one thread.")] = 2,
    minutes: Annotated[float, typer.Option(min=0, help="Begin no other fine-tune after these; 0 is never.")] = 0,
    work: Work = Path("scratch/table"),
) -> None:
    """Trains what is missing."""
    work.mkdir(parents=True, exist_ok=True)
    tasks, until = left(work, recipes, seeds), time.time() + 60 * minutes if minutes else float("inf")
    print(f"{recipes * seeds - len(tasks)} of {recipes * seeds} fine-tunes are there, {len(tasks)} to go", flush=True)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_run, args=(work, tasks[i::processes], until)) for i in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


@app.command()
def pack(
    output: Annotated[Path, typer.Argument(help="A parquet file.")],
    work: Work = Path("scratch/table"),
) -> None:
    """Makes one parquet file: a row for each checkpoint, columns for fields, scores, seconds and the panel's cells."""
    frame = packed(list(rows(work)))
    frame.to_parquet(output, index=False, compression="zstd")
    print(f"{output}: {len(frame)} rows, {output.stat().st_size / 1e6:.2f} MB")


@app.command()
def check(table: Annotated[Path, typer.Argument(help="A file that `pack` made.")]) -> None:
    """Prints the surrogate's errors, and the rungs at which recipes are at their best."""
    from benchmarks.surrogate import Curves, held_out

    space = load_space("puppets")
    frame, names = pd.read_parquet(table), [objective.name for objective in space.objectives]
    curves = Curves.of(frame, names)
    print(f"{len(np.unique(curves.recipes))} recipes, {len(curves.recipes)} curves over {curves.steps.tolist()} steps")
    print("\n| objective | error on unseen recipes | noise of a run | variance explained |\n|---|---|---|---|")
    for name, error in zip(names, held_out(space, curves), strict=True):
        print(f"| {name} | {error.rmse:.3f} | {error.noise:.3f} | {error.explained:.0%} |")
    print("\n| share of recipes that are best at |" + "".join(f" {steps} |" for steps in curves.steps))
    print("|---|" + "---|" * len(curves.steps))
    losses = to_losses(
        space.objectives, [dict(zip(names, row, strict=True)) for row in curves.means().scores.reshape(-1, 2)]
    )
    for name, of in zip([*names, "their mean"], [*losses.T, losses.mean(axis=1)], strict=True):
        best = np.bincount(of.reshape(-1, len(curves.steps)).argmin(axis=1), minlength=len(curves.steps))
        print(f"| {name} |" + "".join(f" {share:.0%} |" for share in best / best.sum()))


def packed(collected: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a table, by recipe, seed and steps; fields that a recipe does not have are empty."""
    flat = [
        {name: row[name] for name in ("recipe", "seed", "steps", "base")}
        | {f"field.{name}": value for name, value in row["values"].items()}
        | {f"score.{name}": value for name, value in row["scores"].items()}
        | {f"seconds.{name}": value for name, value in row["seconds"].items()}
        | {f"cells.{name}": value for name, value in row["cells"].items()}
        for row in collected
    ]
    return pd.DataFrame(flat).sort_values(["recipe", "seed", "steps"], ignore_index=True)


if __name__ == "__main__":
    app()
