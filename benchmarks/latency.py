"""What the search costs its driver as the table grows: `python -m benchmarks.latency`.

Three tables, for 100, 1,000 and 10,000 trials that were scored at six rungs each: a decision, beside the pure function
over the whole table; a proposal as the driver sees it, drawn ahead and drawn when it is asked for; and a point that
comes to the front, beside the batch functions and Optuna's. Median and 99th percentile, of the processor's time but for
proposals, which are waited for: those are by the clock, and want an idle machine.

A driver that asks for a proposal that is not there waits for 10 ms, and asks again when it has seen to its other
trials. So there are two times, how long the driver is kept at each request, and until the proposal is there.
"""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, TypeVar

import numpy as np
import typer
from optuna._hypervolume import compute_hypervolume
from optuna.study._multi_objective import _is_pareto_front

from analysis.growing import GrowingFront
from analysis.pareto import Floats, hypervolume, non_dominated
from search.config import SamplerKind
from search.decisions.standings import Standings
from search.journal import Ended, Journal, Observed, Proposed
from search.rungs import Continue, Decision, Pause, SchedulerKind, decide, rule_for
from search.state import PATIENCE, SweepState
from spaces import Observation, Space, parse_space
from spaces.files import space_file

T = TypeVar("T")
ELSEWHERE = 0.01
"""Seconds that the driver spends with others before it asks again."""
RUNGS, SHAPES = (25, 50, 100, 200, 400, 800), ("cloud", "one front")


def six_rungs() -> Space:
    """The puppets' space, with six rungs."""
    text = space_file("puppets").read_text(encoding="utf-8")
    rungs = next(line for line in text.splitlines() if line.startswith("rungs:"))
    return parse_space(text.replace(rungs, f"rungs: {list(RUNGS)}"), "puppets")


def scored(generator: np.random.Generator, shape: str, steps: int) -> dict[str, float]:
    """Two scores that get better with the steps: of any quality, or all of one front."""
    identity = float(generator.random())
    pose = 1 - identity if shape == "one front" else float(generator.random())
    better = 0.5 + 0.5 * steps / RUNGS[-1]
    return {"identity": better * identity, "pose": better * pose}


def table(space: Space, trials: int, shape: str) -> tuple[list[Proposed], list[Observation]]:
    """So many trials, and each one's observations at all rungs."""
    generator = np.random.default_rng(0)
    proposals, seen = [], []
    for number in range(1, trials + 1):
        values = space.sample(generator)
        proposals.append(Proposed(0.0, f"t{number:05d}", space.recipe(values), values, number))
        seen += [
            Observation(proposals[-1].trial, proposals[-1].recipe, number, steps, scored(generator, shape, steps))
            for steps in RUNGS
        ]
    return proposals, seen


def timed(action: Callable[[], T], clock: Callable[[], float] = time.thread_time) -> tuple[float, T]:
    """Milliseconds, and what came out."""
    began = clock()
    result = action()
    return 1e3 * (clock() - began), result


def both(times: list[float]) -> str:
    return f"{np.median(times):9.3f} {np.quantile(times, 0.99):9.3f}"


def decisions(space: Space, trials: int, shape: str, scheduler: SchedulerKind, promote: bool, asked: int) -> str:
    """One more trial at every rung of a table whose trials were decided about as they came."""
    rule = rule_for(scheduler, space, promote)
    standings, paused, gone_on = Standings(rule), dict[str, int](), Counter[int]()
    known, now = table(space, trials, shape)

    def decided(new: Observation) -> Decision:
        return standings.pause_or_go_on([new], paused, gone_on) if promote else standings.decide([new])

    def count(new: Observation, decision: Decision) -> None:
        if isinstance(decision, Pause):
            paused[new.trial] = new.steps
        gone_on[new.steps] += isinstance(decision, Continue)

    for observation in now:
        count(observation, decided(observation))
    generator, ours, pure = np.random.default_rng(1), [], []
    for i in range(asked):
        steps = RUNGS[i % len(RUNGS)]
        new = Observation(f"u{i:05d}", known[0].recipe, 0, steps, scored(generator, shape, steps))
        took, decision = timed(partial(decided, new))
        ours.append(took)
        if i < len(RUNGS) and not promote:
            took, expected = timed(partial(decide, now, [new], rule))
            pure.append(took)
            assert decision == expected
        count(new, decision)
        now.append(new)
    return f"{both(ours)} {np.median(pure):12.1f}" if pure else both(ours)


def proposals(space: Space, trials: int, ahead: bool, asked: int, pause: float, sampler: SamplerKind) -> str:
    """The next trial of a sweep with such a table, its line in the journal on the disk counted in.

    Milliseconds for each request, until it is there, and how many were there at the first request.
    """
    known, seen = table(space, trials, "cloud")
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        for proposal in known:
            journal.ledger.add(proposal)
        for observation in seen:
            journal.ledger.add(Observed(0.0, (observation,), Continue(1, 1), "nowhere"))
        for proposal in known[1:]:  # one is running
            journal.ledger.add(Ended(0.0, proposal.trial, "finished", "", RUNGS[-1]))
        rule = rule_for("trajectories", space)
        state = SweepState(space, rule, sampler, 0, trials + asked, journal, lambda event: None)
        if ahead:
            state.look_ahead(PATIENCE)
        kept, until, at_once = [], [], 0
        for _ in range(asked):
            time.sleep(pause)
            began, requests = time.perf_counter(), 0
            while True:
                took, given = timed(state.next_trial, time.perf_counter)
                kept.append(took)
                requests += 1
                if given is not None:
                    break
                time.sleep(ELSEWHERE)
            until.append(1e3 * (time.perf_counter() - began))
            at_once += requests == 1
        journal.close()
    return f"{both(kept)} {both(until)} {at_once / asked:8.0%}"


def fronts(points: Floats) -> str:
    """A point more, to a front and its volume, and the difference to the batch function's and Optuna's volume."""
    front, reference = GrowingFront([1.0, 1.0]), np.ones(2)
    times = [timed(partial(front.add, point, i))[0] for i, point in enumerate(points.tolist())]
    last = times[-max(100, len(times) // 10) :]
    batch, (on, volume) = timed(lambda: (non_dominated(points), hypervolume(points, reference)))
    optuna, (optunas_on, optunas_volume) = timed(
        lambda: (_is_pareto_front(points, assume_unique_lexsorted=False), compute_hypervolume(points, reference))
    )
    assert set(front.keys) == set(np.flatnonzero(on).tolist()) == set(np.flatnonzero(optunas_on).tolist())
    apart = max(abs(volume - front.volume), abs(optunas_volume - front.volume))
    return f"{1e3 * np.mean(last):9.2f} {1e3 * np.quantile(last, 0.99):9.2f} {batch:10.2f} {optuna:10.2f} {apart:10.1e}"


def main(
    trials: Annotated[list[int], typer.Option(help="table sizes")] = [100, 1000, 10000],  # noqa: B006
    asked: Annotated[int, typer.Option(min=10, help="proposals of each kind")] = 200,
    pause: Annotated[float, typer.Option(min=0, help="seconds between two proposals")] = 0.2,
    sampler: Annotated[str, typer.Option(help="gp, tpe, nsga2 or random")] = "gp",
    scheduler: Annotated[str, typer.Option(help="trajectories, asha-pareto, asha-scalar or none")] = "trajectories",
    decided: Annotated[int, typer.Option(min=10, help="decisions of each kind")] = 600,
) -> None:
    space = six_rungs()
    for promote in (False, True) if scheduler != "none" else (False,):
        options = " --promote" if promote else ""
        print(f"a decision ({scheduler}{options}) over trials x {len(RUNGS)} rungs, ms of the processor")
        print(f"{'trials':>8} {'':10}    median       p99{'' if promote else '  over the table'}")
        for n in trials:
            for shape in SHAPES:
                print(f"{n:8} {shape:10} {decisions(space, n, shape, scheduler, promote, decided)}", flush=True)
        print()
    print(f"a proposal ({sampler}) as the driver sees it, {asked} of them {pause:g} s apart, ms by the clock")
    print(f"{'':19}      each request      until it is there  at once")
    print(f"{'trials':>8} {'':10}    median       p99    median       p99")
    for n in trials:
        for ahead in (True, False):
            kind = "ahead" if ahead else "on demand"
            print(f"{n:8} {kind:10} {proposals(space, n, ahead, asked, pause, sampler)}", flush=True)
    print(
        "\nfront and volume of two objectives, one point more (microseconds), all points at once (ms), and the largest"
    )
    print(f"difference of the volumes\n{'points':>8} {'':10}      mean       p99      batch     Optuna difference")
    for n in trials:
        cloud = np.random.default_rng(0).random((n, 2))
        for shape, points in zip(SHAPES, (cloud, np.column_stack([cloud[:, 0], 1 - cloud[:, 0]])), strict=True):
            print(f"{n:8} {shape:10} {fronts(points)}", flush=True)


if __name__ == "__main__":
    typer.run(main)
