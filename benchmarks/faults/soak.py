"""Many trials with a fault every few seconds: does the driver grow?"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from scipy import stats

from benchmarks.faults.check import steps_needed, steps_taken, wrong
from benchmarks.faults.kill import PATIENCE, Tally, Victim, strike
from benchmarks.faults.nodes import Nodes
from benchmarks.faults.sweeps import Driver, Plan, undisturbed
from search.journal import Lost, events, read

EVERY = 1.0
"""Seconds between two samples."""
SETTLED = 0.3
"""The first share of the samples, in which libraries are imported and caches fill, is left out of the slopes."""


@dataclass(frozen=True)
class Limit:
    """How much a series may grow by, over the samples that count."""

    name: str
    unit: str
    grows: float


LIMITS = (
    Limit("driver's memory", "MiB", 40.0),
    Limit("driver's file descriptors", "", 8.0),
    Limit("driver's threads", "", 4.0),
    Limit("head's memory", "MiB", 60.0),
    Limit("disk per trial that ended", "KiB", 8.0),
)


@dataclass
class Series:
    """Samples over the time of one driver."""

    seconds: list[float] = field(default_factory=list)
    rows: list[tuple[float, ...]] = field(default_factory=list)
    """In the order of LIMITS."""

    def growth(self) -> list[tuple[Limit, float, float, float]]:
        """For each limit: first level, last level, growth between, on a line that outliers do not bend (Theil-Sen)."""
        start = int(len(self.seconds) * SETTLED)
        at, values = np.array(self.seconds[start:]), np.array(self.rows[start:])
        found = []
        for number, limit in enumerate(LIMITS):
            slope, intercept, _, _ = stats.theilslopes(values[:, number], at)
            found.append((limit, slope * at[0] + intercept, slope * at[-1] + intercept, slope * (at[-1] - at[0])))
        return found


def soak(
    cluster: Nodes, home: Path, plan: Plan, victims: tuple[Victim, ...], every: float, seed: int, seconds: float,
    say=print,
) -> tuple[Tally, Series]:  # fmt: skip
    """One sweep with a random fault about `every` seconds, checked at its end, and what its driver took over time."""
    tally, series, generator = Tally(), Series(), np.random.default_rng(seed)
    calm = undisturbed(plan, home, "calm", seed, cluster.address, seconds)
    config = plan.sweep(home, "soak", seed, cluster.address)
    began = time.monotonic()
    with Driver(config, plan.puppets) as driver:
        _endure(cluster, driver, victims, every, generator, seconds, tally, series)
    took = time.monotonic() - began
    ledger = read(config.folder)
    tally.sweeps, tally.observations = 1, len(ledger.table)
    tally.lost.update(event.cause for event in events(config.folder) if isinstance(event, Lost))
    if not plan.puppets:
        tally.needed = steps_needed(ledger)
        tally.repeated = steps_taken(config.folder) - tally.needed
    tally.wrong += wrong(config, calm, same_table=plan.scheduler == "none")
    say(f"{len(ledger.endings)} trials ended in {took:.0f} s")
    for limit, first, last, grows in series.growth():
        say(
            f"{limit.name:28s} {first:9.1f} to {last:9.1f} {limit.unit:3s} "
            f"grows by {grows:+8.2f} in {series.seconds[-1] * (1 - SETTLED):.0f} s, may {limit.grows:g}"
        )
        if grows > limit.grows:
            tally.wrong.append(f"the {limit.name} grew by {grows:.1f} {limit.unit}, more than {limit.grows:g}")
    return tally, series


def _endure(
    cluster: Nodes, driver: Driver, victims: tuple[Victim, ...], every: float, generator: np.random.Generator,
    seconds: float, tally: Tally, series: Series,
) -> None:  # fmt: skip
    """The sweep, its faults and its samples; RuntimeError when it does not end in time."""
    head = psutil.Process(cluster.cluster.head_node.all_processes["gcs_server"][0].process.pid)
    began = sampled = time.monotonic()
    next_fault = began + every
    while driver.returned is None and time.monotonic() - began < seconds:
        cluster.mend()
        now = time.monotonic()
        if now - sampled >= EVERY:
            sampled = now
            _sample(driver, head, series, now - began)
        if now >= next_fault and series.rows:
            victim = victims[int(generator.integers(len(victims)))]
            if strike(cluster, driver, victim, generator):
                tally.killed[victim] += 1
            next_fault = time.monotonic() + generator.uniform(0.5, 1.5) * every
        time.sleep(0.1)
    driver.finish(1.0 if driver.returned is None else PATIENCE, cluster.mend)


def _sample(driver: Driver, head: psutil.Process, series: Series, at: float) -> None:
    """Of a driver that has trials under way; one that has just ended gives none."""
    try:
        process = driver.process
        with process.oneshot():
            memory, files, threads = process.memory_info().rss, process.num_fds(), process.num_threads()
    except psutil.Error:
        return
    ended = driver.journal().count(b'"event": "ended"')
    if not ended:
        return
    disk = _used(driver.config.folder) + _used(Path(driver.config.artifacts))
    row = (memory / 2**20, float(files), float(threads), head.memory_info().rss / 2**20, disk / 1024 / ended)
    series.seconds.append(at)
    series.rows.append(row)


def _used(folder: Path) -> int:
    """Bytes of the files below a folder from which others delete."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total
