"""A sweep in virtual time: scheduler and sampler of a real one, with events in the place of Ray and of training."""

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any, Protocol

from search.budget import Plan
from search.config import SamplerKind
from search.journal import Event, Keeper, Ledger
from search.rungs import Continue, SchedulerKind, rule_for
from search.state import SweepState
from search.trials.attempts import Assignment
from spaces import Cost, Recipe, Space


@dataclass(frozen=True)
class Rung:
    """What a trial has to show at a rung."""

    scores: Mapping[str, float]
    """Every objective's; one that is no number fails the trial."""
    cost: Cost
    """Seconds since the rung before."""


Task = Callable[[Recipe, int, int], Rung]
"""(recipe, steps, the trial's seed) to what the trial scores there. The same arguments give the same rung."""


@dataclass(frozen=True)
class Charges:
    """Virtual seconds that are spent beside a task's own."""

    checkpoint: float = 0.0
    """Writing a rung's checkpoint, on the worker."""
    report: float = 0.0
    """A result's way through the driver, which takes one at a time."""
    suggestion: float = 0.0
    """A proposal, in the driver too."""


class Clock:
    """Virtual seconds since the sweep's start."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Memory:
    """A journal that is kept nowhere."""

    def __init__(self) -> None:
        self.ledger = Ledger()

    def append(self, event: Event) -> None:
        self.ledger.add(event)


class Sweep(Protocol):
    """What is asked of the production's state, which may have something around it that measures."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def waits(self) -> bool: ...

    def next_trial(self) -> Assignment | None: ...

    def record(self, result: Mapping[str, Any]) -> Any: ...


def virtual(
    space: Space,
    clock: Clock,
    trials: int | Plan,
    seed: int = 0,
    sampler: SamplerKind = "tpe",
    scheduler: SchedulerKind = "asha-pareto",
    journal: Keeper | None = None,
    notify: Callable[[Event], None] = lambda event: None,
    gpus: float = 0.0,
    promote: bool = False,
) -> SweepState:
    """The state of a sweep whose events have the clock's times; a journal on disk makes it one to be resumed."""
    rule = rule_for(scheduler, space, promote)
    return SweepState(space, rule, sampler, seed, trials, journal or Memory(), notify, clock, gpus=gpus)


def simulate(
    state: Sweep,
    task: Task,
    space: Space,
    workers: int,
    clock: Clock,
    charges: Charges | None = None,
    until: float = math.inf,
) -> float:
    """Runs the sweep to its end, or until no event is left before a time; the virtual seconds that it took.

    Each worker has one trial at a time, and takes the next when that ends; where there is none yet it asks again after
    each result. What the driver does it does one after the other, in the order in which it is asked; so with many
    workers they wait for it. Rungs that the journal has already, of a sweep that was broken off or a trial that was
    paused, take no time. The same seeds and numbers give the same events.
    """
    events: list[tuple[float, int, _Ended | None]] = []
    charges = charges or Charges()
    order, driver, last, idle = count(), clock.now, clock.now, 0

    def begin(assignment: Assignment, rung: int, at: float) -> None:
        steps = space.rungs[rung]
        seen = task(assignment.recipe, steps, assignment.seed)
        known = (assignment.trial, steps) in state.ledger.observed
        ends = at if known else at + seen.cost.total + charges.checkpoint
        heapq.heappush(events, (ends, next(order), _Ended(assignment, rung, seen)))

    for _ in range(workers):
        heapq.heappush(events, (clock.now, next(order), None))
    while events and events[0][0] <= until:
        at, _, ended = heapq.heappop(events)
        driver = max(driver, at)
        if ended is not None:
            clock.now = last = driver = driver + charges.report
            decision = state.record(reported(ended.assignment, ended.rung, ended.seen, space))
            for _ in range(idle):
                heapq.heappush(events, (driver, next(order), None))
            idle = 0
            if isinstance(decision, Continue):
                begin(ended.assignment, ended.rung + 1, driver)
                continue
        clock.now = driver + charges.suggestion
        following = state.next_trial()
        if following is not None:
            driver = clock.now
            begin(following, 0, driver)
        elif state.waits:
            idle += 1
    return last


@dataclass(frozen=True)
class _Ended:
    """A worker is through with a rung."""

    assignment: Assignment
    rung: int
    """Its index."""
    seen: Rung


def reported(assignment: Assignment, rung: int, seen: Rung, space: Space) -> dict[str, Any]:
    """What a trial reports of its rung, counted from 0: as `trainables.trial.Trial`, drawn in the main way alone."""
    trial, steps = assignment.trial, space.rungs[rung]
    observation = {
        "inference": space.inferences[0].model_dump(), "label": "", "scores": dict(seen.scores), "cells": {},
        "cost": asdict(seen.cost),
    }  # fmt: skip
    return {
        "trial": trial, "steps": steps, "observations": [observation], "folder": f"trials/{trial}/step-{steps:06d}",
        "failure": None, "done": rung + 1 == len(space.rungs),
    }  # fmt: skip
