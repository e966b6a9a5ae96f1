"""`posefront simulate`: what would so many workers reach in so long?"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table

from search.commands.options import Home
from search.commands.sweep import (
    GpuHours,
    Hours,
    Promote,
    Require,
    SamplerName,
    SchedulerName,
    SpaceName,
    Trials,
    check_promotes,
)
from spaces import InputError, load_space, parse_requirement

if TYPE_CHECKING:
    from analysis.surrogate import Error
    from search.forecast import Simulated

LOW, HIGH = 10, 90
"""Percentiles over seeds."""

Workers = Annotated[int, typer.Option(min=1, help="Trials at a time.")]
Gpus = Annotated[float, typer.Option(min=0, help="GPUs of a trial, for --gpu-hours; 0 counts workers.")]
Earlier = Annotated[str | None, typer.Option("--from", help="Earlier sweeps, with commas between, to judge by.")]
TableFile = Annotated[Path | None, typer.Option("--table", help="Or a parquet file of `benchmarks.table pack`.")]
Speed = Annotated[float, typer.Option(help="The devices are so many times as fast as those measured.")]
Seeds = Annotated[int, typer.Option(min=1, help="So many sweeps are simulated.")]


def simulate(
    space: SpaceName,
    workers: Workers = 1,
    trials: Trials = None,
    gpu_hours: GpuHours = None,
    hours: Hours = None,
    earlier: Earlier = None,
    table: TableFile = None,
    speed: Speed = 1.0,
    seeds: Seeds = 10,
    sampler: SamplerName = "gp",
    scheduler: SchedulerName = "trajectories",
    promote: Promote = False,
    require: Require = None,
    gpus_per_trial: Gpus = 0.0,
    home: Home = Path("runs"),
) -> None:
    """Says what a sweep would reach, by simulating it in virtual time on what was measured before.

    Scheduler, sampler and budgets are those of a real sweep. Scores and seconds are those of earlier sweeps' trials
    (--from), or of a table, and in between those of a surrogate of them.
    """
    from search.budget import HOUR, TRIALS, Plan
    from search.forecast import Forecast, of_sweeps, of_table, over_seeds

    console = Console()
    chosen = load_space(space)
    required = tuple(parse_requirement(text) for text in require or ())
    chosen = replace(chosen, requirements=tuple(dict.fromkeys(chosen.requirements + required)))
    if (earlier is None) == (table is None):
        raise InputError(
            "--from, --table", "one of the two should say what to judge by: --from NAME of an earlier sweep"
        )
    for option, given in (("--gpu-hours", gpu_hours), ("--hours", hours), ("--speed", speed)):
        if given is not None and not 0 < given < float("inf"):
            raise InputError(option, f"{given!r} should be a number above 0")
    check_promotes(promote, scheduler)
    names = [name for name in (earlier or "").split(",") if name]
    measured = of_table(table, chosen) if table is not None else of_sweeps(home.absolute(), names, chosen)
    bounded = trials is not None or gpu_hours is not None or hours is not None
    seconds = [None if given is None else HOUR * given for given in (gpu_hours, hours)]
    plan = Plan(trials if bounded else TRIALS, *seconds)
    forecast = Forecast(chosen, measured, speed)
    say(
        console,
        f"{chosen.name}, {plan.in_words}, {workers} worker{'s' if workers > 1 else ''}: simulated {seeds} times",
    )
    say(console, f"by {measured.in_words}" + (f", {speed:g} times as fast" if speed != 1 else "") + ".\n")
    console.print(knowledge(forecast.errors()), "")
    with console.status("simulating") as status:
        found = over_seeds(
            forecast, plan, workers, seeds, sampler, scheduler, gpus_per_trial,
            lambda done: status.update(f"simulated {done} of {seeds}"), promote,
        )  # fmt: skip
    console.print(outcome(found), "")
    console.print(growth(found), "")
    console.print("Intervals are over proposals and noise: where the surrogate is wrong, so are they.", style="dim")


def say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False)


def knowledge(errors: "dict[str, Error]") -> Table:
    """How far the surrogate is to be trusted."""
    table = _plain("score", "error", "noise of a run", "explained", title="What it knows of recipes that it never saw")
    for name, error in errors.items():
        table.add_row(name, f"{error.rmse:.3f}", f"{error.noise:.3f}", f"{max(0.0, error.explained):.0%}")
    return table


def outcome(found: "Sequence[Simulated]") -> Table:
    """Medians and intervals of what came out."""
    from search.views.live import clock

    table = _plain("", "median", f"{LOW} to {HIGH} %", title="The sweep")
    add = lambda name, values, form: table.add_row(name, *_interval(values, form))  # noqa: E731
    add("hypervolume, as scored", [each.volumes[-1] for each in found], "{:.3f}".format)
    add("  without the luck of the noise", [each.worth for each in found], "{:.3f}".format)
    add("checkpoints on the front", [each.front for each in found], "{:.0f}".format)
    add("trials", [each.trials for each in found], "{:.0f}".format)
    for how in _kinds(found):
        add(f"  {how}", [each.ended.get(how, 0) for each in found], "{:.0f}".format)
    add("time", [each.seconds for each in found], clock)
    for part in found[0].spent:
        add(f"  {part}", [each.spent[part] for each in found], "{:.0%}".format)
    return table


def growth(found: "Sequence[Simulated]") -> Table:
    """Hypervolume over time."""
    from search.views.live import clock

    table = _plain("after", "hypervolume", f"{LOW} to {HIGH} %", "", title="As it goes on")
    table.columns[3].justify = "left"
    volumes = np.array([each.volumes for each in found])
    whole = float(np.median([each.seconds for each in found]))
    for k in range(volumes.shape[1]):
        middle, interval = _interval(volumes[:, k].tolist(), "{:.3f}".format)
        bar = ProgressBar(total=1.0, completed=float(np.median(volumes[:, k])), width=30)
        table.add_row(clock(whole * (k + 1) / volumes.shape[1]), middle, interval, bar)
    return table


def _kinds(found: "Sequence[Simulated]") -> list[str]:
    """How trials ended: early rungs first, then what else there was."""
    kinds = {how for each in found for how, count in each.ended.items() if count}
    stopped = sorted((how for how in kinds if how.startswith("stopped")), key=lambda how: int(how.rpartition(" ")[2]))
    return stopped + sorted(kinds - set(stopped))


def _interval(values: Sequence[float], form: Callable[[float], str]) -> tuple[str, str]:
    low, middle, high = np.percentile(values, [LOW, 50, HIGH])
    return form(middle), f"{form(low)} to {form(high)}"


def _plain(*columns: str, title: str) -> Table:
    table = Table(*columns, title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    return table
