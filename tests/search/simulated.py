"""Sweeps on disk in virtual time, with pictures: what a report reads, made in a moment."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from search.config import SweepConfig
from search.journal import Closed, Journal, Opened, Timing, Tracked
from search.simulate import Clock, Rung, simulate, virtual
from spaces import Cost, Recipe
from tests.search.examples import small_sweep
from trainables.panels.judged import write_cells, write_judged
from trainables.skeleton import PUPPET_13

CELLS, SIDE = 12, 16


def task(recipe: Recipe, steps: int, seed: int) -> Rung:
    """Identity rises with rank and steps and pose falls, with a little noise of the seed's own."""
    pull = recipe.learning_rate * 1e3 * math.log2(1 + recipe.rank) * steps / 40
    wobble = np.random.default_rng([seed, steps]).normal(0, 0.02, 2)
    identity, pose = 1 - math.exp(-pull) + wobble[0], math.exp(-0.3 * pull) - 0.2 * recipe.dropout + wobble[1]
    scores = {"identity": identity, "pose": pose, "pose_plain": pose, "pose_hard": 0.9 * pose, "drift": 0.3 * identity}
    return Rung(scores, Cost(train=2.0 + 0.1 * recipe.rank, score=1.0))


def simulated(
    home: Path, name: str = "small", trials: int = 12, seed: int = 0, closed: bool = True, run: str | None = None,
    subject: str = "puppets/robot", **changes: object,
) -> SweepConfig:  # fmt: skip
    """A sweep of two workers; without `closed` its driver has not ended. `run`: MLflow's."""
    config = small_sweep(home, trials=trials, name=name, seed=seed, **changes)
    job = config.job.model_copy(update={"folder": str(home / name), "subject": subject})
    config = config.model_copy(update={"job": job})
    config.save()
    journal, clock = Journal(config.folder), Clock(1000.0)
    journal.append(Opened(clock()))
    if run is not None:
        journal.append(Tracked(clock(), run))
    state = virtual(config.space, clock, trials, seed, "random", "asha-pareto", journal)
    wall = simulate(state, task, config.space, 2, clock) - 1000.0
    busy = sum(o.cost.total for o in journal.ledger.table)
    if closed:
        journal.append(Closed(clock(), "finished", Timing(wall + 2, 1.0, 1.0, busy, 2)))
    journal.close()
    panel = {"scores": {"identity": 0.0, "pose": 1.0}, "cells": {"identity": [0.0] * CELLS, "pose": [1.0] * CELLS}}
    write_base(config.folder, panel)
    return config


def write_base(folder: Path, panel: Mapping[str, object]) -> None:
    """What the untuned base scored, and its pictures."""
    (folder / "panel").mkdir(exist_ok=True)
    (folder / "panel" / "base.json").write_text(json.dumps(panel))
    draw_grid(folder / "panel" / "base.png", 0)
    poses = np.random.default_rng(0).uniform(0, SIDE, (CELLS, 13, 3))
    prompts, grades = [f"prompt {i}" for i in range(CELLS)], ["plain"] * 6 + ["hard"] * 6
    write_cells(folder / "panel", prompts, grades, poses, PUPPET_13, SIDE)


def draw_grid(path: Path, seed: int, joints: bool = True) -> None:
    """A panel's pictures as a trial keeps them: noise above white poses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    sheet = draw.integers(0, 255, (4 * SIDE, 6 * SIDE, 3), dtype=np.uint8)
    sheet[SIDE : 2 * SIDE] = sheet[3 * SIDE :] = 255
    Image.fromarray(sheet).save(path)
    if joints:
        write_judged(path, draw.uniform(0, [SIDE, SIDE, 1], (CELLS, 13, 3)), PUPPET_13, SIDE, 0.3)
