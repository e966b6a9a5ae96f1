"""Faults that a sweep must outlive: `python -m benchmarks.faults KIND`, see docs/reliability.md."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from benchmarks.faults.kill import VICTIMS, campaign
from benchmarks.faults.metadata import metadata_service
from benchmarks.faults.nodes import nodes
from benchmarks.faults.preempt import preemptions
from benchmarks.faults.soak import soak as run_soak
from benchmarks.faults.sweeps import Plan

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Seed = Annotated[int, typer.Option(min=0, help="Of the sweeps and of the faults' moments.")]
Puppets = Annotated[bool, typer.Option("--puppets", help="Real fine-tunes; else trials that cost next to nothing.")]
Scheduler = Annotated[Literal["none", "asha-pareto"], typer.Option(help="`none`: the whole table must be the same.")]
Nodes = Annotated[int, typer.Option(min=2, help="Worker nodes.")]
Cpus = Annotated[int, typer.Option(min=1, help="Trials at a time on each.")]


@app.callback()
def main() -> None:
    """Each ends with a check: all scored observations once in the journal, on disk and in MLflow, rungs as before, the
    front as without faults."""


@app.command()
def kill(
    times: Annotated[int, typer.Option(min=1)] = 50,
    within: Annotated[float, typer.Option(min=1, help="Seconds after which no more are killed.")] = 1500.0,
    what: Annotated[Literal["any", "driver", "process", "store", "node"], typer.Option(help="Who is killed.")] = "any",
    seed: Seed = 0,
    scheduler: Scheduler = "none",
    trials: Annotated[int, typer.Option(min=1, help="Of each sweep.")] = 40,
    pace: Annotated[float, typer.Option(help="Seconds of a step of the cheap trial.")] = 0.05,
    worker_nodes: Nodes = 2,
    cpus: Cpus = 2,
    puppets: Puppets = False,
) -> None:
    """SIGKILL of the driver, of a trial's process, of the object store's (the raylet), of a whole node."""
    victims = VICTIMS if what == "any" else (what,)
    plan = Plan(trials, scheduler, pace, puppets, at_once=worker_nodes * cpus)
    with TemporaryDirectory(prefix="posefront-faults-") as home, nodes(Path(home), worker_nodes, cpus) as cluster:
        tally = campaign(cluster, Path(home), plan, victims, times, seed, (0.2, 2.0), within)
    _end(tally.lines(), tally.wrong)


@app.command()
def preempt(
    times: Annotated[int, typer.Option(min=1)] = 4,
    notice: Annotated[float, typer.Option(min=1, help="Seconds between the notice and the node's end.")] = 120.0,
    seed: Seed = 0,
    scheduler: Scheduler = "none",
    trials: Annotated[int, typer.Option(min=1, help="Of each sweep.")] = 40,
    pace: Annotated[float, typer.Option(help="Seconds of a step of the cheap trial.")] = 0.05,
    worker_nodes: Nodes = 2,
    cpus: Cpus = 2,
    puppets: Puppets = False,
) -> None:
    """Spot takes nodes away, with notice by the metadata service: trials save between two steps and go on elsewhere."""
    plan = Plan(trials, scheduler, pace, puppets, at_once=worker_nodes * cpus)
    with (
        TemporaryDirectory(prefix="posefront-faults-") as home,
        metadata_service() as spot,
        nodes(Path(home), worker_nodes, cpus, spot) as cluster,
    ):
        tally = preemptions(cluster, Path(home), plan, times, seed, notice, (0.5, 3.0))
    _end(tally.lines(), tally.wrong)


@app.command()
def soak(
    trials: Annotated[int, typer.Option(min=1)] = 500,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two faults, on average.")] = 4.0,
    within: Annotated[float, typer.Option(min=1, help="Seconds that it may take at most.")] = 900.0,
    seed: Seed = 0,
    scheduler: Scheduler = "none",
    pace: Annotated[float, typer.Option(help="Seconds of a step of the cheap trial.")] = 0.01,
    worker_nodes: Nodes = 2,
    cpus: Cpus = 2,
    puppets: Puppets = False,
) -> None:
    """Many trials with a random fault every few seconds: nothing lost, and the driver does not grow."""
    plan = Plan(trials, scheduler, pace, puppets, at_once=worker_nodes * cpus)
    victims = ("process", "process", "store", "node")  # the driver's series would begin anew
    with TemporaryDirectory(prefix="posefront-faults-") as home, nodes(Path(home), worker_nodes, cpus) as cluster:
        tally, _ = run_soak(cluster, Path(home), plan, victims, every, seed, within)
    _end(tally.lines(), tally.wrong)


def _end(lines: list[str], wrong: list[str]) -> None:
    print(*lines, sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    app()
