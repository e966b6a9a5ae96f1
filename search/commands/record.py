"""`posefront record`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search.commands.options import Home

Names = Annotated[list[str] | None, typer.Argument(help="Sweeps by name; default: all of the home's.")]
TrackingUri = Annotated[str | None, typer.Option(help="Another MLflow to write them to; default: each sweep's own.")]
Rebuild = Annotated[
    bool, typer.Option("--rebuild", help="Sets MLflow's database aside first and writes all sweeps anew.")
]


def record(
    names: Names = None, tracking_uri: TrackingUri = None, rebuild: Rebuild = False, home: Home = Path("runs")
) -> None:
    """Makes up for what MLflow lacks, from the sweeps' journals: after an outage, or with a damaged database."""
    from search.recording import record as recording
    from spaces import InputError

    console, home = Console(), home.absolute()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if rebuild and (names or tracking_uri):
        raise InputError("--rebuild", "goes with no names and no --tracking-uri: all sweeps share the database")
    sweeps = recording.chosen(home, names or [])
    if rebuild:
        for aside in recording.set_aside(sweeps):
            say(f"The old database is now {aside}.")
    elif tracking_uri is None:
        recording.check(sweeps)
    lacking = False
    for sweep in sweeps:
        missing = recording.write(sweep, tracking_uri, say)
        lacking = lacking or missing is not None
        say(f"{sweep.name}: {missing or 'MLflow has all of it'}.")
    if lacking:
        raise typer.Exit(1)
