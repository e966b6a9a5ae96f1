"""Spot takes nodes away with notice, and trials go on elsewhere from the step at which it came."""

import time
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.faults.check import steps_needed, steps_taken, wrong
from benchmarks.faults.kill import PATIENCE, Tally
from benchmarks.faults.nodes import Nodes, Worker
from benchmarks.faults.sweeps import Driver, Plan, undisturbed
from search.journal import Lost, events, read


def preemptions(
    cluster: Nodes, home: Path, plan: Plan, times: int, seed: int, notice: float, gap: tuple[float, float], say=print
) -> Tally:
    """Sweeps during which nodes get notice, are replaced, and end when it is up; checked as `kill.campaign` does.

    Beside that: no trial may count it as a failure, and with the stand-in no step may be done twice.
    """
    tally, generator = Tally(), np.random.default_rng(seed)
    while tally.killed["preempted node"] < times:
        tally.sweeps += 1
        calm = undisturbed(plan, home, f"calm-{tally.sweeps}", seed + tally.sweeps, cluster.address, PATIENCE)
        config = plan.sweep(home, f"spot-{tally.sweeps}", seed + tally.sweeps, cluster.address)
        with Driver(config, plan.puppets) as driver:
            _take_away(cluster, driver, times, notice, generator, gap, tally, say)
        ledger = read(config.folder)
        tally.observations += len(ledger.table)
        lost = Counter(event.cause for event in events(config.folder) if isinstance(event, Lost))
        tally.lost += lost
        found = wrong(config, calm, same_table=plan.scheduler == "none")
        if set(lost) - {"preempted"}:
            found.append(f"taken for failures: {dict(lost)}")
        if not plan.puppets:
            tally.needed += steps_needed(ledger)
            tally.repeated += steps_taken(config.folder) - steps_needed(ledger)
            if tally.repeated:
                found.append(f"{tally.repeated} steps were done again")
        tally.wrong += [f"{config.name}: {line}" for line in found]
        say(f"{config.name} ended with {len(ledger.table)} observations; {len(found)} things wrong")
    return tally


def _take_away(
    cluster: Nodes, driver: Driver, times: int, notice: float, generator: np.random.Generator,
    gap: tuple[float, float], tally: Tally, say,
) -> None:  # fmt: skip
    """One sweep from start to end, and until the last notice is up."""
    ending: list[tuple[float, Worker]] = []
    while driver.returned is None or ending:
        if not driver.journal().count(b'"proposed"') and driver.returned is None:
            time.sleep(0.1)
            continue
        _wait(generator.uniform(*gap), driver)
        ending = _end_what_is_due(cluster, ending)
        staying = [worker for worker in cluster.mend() if worker not in [doomed for _, doomed in ending]]
        at_work = {worker: len(worker.trials()) for worker in staying}
        busy_ones = [worker for worker in staying if at_work[worker]]  # notice to an idle node shows nothing
        if driver.returned is None and tally.killed["preempted node"] < times and len(staying) > 1 and busy_ones:
            worker = busy_ones[int(generator.integers(len(busy_ones)))]
            ending.append((cluster.take(worker, notice), worker))
            tally.killed["preempted node"] += 1
            number, busy = tally.killed.total(), at_work[worker]
            say(f"{number:3d}: node {worker.number} has {notice:g} s left, {busy} trials on it")
            cluster.add()  # as the autoscaler does
        elif driver.returned is not None:
            time.sleep(0.2)
    driver.finish(PATIENCE, cluster.mend)


def _wait(seconds: float, driver: Driver) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and driver.returned is None:
        time.sleep(0.05)


def _end_what_is_due(cluster: Nodes, ending: list[tuple[float, Worker]]) -> list[tuple[float, Worker]]:
    """The machines whose notice is up are gone, whatever runs on them; the others are returned."""
    now = time.time()
    for at, worker in ending:
        if now >= at:
            cluster.kill_node(worker)
    return [(at, worker) for at, worker in ending if now < at]
