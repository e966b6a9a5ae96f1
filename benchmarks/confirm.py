"""What a confirmation is worth where scores are noisy: `python -m benchmarks.confirm --seeds 20`.

Each seed is a sweep of posefront's own search on a task whose truth is known (benchmarks/tasks.py), with a panel that
adds noise, and its confirmation by the production's state with a given share of the sweep's seconds, in virtual time.
Compared are the front as scored (raw) and the confirmed one by their true losses: the share of true hypervolume that
they reach, what they claim beside that, and how many of their members are truly dominated by something that the sweep
scored. Printed are medians over seeds with the 95 % interval of the bootstrapped median. Runs are lines of a file in
the work folder and are not run again.
"""

import json
import multiprocessing
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import filelock
import numpy as np
import typer
from numpy.typing import NDArray

from analysis.pareto import hypervolume, non_dominated
from benchmarks.search import task_named
from benchmarks.tasks import CLOSED, ClosedForm, Task
from search.confirm.choose import Search, chosen
from search.confirm.state import ConfirmState
from search.confirm.summary import summary
from search.front import front_of
from search.journal import Ledger
from search.rungs import rule_for
from search.simulate import Clock, Memory, Rung, simulate, virtual
from spaces import REFERENCE_LOSS, Cost, Observation, Recipe

Floats = NDArray[np.float64]
FILE = "rows.jsonl"
HELD_OUT = 1
"""Sets the noise of the panel that is new apart from that of the search's."""


class Noisy:
    """A task as trials see it: its true losses, with what a training and a panel add."""

    def __init__(self, task: Task, seed: int) -> None:
        self.task, self._seed = task, seed
        self.steps = list(task.space.rungs)

    def truth(self, recipe: Recipe) -> Floats:
        """r x m."""
        return self.task.curves([self.task.space.point(recipe)])[0]

    def seen(self, recipe: Recipe, seed: int, panel: int) -> Floats:
        """r x m: the same arguments give the same noise."""
        own = np.random.default_rng([self._seed, panel, seed, *recipe.model_dump_json().encode()])
        return self.truth(recipe) + self.task.noise(own)

    def scores(self, losses: Floats) -> dict[str, float]:
        objectives = self.task.space.objectives
        return {o.name: o.ideal + x * (o.nadir - o.ideal) for o, x in zip(objectives, losses, strict=True)}

    def cost(self, recipe: Recipe, rung: int) -> Cost:
        seconds = float(self.task.seconds([self.task.space.point(recipe)])[0, rung])
        return Cost(train=max(seconds - self.task.scoring, 0.0), score=self.task.scoring)

    def __call__(self, recipe: Recipe, steps: int, seed: int) -> Rung:
        rung = self.steps.index(steps)
        return Rung(self.scores(self.seen(recipe, seed, 0)[rung]), self.cost(recipe, rung))


def confirm(task: Noisy, searched: Ledger, seed: int, share: float, seeds: int) -> ConfirmState:
    """A whole confirmation by the production's state, one training after the other."""
    space, memory = task.task.space, Memory()
    memory.append(chosen(searched, space, share, seeds, task.task.name, 0.0))
    rule = rule_for("asha-pareto", space)
    state = ConfirmState(Search(searched), rule, space.objectives, seed, memory, lambda event: None, lambda: 0.0)
    while (given := state.next_trial()) is not None:
        losses, reached = task.seen(given.recipe, given.seed, HELD_OUT), 0
        for steps, labels in given.score:
            rung = task.steps.index(steps)
            costs = [task.cost(given.recipe, r) for r in range(reached, rung + 1)]
            cost = {"train": sum(cost.train for cost in costs), "score": costs[-1].score}
            one = {"inference": space.inferences[0].model_dump(), "scores": task.scores(losses[rung]), "cells": {}}
            observations = [one | {"cost": cost, "label": label} for label in labels]
            folder = f"trials/{given.trial}/step-{steps:06d}"
            state.record({"trial": given.trial, "steps": steps, "observations": observations, "folder": folder})
            reached = rung + 1
    return state


def one(seed: int, name: str, noise: float, trials: int, share: float, seeds: int) -> dict[str, float]:
    """What one sweep and its confirmation come to."""
    known = task_named(name)
    problem = replace(known, sigma=noise) if isinstance(known, ClosedForm) else known
    task, clock, space = Noisy(problem, seed), Clock(), problem.space
    state = virtual(space, clock, trials, seed)
    simulate(state, task, space, 4, clock)
    table = state.ledger.table
    confirming = confirm(task, state.ledger, seed, share, seeds)
    said = summary(confirming.ledger, Search(state.ledger), space, Path("nowhere"))
    by_key = {o.key: o for o in table}
    raw = front_of(table, space.objectives)
    fronts = {"raw": (raw, [o.scores for o in raw])}
    fronts["confirmed"] = [by_key[c.key] for c in said.front], [c.means for c in said.front]
    truth = {o.key: task.truth(o.recipe)[task.steps.index(o.steps)] for o in table}
    corner = np.full(len(space.objectives), REFERENCE_LOSS)
    on = non_dominated(list(truth.values()))
    members = {key for key, member in zip(truth, on, strict=True) if member}
    best = hypervolume(list(truth.values()), corner)
    found: dict[str, float] = {"true": best / problem.best}
    for which, (front, scores) in fronts.items():
        found |= _front(which, front, scores, truth, members, best, task, corner)
    candidates = len(confirming.chosen.candidates)
    found["candidates"], found["left out"] = candidates, confirming.chosen.left_out
    found["decided"] = sum(verdict != "open" for verdict in confirming.verdicts.values()) / candidates
    found["share spent"] = sum(o.cost.total for o in confirming.ledger.table) / sum(o.cost.total for o in table)
    off = [c for c in confirming.chosen.candidates if confirming.verdicts[c.name] == "off"]
    true = [c for c in confirming.chosen.candidates if c.key in members]
    found["lost members"] = len([c for c in off if c.key in members]) / max(1, len(true))
    return found


def key(row: Mapping[str, Any]) -> str:
    return json.dumps([row[name] for name in ("name", "seed", "noise", "trials", "share", "seeds")])


def rows(work: Path) -> dict[str, dict[str, Any]]:
    """What was run."""
    path = work / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {key(row): row for row in map(json.loads, lines)}


def keep(asked: dict[str, Any], work: Path) -> None:
    """Runs one and keeps it."""
    found = asked | one(**asked)
    with filelock.FileLock(work / "rows.lock"), (work / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(found) + "\n")


def _front(
    which: str, front: list[Observation], scores: list[Mapping[str, float]], truth: dict[Any, Floats],
    members: set[Any], best: float, task: Noisy, corner: Floats,
) -> dict[str, float]:  # fmt: skip
    from spaces import to_losses

    own = hypervolume([truth[o.key] for o in front], corner)
    claimed = hypervolume(to_losses(task.task.space.objectives, scores), corner)
    return {
        f"{which} size": len(front),
        f"{which} hypervolume": own / best,
        f"{which} claim": claimed / own,
        f"{which} false": float(np.mean([o.key not in members for o in front])),
    }


def median(values: list[float]) -> str:
    """With the 95 % interval of the bootstrapped median."""
    generator = np.random.default_rng(0)
    drawn = np.median(generator.choice(values, (2000, len(values))), axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{np.median(values):.3f} ({low:.3f} to {high:.3f})"


ROWS: tuple[tuple[str, str, str], ...] = (
    ("members", "raw size", "confirmed size"),
    ("true hypervolume / best that the sweep had", "raw hypervolume", "confirmed hypervolume"),
    ("claimed / true hypervolume", "raw claim", "confirmed claim"),
    ("share of members not on the true front", "raw false", "confirmed false"),
)


def report(found: list[dict[str, float]]) -> str:
    """Markdown."""
    lines = ["| | front as scored | confirmed front |", "|---|---|---|"]
    for title, raw, confirmed in ROWS:
        lines.append(f"| {title} | {median([r[raw] for r in found])} | {median([r[confirmed] for r in found])} |")
    better = sum(row["confirmed false"] < row["raw false"] for row in found)
    worse = sum(row["confirmed false"] > row["raw false"] for row in found)
    lines.append(f"\nFewer false members in {better} of {len(found)}, more in {worse}.")
    for name in ("candidates", "left out", "decided", "share spent", "lost members"):
        lines.append(f"{name}: {median([row[name] for row in found])}; mean {np.mean([r[name] for r in found]):.3f}")
    return "\n".join(lines)


def main(
    tasks: Annotated[str, typer.Option(help=f"By comma: {', '.join(CLOSED)}, puppets.")] = ",".join(CLOSED),
    noise: Annotated[
        float, typer.Option(help="Deviation of a score, in losses from 0 to 1; the puppets' table has its own.")
    ] = 0.05,
    trials: Annotated[int, typer.Option(min=2)] = 100,
    share: Annotated[float, typer.Option(help="Of the sweep's seconds.")] = 0.2,
    repeats: Annotated[int, typer.Option(min=2, help="Seeds of a confirmation at most.")] = 8,
    seeds: Annotated[int, typer.Option(min=2, help="Sweeps of each task.")] = 20,
    processes: Annotated[int, typer.Option(min=1)] = 2,
    work: Annotated[Path, typer.Option(help="Where sweeps that were run are kept.")] = Path("scratch/confirm"),
) -> None:
    work.mkdir(parents=True, exist_ok=True)
    settings = {"noise": noise, "trials": trials, "share": share, "seeds": repeats}
    asked = [{"seed": seed, "name": name} | settings for name in tasks.split(",") for seed in range(seeds)]
    done = rows(work)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(partial(keep, work=work), [row for row in asked if key(row) not in done], chunksize=1)
    found = rows(work)
    for name in tasks.split(","):
        print(f"\n{name}: {trials} trials, noise {noise:g}, share {share:g}, {seeds} sweeps\n")
        print(report([found[key(row)] for row in asked if row["name"] == name]), flush=True)


if __name__ == "__main__":
    typer.run(main)
