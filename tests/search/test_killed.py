"""A driver that is killed at any byte of its journal, and resumed, proposes and decides as one that never was.

The workers outlive it, as Ray's do not: so what differs is the driver alone, and any number of workers may be compared.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from search.budget import Plan
from search.config import SamplerKind
from search.journal import Journal, Ledger, read
from search.proposals.earlier import from_table
from search.rungs import Continue, SchedulerKind
from search.simulate import Clock, reported, simulate, virtual
from search.state import Assignment, SweepState
from spaces import Observation, Requirement, Space
from tests.search.examples import small_space
from tests.search.test_simulate import task, what_happened


class Killed(BaseException):
    """What no code of ours catches."""


class Fragile(Journal):
    """Kills its driver in the middle of what it is to write, or just after."""

    def __init__(self, folder: Path, deaths: Iterator[float | None]) -> None:
        """`deaths`: for each event, None, or after which part of its line the driver dies."""
        super().__init__(folder)
        self._deaths = deaths

    def _write(self, line: bytes) -> None:
        part = next(self._deaths)
        super()._write(line if part is None else line[: round(part * len(line))])
        if part is not None:
            raise Killed


@dataclass(frozen=True)
class Setting:
    """What is swept."""

    space: Space
    plans: tuple[Plan, ...]
    """The second is given once the first is over."""
    workers: int
    sampler: SamplerKind
    scheduler: SchedulerKind
    ahead: bool
    earlier: tuple[Observation, ...] = ()
    promote: bool = False


def deaths(seed: int, share: float) -> Iterator[float | None]:
    """At so many of the events one; of these every third is written whole, and nobody has heard of it."""
    generator = np.random.default_rng(seed)
    while True:
        part = float(generator.choice([0.0, generator.random(), 1.0]))
        yield part if generator.random() < share else None


def swept(folder: Path, setting: Setting, dying: Iterator[float | None]) -> tuple[Ledger, int]:
    """The sweep's ledger at its end, and how often its driver was killed."""
    folder.mkdir()
    driver, killed = _Driver(folder, setting, dying), 0
    for plan in setting.plans:
        driver.plan, alive = plan, False
        while not alive:
            try:
                driver.go_on()
                alive = True
            except Killed:
                killed += 1
            finally:
                driver.journal.close()
        ended = len(read(folder).endings)
        assert (ended < plan.trials) == (plan.gpu_seconds is not None), "the first budget is to end it early"
    return read(folder), killed


class _Driver:
    """One driver after the other, over the same workers."""

    def __init__(self, folder: Path, setting: Setting, dying: Iterator[float | None]) -> None:
        self._folder, self._setting, self._dying = folder, setting, dying
        self._clock, self._order = Clock(), count()
        self._running: dict[str, tuple[Assignment, int]] = {}
        self._events: list[tuple[float, int, str]] = []
        self.plan = setting.plans[0]
        journal = Journal(folder)
        for event in from_table(setting.earlier, setting.space, "red", 0.0).learned:
            journal.append(event)
        journal.close()
        self.journal = journal

    def go_on(self) -> None:
        """Opens the journal, and works until all is over."""
        setting = self._setting
        self.journal = Fragile(self._folder, self._dying)
        if self.plan != setting.plans[0] and self.journal.ledger.planned is None:
            self.journal.append(self.plan.event(self._clock.now))
        state = virtual(
            setting.space, self._clock, setting.plans[0], 7, setting.sampler, setting.scheduler, self.journal,
            promote=setting.promote,
        )  # fmt: skip
        if setting.ahead:
            state.look_ahead()
        for _ in range(len(state.ledger.going)):
            self._start(state.next_trial())
        while True:
            while len(self._running) < setting.workers and self._start(state.next_trial()):
                pass
            if not self._events:
                return
            self._record(state)

    def _start(self, given: Assignment | None) -> bool:
        if given is not None and given.trial not in self._running:
            reached = self.journal.ledger.reached(given.trial)
            self._train(given, 0 if not reached else self._setting.space.rungs.index(reached) + 1)
        return given is not None

    def _train(self, given: Assignment, rung: int) -> None:
        self._running[given.trial] = given, rung
        seconds = task(given.recipe, self._setting.space.rungs[rung], given.seed).cost.total
        heapq.heappush(self._events, (self._clock.now + seconds, next(self._order), given.trial))

    def _record(self, state: SweepState) -> None:
        """What is next: the worker has it until the driver has heard of it."""
        at, _, trial = self._events[0]
        given, rung = self._running[trial]
        self._clock.now = max(self._clock.now, at)
        seen = task(given.recipe, self._setting.space.rungs[rung], given.seed)
        decision = state.record(reported(given, rung, seen, self._setting.space))
        heapq.heappop(self._events)
        del self._running[trial]
        if isinstance(decision, Continue):
            self._train(given, rung + 1)


def earlier(trials: int = 12) -> tuple[Observation, ...]:
    clock, space = Clock(), small_space()
    state = virtual(space, clock, trials, seed=5, sampler="random")
    simulate(state, task, space, 1, clock)
    return tuple(state.ledger.table)


def everything(
    sampler: SamplerKind, scheduler: SchedulerKind, trials: int, workers: int = 3, promote: bool = False
) -> Setting:
    """Budgets, requirements, a warm start and an extension."""
    space = replace(small_space(), requirements=(Requirement("drift", "<", 0.05),))
    first = Plan(trials, gpu_seconds=4.0 * trials)  # some trials are held, and go on
    return Setting(space, (first, Plan(trials)), workers, sampler, scheduler, True, earlier(), promote)


def assert_same(tmp_path: Path, setting: Setting, seed: int, share: float) -> int:
    whole, never = swept(tmp_path / "whole", setting, deaths(0, 0.0))
    killed, often = swept(tmp_path / "killed", setting, deaths(seed, share))
    assert what_happened(killed) == what_happened(whole) and never == 0
    assert [e.values for e in killed.proposals.values()] == [e.values for e in whole.proposals.values()]
    assert [e.time for e in killed.observed.values()] == [e.time for e in whole.observed.values()]
    assert list(killed.promoted.values()) == list(whole.promoted.values())
    assert len(whole.endings) == len(whole.proposals) > 0 and bool(whole.promoted) == setting.promote
    return often


@pytest.mark.parametrize("promote", [False, True])
@pytest.mark.parametrize("ahead", [False, True])
def test_killed_now_and_then_it_is_the_same_sweep(tmp_path, ahead, promote):
    setting = Setting(small_space(), (Plan(12),), 3, "tpe", "asha-pareto", ahead, promote=promote)
    assert assert_same(tmp_path, setting, 1, 0.2) > 5


@pytest.mark.parametrize("promote", [False, True])
def test_and_so_it_is_with_budgets_requirements_a_warm_start_and_an_extension(tmp_path, promote):
    setting = everything("tpe", "asha-pareto", 14, promote=promote)
    assert assert_same(tmp_path, setting, 2, 0.2) > 5


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["asha-pareto", "trajectories", "asha-scalar", "none"])
@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp", "random"])
def test_killed_a_hundred_times_it_is_the_same_sweep(tmp_path, sampler, scheduler):
    setting = everything(sampler, scheduler, 60)
    assert assert_same(tmp_path, setting, 3, 0.6) >= 100


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3, 30])
@pytest.mark.parametrize("kinds", [("tpe", "asha-pareto"), ("gp", "trajectories"), ("random", "asha-scalar")])
def test_killed_a_hundred_times_it_promotes_the_same(tmp_path, kinds, workers):
    setting = everything(*kinds, 60, workers, promote=True)
    assert assert_same(tmp_path, setting, 5, 0.6) >= 100


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 8, 30])
def test_killed_a_hundred_times_with_any_number_of_workers(tmp_path, workers):
    setting = everything("tpe", "asha-pareto", 60, workers)
    assert assert_same(tmp_path, setting, 4, 0.6) >= 100
