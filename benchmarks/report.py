"""How long a report takes to write and to open: `python -m benchmarks.report`.

A sweep of 1,000 trials that are all scored at 6 rungs is made up, with cells, costs and a grid of pictures for every
checkpoint. Then `posefront report` writes its page, in a process of its own, and Chromium opens it: until the first
plot can be pointed at, and until everything on the page is drawn. Best and worst of several.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from search.config import SweepConfig
from search.journal import Closed, Ended, Event, Observed, Opened, Proposed, Timing, line_of
from search.rungs import Continue, Stop
from search.views import report
from spaces import Cost, Observation, Recipe, Space, load_space, parse_space, space_file
from trainables.job import Job
from trainables.panels.judged import COLUMNS, write_cells, write_judged
from trainables.skeleton import PUPPET_13
from trainables.subject import Subject

RUNGS = (50, 100, 200, 400, 800, 1600)
CELLS = 12
GRIDS = 24
"""So many different ones; the checkpoints share them."""
SUBJECT = "puppets/robot"


def space_text(objectives: list[str]) -> str:
    """The puppets' space with other rungs."""
    text = space_file("puppets").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not line.startswith(("rungs:", "objectives:"))]
    return "\n".join([*kept, f"rungs: {list(RUNGS)}", f"objectives: {objectives}"])


def made_up(space: Space, trials: int, folder: Path) -> list[Event]:
    """A trade-off of identity and pose with noise; better recipes are nearer to the front."""
    draw, events, at = np.random.default_rng(0), [Opened(0.0)], 0.0
    for number in range(trials):
        trial, values = f"t{number + 1:04d}", space.sample(np.random.default_rng([1, number]))
        recipe = space.recipe(values)
        events.append(Proposed(at, trial, recipe, values, number))
        pull, skill = 2.0 * draw.random(), draw.beta(4, 2)
        for steps in RUNGS:
            at += 1.0
            events.append(_scored(at, trial, recipe, number, steps, pull, skill, draw, folder))
        events.append(Ended(at, trial, "finished", "it reached the last rung", RUNGS[-1]))
    busy = sum(o.cost.total for event in events if isinstance(event, Observed) for o in event.observations)
    return [*events, Closed(at, "finished", Timing(busy / 8 * 1.05, 20.0, 5.0, busy, 8))]


def _scored(
    at: float, trial: str, recipe: Recipe, seed: int, steps: int, pull: float, skill: float,
    draw: np.random.Generator, folder: Path,
) -> Observed:  # fmt: skip
    way = pull * np.log2(steps / 25) / 6
    means = {"identity": skill * (1 - np.exp(-3 * way)), "pose": skill * (1 - 0.5 * way**2), "drift": 0.5 * way}
    cells = {name: np.clip(mean + draw.normal(0, 0.1, CELLS), 0, 1).tolist() for name, mean in means.items()}
    for name, part in (("pose_plain", slice(0, 6)), ("pose_hard", slice(6, 12))):
        cells[name] = [v if i in range(*part.indices(CELLS)) else float("nan") for i, v in enumerate(cells["pose"])]
    scores = {name: float(np.nanmean(values)) for name, values in cells.items()}
    cost = Cost(train=0.1 * steps * (1 + draw.random()), score=5.0, load=1.0, device="CPU")
    o = Observation(trial, recipe, seed, steps, scores | {"detection_rate": 1.0}, cells, cost)
    last = steps == RUNGS[-1]
    decision = Stop("finished", "the last rung") if last else Continue(seed + 1, seed + 1)
    return Observed(at, (o,), decision, str(folder / "trials" / trial / f"step-{steps:06d}"))


def draw_pictures(folder: Path, events: list[Event], side: int) -> None:
    """A few grids of the subject's own pictures, and a link to one of them for every checkpoint."""
    pictures = [p.fitted(side).pixels for p in Subject.load(SUBJECT).pictures]
    draw, kept = np.random.default_rng(2), folder / "grids"
    (folder / "panel").mkdir(parents=True)
    kept.mkdir()
    for number in range(GRIDS + 1):
        path = kept / f"{number}.png" if number < GRIDS else folder / "panel" / "base.png"
        rows = []
        for _ in range(CELLS // COLUMNS):
            shown = [np.roll(pictures[draw.integers(len(pictures))], draw.integers(side), 1) for _ in range(COLUMNS)]
            rows += [np.hstack(shown), np.zeros((side, side * COLUMNS, 3), np.uint8)]
        sheet, larger = Image.fromarray(np.vstack(rows)), max(1, round(960 / (side * COLUMNS)))
        sheet.resize((sheet.width * larger, sheet.height * larger), Image.Resampling.NEAREST).save(path)
        write_judged(path, draw.uniform(0, [side, side, 1], (CELLS, 13, 3)), PUPPET_13, side, 0.3)
    poses = draw.uniform(0, side, (CELLS, 13, 3))
    write_cells(folder / "panel", ["a robot"] * CELLS, ["plain"] * 6 + ["hard"] * 6, poses, PUPPET_13, side)
    values = {"scores": {"identity": 0.1, "pose": 0.9, "drift": 0.0}, "cells": {}}
    (folder / "panel" / "base.json").write_text(json.dumps(values), encoding="utf-8")
    for number, event in enumerate(event for event in events if isinstance(event, Observed)):
        there = Path(event.folder)
        there.mkdir(parents=True)
        for name, suffix in (("grid.png", ".png"), ("grid.judged.json", ".judged.json")):
            os.link(kept / f"{number % GRIDS}{suffix}", there / name)


def make(home: Path, trials: int, side: int, objectives: list[str]) -> SweepConfig:
    """The sweep `large` in a home."""
    text = space_text(objectives)
    job = Job(folder=str(home / "large"), cache=str(home / "cache"), subject=SUBJECT, rungs=RUNGS)
    config = SweepConfig(
        name="large", space_name="puppets", space_text=text, job=job, trials=trials,
        tracking_uri=f"sqlite:///{home}/mlflow.db", artifacts=str(home / "mlartifacts"),
    )  # fmt: skip
    config.save()
    events = made_up(parse_space(text, load_space("puppets").name), trials, config.folder)
    (config.folder / "journal.jsonl").write_bytes(b"".join(map(line_of, events)))
    draw_pictures(config.folder, events, side)
    return config


def opened(page: Path) -> tuple[float, float, float]:
    """Seconds until the plot of the front can be pointed at and until everything is drawn, and of these the processor's
    on the page's main thread, which a busy machine does not make more of.
    """
    from tests.browser import Browser

    with Browser(1280, 900, network=False) as browser:
        browser.measure()
        browser.open(page)
        drawn = browser.wait_for("document.documentElement.dataset.ready", 120)
        first = browser.evaluate("performance.getEntriesByName('front')[0].startTime")
        return first / 1e3, float(drawn) / 1e3, browser.worked()


def main(
    trials: Annotated[int, typer.Option(min=1)] = 1000,
    side: Annotated[int, typer.Option(help="Pixels of a picture: the puppets' 64, or 512 as of SD 1.5.")] = 64,
    times: Annotated[int, typer.Option(min=1)] = 3,
    objectives: str = "identity,pose",
) -> None:
    with TemporaryDirectory() as folder:
        home = Path(folder)
        config = make(home, trials, side, objectives.split(","))
        command = [sys.executable, "-m", "search", "report", "large", "--home", str(home)]
        writing, working, opening = [], [], []
        for _ in range(times):
            began, before = time.perf_counter(), os.times()
            subprocess.run(command, check=True, capture_output=True)
            after = os.times()
            writing.append(time.perf_counter() - began)
            spent = after.children_user + after.children_system - before.children_user - before.children_system
            working.append(spent)
        page = config.folder / report.FILE
        shown = sum(1 for _ in config.folder.glob("trials/*/*/grid.png"))
        print(f"{trials} trials x {len(RUNGS)} rungs, {shown} grids of {side} px; {page.stat().st_size / 1e6:.1f} MB")
        took = f"{min(working):.1f} to {max(working):.1f} s of the processor"
        print(f"written in {min(writing):.1f} to {max(writing):.1f} s, {took}")
        for _ in range(times):
            opening.append(opened(page))
        names = ("the front there", "all drawn", "of the processor's time")
        for what, seconds in zip(names, zip(*opening, strict=True), strict=True):
            print(f"opened in Chromium, {what} in {min(seconds):.2f} to {max(seconds):.2f} s")


if __name__ == "__main__":
    typer.run(main)
