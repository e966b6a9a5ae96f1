"""What a result costs the driver as a sweep grows, simulated: `python -m benchmarks.growth`.

The production's state, standings, sampler, journal on the disk and plain report, driven by simulated trials in virtual
time. Processor time of the driver's thread for each result, a tenth of the sweep at a time: it should stay flat.
"""

import math
import time
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console

from search.journal import Journal, Ledger
from search.simulate import Charges, Clock, Rung, simulate, virtual
from search.state import SweepState
from search.trials.attempts import Assignment
from search.views.live import PlainLines
from spaces import Cost, Recipe, load_space

TENTHS = 10


def task(recipe: Recipe, steps: int, seed: int) -> Rung:
    """Identity rises with rate, rank and steps, pose falls, and every run is a little different; 0.08 s a step."""
    generator = np.random.default_rng([seed, steps])
    pull = recipe.learning_rate * 2e3 * math.log2(1 + recipe.rank) * steps / 400
    identity = 1 - math.exp(-pull) + generator.normal(scale=0.03)
    pose = math.exp(-0.4 * pull) - 0.3 * recipe.dropout + generator.normal(scale=0.03)
    names = {"identity": identity, "pose": pose, "pose_plain": pose, "pose_hard": pose, "drift": 0.1 * pull}
    return Rung(names, Cost(train=0.04 * steps * generator.uniform(0.8, 1.25), score=4.0))


class Timed:
    """The state, with the processor's seconds of each call to it."""

    def __init__(self, state: SweepState) -> None:
        self._state = state
        self.results: list[float] = []
        self.proposals: list[float] = []

    @property
    def ledger(self) -> Ledger:
        return self._state.ledger

    @property
    def waits(self) -> bool:
        return self._state.waits

    def next_trial(self) -> Assignment | None:
        return self._timed(self.proposals, self._state.next_trial)

    def record(self, result: Mapping[str, Any]) -> Any:
        return self._timed(self.results, lambda: self._state.record(result))

    def _timed(self, where: list[float], call: Callable[[], Any]) -> Any:
        began = time.thread_time()
        result = call()
        where.append(time.thread_time() - began)
        return result


def grow(trials: int, workers: int, sampler: Literal["tpe", "nsga2", "random"]) -> None:
    space, clock, began = load_space("puppets"), Clock(), time.perf_counter()
    lines = PlainLines(Console(file=StringIO(), width=200), space, trials)
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        notify = lambda event: lines.event(event, journal.ledger)  # noqa: E731
        timed = Timed(virtual(space, clock, trials, sampler=sampler, journal=journal, notify=notify))
        seconds = simulate(timed, task, space, workers, clock, Charges(checkpoint=0.5, report=0.005, suggestion=0.001))
        journal.close()
    parts = [1e3 * np.array_split(np.array(timed.results), TENTHS)[i].mean() for i in range(TENTHS)]
    asked = [1e3 * part.mean() for part in np.array_split(np.array(timed.proposals[:trials]), TENTHS)]
    took = time.perf_counter() - began
    swept = f"{workers} workers, {trials} trials ({sampler}), {len(timed.results)} results"
    print(f"\n{swept}: {seconds / 3600:.2f} virtual hours in {took:.0f} s")
    print("ms a result  ", *(f"{part:6.2f}" for part in parts))
    print("ms a proposal", *(f"{part:6.2f}" for part in asked), flush=True)


def main(
    trials: Annotated[int, typer.Option(min=20)] = 10_000,
    workers: Annotated[list[int], typer.Option()] = [10, 100, 1000],  # noqa: B006
    sampler: Annotated[str, typer.Option(help="tpe, nsga2 or random")] = "random",
) -> None:
    print("the driver's processor time, for each tenth of the sweep")
    for count in workers:
        grow(trials, count, sampler)


if __name__ == "__main__":
    typer.run(main)
