"""SIGKILL at random points of a sweep, and what must hold after."""

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.faults.check import kept, steps_needed, steps_taken, wrong
from benchmarks.faults.nodes import Nodes, Worker
from benchmarks.faults.sweeps import Driver, Plan, undisturbed, wait_for
from search.journal import Lost, events, read

Victim = Literal["driver", "process", "store", "node"]
VICTIMS: tuple[Victim, ...] = ("driver", "process", "store", "node")
PATIENCE = 240.0
"""Seconds without anything new in the journal after which a sweep is taken to be stuck."""


@dataclass
class Tally:
    """What was done and seen."""

    killed: Counter = field(default_factory=Counter)
    sweeps: int = 0
    observations: int = 0
    lost: Counter = field(default_factory=Counter)
    """By cause, what the journals say."""
    repeated: int = 0
    """Steps of the stand-in that were done more than once."""
    needed: int = 0
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        killed = ", ".join(f"{count} x {victim}" for victim, count in sorted(self.killed.items()))
        lost = ", ".join(f"{count} x {cause}" for cause, count in sorted(self.lost.items())) or "none"
        again = f"{self.repeated} of {self.needed} steps were done again" if self.needed else "steps not counted"
        return [
            f"killed: {self.killed.total()} ({killed}) in {self.sweeps} sweeps",
            f"processes that trials lost, by the journal: {lost}; {again}",
            f"{self.observations} observations, each once in the journal, on disk and in MLflow; rungs and front as "
            "they should be" if not self.wrong else f"WRONG: {len(self.wrong)} findings",
            *self.wrong,
        ]  # fmt: skip


def campaign(
    cluster: Nodes, home: Path, plan: Plan, victims: tuple[Victim, ...], times: int, seed: int,
    gap: tuple[float, float], seconds: float = math.inf, say=print,
) -> Tally:  # fmt: skip
    """Sweep after sweep until so many kills are done, each checked at its end beside an undisturbed one.

    After so many `seconds` no more are begun.
    """
    tally, generator, began = Tally(), np.random.default_rng(seed), time.monotonic()
    # Every victim as often as any other, in random order.
    due = [victims[i % len(victims)] for i in generator.permutation(times)]
    while due:
        tally.sweeps += 1
        calm = undisturbed(plan, home, f"calm-{tally.sweeps}", seed + tally.sweeps, cluster.address, PATIENCE)
        config = plan.sweep(home, f"hit-{tally.sweeps}", seed + tally.sweeps, cluster.address)
        with Driver(config, plan.puppets) as driver:
            _disturb(cluster, driver, due, generator, gap, began + seconds, tally, say)
        if time.monotonic() > began + seconds:
            due.clear()
        ledger = read(config.folder)
        tally.observations += len(ledger.table)
        tally.lost.update(event.cause for event in events(config.folder) if isinstance(event, Lost))
        if not plan.puppets:
            tally.needed += steps_needed(ledger)
            tally.repeated += steps_taken(config.folder) - steps_needed(ledger)
        found = wrong(config, calm, same_table=plan.scheduler == "none")
        tally.wrong += [f"{config.name}: {line}" for line in found]
        say(f"{config.name} ended with {len(ledger.table)} observations; {len(found)} things wrong")
    return tally


def _disturb(
    cluster: Nodes, driver: Driver, due: list[Victim], generator: np.random.Generator, gap: tuple[float, float],
    last: float, tally: Tally, say,
) -> None:  # fmt: skip
    """One sweep from start to end, with kills while it goes on."""
    snapshots: list[bytes] = []
    while driver.returned is None:
        # A fault while the last one's damage is not yet mended would only be the same fault again; but the driver may
        # also go while it starts.
        what = b"\n" if due and due[-1] == "driver" else b'"event": "observed"'
        seen = driver.journal().count(what)
        wait_for(lambda seen=seen, what=what: _more(cluster, driver, what, seen), PATIENCE, driver.config.name)
        until = time.monotonic() + generator.uniform(*gap)
        while time.monotonic() < until and driver.returned is None:
            time.sleep(0.02)
        if not due or driver.returned is not None or time.monotonic() > last:
            break
        before = driver.journal()
        if strike(cluster, driver, due[-1], generator):
            victim = due.pop()
            tally.killed[victim] += 1
            snapshots.append(before)
            say(f"{tally.killed.total():3d}: SIGKILL {victim}")
    driver.finish(PATIENCE, cluster.mend)
    tally.wrong += [
        f"{driver.config.name}: what was in the journal before a fault is not there as it was"
        for before in snapshots
        if not kept(before, driver.config)
    ]


def _more(cluster: Nodes, driver: Driver, what: bytes, seen: int) -> bool:
    cluster.mend()
    return driver.returned is not None or driver.journal().count(what) > seen


def strike(cluster: Nodes, driver: Driver, victim: Victim, generator: np.random.Generator) -> bool:
    """SIGKILLs one of them; whether there was one. What a sweep cannot do without is put back."""
    if victim == "driver":
        done = driver.kill()
        if done:
            driver.start()
        return done
    workers = cluster.mend()
    worker: Worker = workers[int(generator.integers(len(workers)))]
    if victim == "process":
        return cluster.kill_process(worker)
    done = cluster.kill_store(worker) if victim == "store" else cluster.kill_node(worker)
    cluster.mend()
    return done
