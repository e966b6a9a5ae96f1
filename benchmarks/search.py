"""Searches beside each other: `python -m benchmarks.search --tasks zdt1,dtlz2 --methods "ours;random" --seeds 20`.

Each search runs as its users run it (benchmarks/peers), on problems whose truth is known (benchmarks/tasks.py), with a
simulated clock. Searches with the same seed meet the same noise. A checkpoint that a search paid for counts at its true
losses. Printed are medians over seeds, in full trainings: the share of the true front's hypervolume that is reached
when the budget is spent, with quartiles; what 90 % and 95 % of it cost; the mean over the budget of the logarithm (10)
of what is missing, with a bootstrap interval of its median; and how often the first method of the list is better by
that than each other (Wilcoxon's signed ranks over paired seeds, p by Holm over all the pairs of a task). `--plot` draws
what is missing against the cost, and attainment surfaces. Finished runs are lines of a file in the work folder and are
not run again; `--minutes` begins no other run after these.
"""

import json
import multiprocessing
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import filelock
import numpy as np
import typer
from numpy.typing import NDArray
from scipy import stats

from analysis.pareto import non_dominated
from benchmarks.contest import Searcher, Trace, full_training, run
from benchmarks.peers.foreign import interpreter
from benchmarks.tasks import CLOSED, PuppetsTable, Task
from spaces import InputError

TABLE = Path(__file__).parent / "data" / "puppets-table.parquet"
FILE = "runs.jsonl"
SHARES = (0.9, 0.95)
LEAST = 1e-4
"""What is missing is told apart down to this."""
PER_TRAINING = 4
"""So often it is looked at."""
NEVER = 1e9


def method(name: str) -> Callable[[Task, int], Searcher]:
    """A search by name. Imported only when asked for: each brings its package."""
    from benchmarks.peers.neps_peer import NePS
    from benchmarks.peers.optuna_peers import Optuna
    from benchmarks.peers.ours import Ours, OursPromoted
    from benchmarks.peers.plain import Random
    from benchmarks.peers.ray_peers import Ray
    from benchmarks.peers.syne_tune_peer import SyneTune

    return {
        "ours": Ours,
        "ours, TPE": partial(Ours, sampler="tpe"),
        "ours, random proposals": partial(Ours, sampler="random"),
        "ours, NSGA-II": partial(Ours, sampler="nsga2"),
        "ours, promoted": OursPromoted,
        "ours, ranks alone": partial(Ours, scheduler="asha-pareto"),
        "ours, ranks alone, promoted": partial(OursPromoted, scheduler="asha-pareto"),
        "ours, stopped by the mean": partial(Ours, scheduler="asha-scalar"),
        "ours, none stopped": partial(Ours, scheduler="none"),
        "ours, TPE and ranks alone": partial(Ours, sampler="tpe", scheduler="asha-pareto"),
        "random": Random,
        "Optuna TPE": partial(Optuna, kind="tpe"),
        "Optuna NSGA-II": partial(Optuna, kind="nsga2"),
        "Optuna GP": partial(Optuna, kind="gp"),
        "Ray OptunaSearch": partial(Ray, scheduled=False),
        "Ray OptunaSearch + ASHA": partial(Ray, scheduled=True),
        "Syne Tune MOASHA": partial(SyneTune, repaired=False),
        "Syne Tune MOASHA, repaired": partial(SyneTune, repaired=True),
        "NePS moasha": partial(NePS, optimizer="moasha"),
        "NePS primo": partial(NePS, optimizer="primo"),
    }[name]


FOREIGN = ("Syne Tune", "NePS")
"""How the names of methods begin that need the peers' interpreter."""
METHODS = (
    "ours", "random", "Optuna TPE", "Optuna NSGA-II", "Optuna GP", "Ray OptunaSearch", "Ray OptunaSearch + ASHA",
    "ours, TPE", "ours, random proposals", "ours, ranks alone", "ours, none stopped", "ours, TPE and ranks alone",
    "ours, promoted",
)  # fmt: skip


@cache
def task_named(name: str) -> Task:
    if name == "puppets-exact":
        return task_named("puppets").exact()
    return PuppetsTable(TABLE) if name == "puppets" else CLOSED[name]


def key(row: dict[str, Any]) -> str:
    return json.dumps([row[name] for name in ("task", "method", "seed", "workers", "trainings")])


def rows(work: Path) -> dict[str, dict[str, Any]]:
    """What was run, by task, method, seed, workers and budget."""
    lines = (work / FILE).read_text(encoding="utf-8").splitlines() if (work / FILE).exists() else []
    return {key(row): row for row in map(json.loads, lines)}


def one(asked: dict[str, Any], work: Path, until: float = np.inf) -> None:
    """Runs one search and keeps what it reached. Costs are in full trainings of one worker."""
    if time.time() > until:
        return
    task = task_named(asked["task"])
    unit, workers = full_training(task), asked["workers"]
    trace = run(task, method(asked["method"]), asked["seed"], workers, asked["trainings"] * unit / workers)
    volumes = trace.volumes() / task.best
    curve = missing(trace, volumes, unit / workers, asked["trainings"])
    front = trace.losses[non_dominated(trace.losses)]
    reached = {
        "final": float(volumes[-1]),
        "area": float(np.log10(curve).mean()),
        "trials": int(trace.trials.max()) + 1,
        "costs": [min(trace.cost_to(share * task.best) * workers / unit, NEVER) for share in SHARES],
        "missing": [float(f"{value:.3g}") for value in curve],
        "front": np.unique(front.round(4), axis=0).tolist(),
    }
    with filelock.FileLock(work / "runs.lock"), (work / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asked | reached) + "\n")


def missing(trace: Trace, volumes: NDArray[np.float64], unit: float, trainings: float) -> NDArray[np.float64]:
    """The share of the hypervolume that is missing after 1/4, 2/4, ... trainings; all of it before the first result."""
    at = np.arange(1, int(trainings * PER_TRAINING) + 1) / PER_TRAINING * unit
    known = np.searchsorted(trace.seconds, at * (1 + 1e-12), side="right")
    return np.maximum(1 - np.concatenate([[0.0], volumes])[known], LEAST)


def interval(values: NDArray[np.float64], draws: int = 2000) -> tuple[float, float]:
    """Of the median, 95 %, by the bootstrap over seeds."""
    drawn = np.random.default_rng(0).choice(values, (draws, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(high)


def table(found: list[dict[str, Any]], methods: list[str]) -> str:
    """Markdown of one task: a line a method. Paired with the first method by seed."""
    by = {name: {row["seed"]: row for row in found if row["method"] == name} for name in methods}
    against = _holm({name: _pvalue(by[methods[0]], by[name]) for name in methods[1:]})
    lines = [
        "| method | seeds | share reached | 90 % costs | 95 % costs | log missing | trials | worse | p |",
        "|---|" + "---|" * 8,
    ]
    for name in methods:
        own = list(by[name].values())
        if not own:
            continue
        final, area = (np.array([row[k] for row in own]) for k in ("final", "area"))
        costs = [np.quantile([row["costs"][k] for row in own], 0.5, method="higher") for k in range(len(SHARES))]
        said = [f"{cost:.1f}" if cost < NEVER else "not reached" for cost in costs]
        pairs = [
            (by[methods[0]][seed]["area"], row["area"]) for seed, row in by[name].items() if seed in by[methods[0]]
        ]
        worse = f"{sum(b > a for a, b in pairs)} of {len(pairs)}" if name != methods[0] else ""
        p = ("<0.001" if against[name] < 0.0005 else f"{against[name]:.3f}") if name in against else ""
        (low, high), (least, most) = np.percentile(final, [25, 75]), interval(area)
        trials = np.median([row["trials"] for row in own])
        lines.append(
            f"| {name} | {len(own)} | {np.median(final):.3f} ({low:.3f} to {high:.3f}) | {said[0]} | {said[1]} "
            f"| {np.median(area):.2f} ({least:.2f} to {most:.2f}) | {trials:.0f} | {worse} | {p} |"
        )
    return "\n".join(lines)


def _pvalue(first: dict[int, dict[str, Any]], other: dict[int, dict[str, Any]]) -> float:
    pairs = np.array([(first[seed]["area"], other[seed]["area"]) for seed in first.keys() & other.keys()])
    if len(pairs) < 2 or (pairs[:, 0] == pairs[:, 1]).all():
        return 1.0
    return float(stats.wilcoxon(pairs[:, 0], pairs[:, 1]).pvalue)


def _holm(pvalues: dict[str, float]) -> dict[str, float]:
    """Holm's step-down correction (1979)."""
    adjusted, running = {}, 0.0
    for i, name in enumerate(sorted(pvalues, key=pvalues.get)):
        running = max(running, min(1.0, (len(pvalues) - i) * pvalues[name]))
        adjusted[name] = running
    return adjusted


def main(
    tasks: Annotated[str, typer.Option(help="By comma: zdt1, zdt2, zdt3, dtlz2, puppets, puppets-exact.")] = ",".join(
        CLOSED
    ),
    methods: Annotated[str, typer.Option(help="By semicolon; the first is compared with the others.")] = ";".join(
        METHODS
    ),
    seeds: Annotated[int, typer.Option(min=2)] = 20,
    workers: Annotated[int, typer.Option(min=1, help="Trials at a time.")] = 1,
    trainings: Annotated[float, typer.Option(min=1, help="Budget, in full trainings.")] = 40,
    processes: Annotated[int, typer.Option(min=1)] = 2,
    minutes: Annotated[float, typer.Option(min=0, help="Begin no other run after these; 0 is never.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="A PNG of it all.")] = None,
    work: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("scratch/search"),
) -> None:
    chosen = methods.split(";")
    if any(name.startswith(FOREIGN) for name in chosen):
        try:
            interpreter()
        except InputError as error:
            typer.echo(error, err=True)
            raise typer.Exit(2) from None
    work.mkdir(parents=True, exist_ok=True)
    done = rows(work)
    until = time.time() + 60 * minutes if minutes else np.inf
    asked = [
        {"task": task, "method": name, "seed": seed, "workers": workers, "trainings": trainings}
        for seed in range(seeds) for task in tasks.split(",") for name in chosen
    ]  # fmt: skip
    try:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            pool.map(partial(one, work=work, until=until), [row for row in asked if key(row) not in done], chunksize=1)
    except InputError as error:  # a method that is not for a task
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    found = rows(work)
    known = {task: [found[key(row)] for row in asked if row["task"] == task and key(row) in found]
             for task in tasks.split(",")}  # fmt: skip
    for task, own in known.items():
        print(f"\n{task}: {workers} worker{'s' * (workers > 1)}, {trainings:g} full trainings, {len(own)} runs\n")
        print(table(own, chosen))
    if plot is not None:
        from benchmarks.drawn import draw

        draw(known, chosen, trainings, plot)


if __name__ == "__main__":
    typer.run(main)
