"""Searches beside each other: `python -m benchmarks.search --tasks zdt1,dtlz2 --methods ours,random --seeds 20`.

Each search runs as its users run it (benchmarks/peers), on problems whose truth is known (benchmarks/tasks.py), with a
simulated clock. Searches with the same seed meet the same noise. A checkpoint that a search paid for counts at its true
losses. Printed are medians over seeds: the share of the true front's hypervolume that is reached when the budget is
spent, what 90 % and 95 % of it cost, in full trainings, and how often the first method of the list ends above each
other (Wilcoxon's signed ranks over paired seeds, p by Holm over all the pairs of a task). Finished runs are lines of a
file in the work folder and are not run again.
"""

import json
import multiprocessing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import filelock
import numpy as np
import typer
from scipy import stats

from benchmarks.contest import Searcher, full_training, run
from benchmarks.tasks import CLOSED, PuppetsTable, Task

TABLE = Path(__file__).parent / "data" / "puppets-table.parquet"
FILE = "runs.jsonl"
SHARES = (0.9, 0.95)


def method(name: str) -> Callable[[Task, int], Searcher]:
    """A search by name. Imported only when asked for: each brings its package."""
    from benchmarks.peers.optuna_peers import Optuna
    from benchmarks.peers.ours import Ours
    from benchmarks.peers.plain import Random
    from benchmarks.peers.ray_peers import Ray

    return {
        "ours": Ours,
        "ours, random proposals": partial(Ours, sampler="random"),
        "ours, NSGA-II": partial(Ours, sampler="nsga2"),
        "ours, none stopped": partial(Ours, scheduler="none"),
        "ours, stopped by the mean": partial(Ours, scheduler="asha-scalar"),
        "random": Random,
        "Optuna TPE": partial(Optuna, kind="tpe"),
        "Optuna NSGA-II": partial(Optuna, kind="nsga2"),
        "Optuna GP": partial(Optuna, kind="gp"),
        "Ray OptunaSearch": partial(Ray, scheduled=False),
        "Ray OptunaSearch + ASHA": partial(Ray, scheduled=True),
    }[name]


METHODS = (
    "ours", "ours, random proposals", "ours, none stopped", "random", "Optuna TPE", "Optuna NSGA-II",
    "Ray OptunaSearch", "Ray OptunaSearch + ASHA",
)  # fmt: skip


def task_named(name: str) -> Task:
    return PuppetsTable(TABLE) if name == "puppets" else CLOSED[name]


def key(row: dict[str, Any]) -> str:
    return json.dumps([row[name] for name in ("task", "method", "seed", "workers", "trainings")])


def rows(work: Path) -> dict[str, dict[str, Any]]:
    """What was run, by task, method, seed, workers and budget."""
    lines = (work / FILE).read_text(encoding="utf-8").splitlines() if (work / FILE).exists() else []
    return {key(row): row for row in map(json.loads, lines)}


def one(asked: dict[str, Any], work: Path) -> None:
    """Runs one search and keeps what it reached. Costs are in full trainings of one worker."""
    task = task_named(asked["task"])
    unit, workers = full_training(task), asked["workers"]
    trace = run(task, method(asked["method"]), asked["seed"], workers, asked["trainings"] * unit / workers)
    volumes = trace.volumes() / task.best
    reached = {
        "final": float(volumes[-1]),
        "area": float(np.trapezoid(np.log(np.maximum(1 - volumes, 1e-6)), trace.seconds) / trace.seconds[-1]),
        "trials": int(trace.trials.max()) + 1,
        "costs": [min(trace.cost_to(share * task.best) * workers / unit, 1e9) for share in SHARES],
    }
    with filelock.FileLock(work / "runs.lock"), (work / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asked | reached) + "\n")


def table(found: list[dict[str, Any]], methods: list[str]) -> str:
    """Markdown of one task: a line a method. Paired with the first method by seed."""
    by = {name: {row["seed"]: row for row in found if row["method"] == name} for name in methods}
    against = _holm({name: _pvalue(by[methods[0]], by[name]) for name in methods[1:]})
    lines = [
        "| method | share reached | 90 % costs | 95 % costs | trials | below the first | p |",
        "|---|" + "---|" * 6,
    ]
    for name in methods:
        own = list(by[name].values())
        final = np.array([row["final"] for row in own])
        costs = [np.median([row["costs"][k] for row in own]) for k in range(len(SHARES))]
        said = [f"{cost:.0f}" if cost < 1e9 else "not reached" for cost in costs]
        pairs = [
            (by[methods[0]][seed]["final"], row["final"]) for seed, row in by[name].items() if seed in by[methods[0]]
        ]
        below = f"{sum(b < a for a, b in pairs)} of {len(pairs)}" if name != methods[0] else ""
        p = f"{against[name]:.3f}" if name in against else ""
        low, high = np.percentile(final, [25, 75])
        trials = np.median([row["trials"] for row in own])
        lines.append(
            f"| {name} | {np.median(final):.3f} ({low:.3f} to {high:.3f}) | {said[0]} | {said[1]} | {trials:.0f} "
            f"| {below} | {p} |"
        )
    return "\n".join(lines)


def _pvalue(first: dict[int, dict[str, Any]], other: dict[int, dict[str, Any]]) -> float:
    pairs = np.array([(first[seed]["final"], other[seed]["final"]) for seed in first.keys() & other.keys()])
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
    tasks: Annotated[str, typer.Option(help="By comma: zdt1, zdt2, zdt3, dtlz2, puppets.")] = ",".join(CLOSED),
    methods: Annotated[str, typer.Option(help="By semicolon; the first is compared with the others.")] = ";".join(
        METHODS
    ),
    seeds: Annotated[int, typer.Option(min=2)] = 20,
    workers: Annotated[int, typer.Option(min=1, help="Trials at a time.")] = 4,
    trainings: Annotated[float, typer.Option(min=1, help="Budget, in full trainings.")] = 60,
    processes: Annotated[int, typer.Option(min=1)] = 2,
    work: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("scratch/search"),
) -> None:
    work.mkdir(parents=True, exist_ok=True)
    chosen, done = methods.split(";"), rows(work)
    asked = [
        {"task": task, "method": name, "seed": seed, "workers": workers, "trainings": trainings}
        for seed in range(seeds) for task in tasks.split(",") for name in chosen
    ]  # fmt: skip
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.map(partial(one, work=work), [row for row in asked if key(row) not in done], chunksize=1)
    found = rows(work)
    for task in tasks.split(","):
        print(f"\n{task}: {workers} workers, {trainings:g} full trainings, {seeds} seeds\n")
        print(table([found[key(row)] for row in asked if row["task"] == task], chosen))


if __name__ == "__main__":
    typer.run(main)
