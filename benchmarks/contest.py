"""Runs a search on a task with W workers and a clock that is not the wall's: what it found, and when."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from analysis.pareto import hypervolume
from benchmarks.tasks import Task
from spaces import REFERENCE_LOSS

Floats = NDArray[np.float64]


class Searcher(Protocol):
    """A search as its users run it, asked and told."""

    def suggest(self, trial: str) -> Mapping[str, Any]:
        """The values of the next trial."""

    def report(self, trial: str, steps: int, losses: Sequence[float]) -> bool:
        """What a trial scored at a rung; whether it goes on. Not asked at the last rung, but told."""


@runtime_checkable
class Promoting(Searcher, Protocol):
    """A search that takes trials up again which did not go on."""

    def promoted(self) -> str | None:
        """The trial that goes on to its next rung now; None: a new one is to be begun."""


@dataclass(frozen=True)
class Trace:
    """The checkpoints that a search paid for, in the order of their arrival."""

    seconds: Floats
    """k, the simulated time at which each was there."""
    losses: Floats
    """k x m, true."""
    seen: Floats
    """k x m, as scored."""
    trials: NDArray[np.int64]
    """k, whose checkpoint it is."""

    def volumes(self) -> Floats:
        """The hypervolume of the true losses after each of the k checkpoints."""
        corner = np.full(self.losses.shape[1], REFERENCE_LOSS)
        grown, best, front = [], 0.0, np.zeros((0, self.losses.shape[1]))
        for row in self.losses:
            if (row < corner).all() and not (front <= row).all(axis=1).any():
                front = np.vstack([front[~(row <= front).all(axis=1)], row])
                best = hypervolume(front, corner)
            grown.append(best)
        return np.array(grown)

    def cost_to(self, volume: float) -> float:
        """Seconds until the hypervolume was reached; infinite where it never was."""
        reached = np.flatnonzero(self.volumes() >= volume)
        return float(self.seconds[reached[0]]) if len(reached) else np.inf


def run(task: Task, make: Callable[[Task, int], Searcher], seed: int, workers: int, budget: float) -> Trace:
    """One search of `budget` seconds of the simulated clock with so many workers.

    The n-th trial's noise is the same whoever proposed it: searches with the same seed are paired.
    """
    searcher, steps = make(task, seed), task.space.rungs
    queue: list[tuple[float, int, int]] = []  # (time, trial, rung)
    running: dict[int, tuple[Floats, Floats, Floats]] = {}
    paused: dict[str, tuple[int, int, tuple[Floats, Floats, Floats]]] = {}  # by name: trial, next rung, what it is
    found: list[tuple[float, Floats, Floats, int]] = []
    count = 0

    def start(now: float) -> None:
        nonlocal count
        if isinstance(searcher, Promoting) and (name := searcher.promoted()) is not None:
            trial, rung, running[trial] = paused.pop(name)
            heapq.heappush(queue, (now + running[trial][2][rung], trial, rung))
            return
        values = searcher.suggest(f"t{count:05d}")
        noise = task.noise(np.random.default_rng([seed, count]))
        running[count] = task.curves([values])[0], noise, task.seconds([values])[0]
        heapq.heappush(queue, (now + running[count][2][0], count, 0))
        count += 1

    for _ in range(workers):
        start(0.0)
    while queue:
        now, trial, rung = heapq.heappop(queue)
        if now > budget:
            break
        truth, noise, seconds = running[trial]
        seen = truth[rung] + noise[rung]
        found.append((now, truth[rung], seen, trial))
        on = searcher.report(f"t{trial:05d}", steps[rung], seen.tolist())
        if on and rung + 1 < len(steps):
            heapq.heappush(queue, (now + seconds[rung + 1], trial, rung + 1))
        else:
            what = running.pop(trial)
            if rung + 1 < len(steps) and isinstance(searcher, Promoting):
                paused[f"t{trial:05d}"] = trial, rung + 1, what
            start(now)
    times, losses, scored, trials = zip(*found, strict=True)
    return Trace(np.array(times), np.array(losses), np.array(scored), np.array(trials))


def full_training(task: Task) -> float:
    """What one training to the last rung costs on average, scored at each, in seconds: the unit of cost."""
    generator = np.random.default_rng(0)
    return float(task.seconds([task.space.sample(generator) for _ in range(256)]).sum(axis=1).mean())
