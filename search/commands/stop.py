"""`posefront stop`: ends a running sweep in order, here or on a cluster."""

from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from search.commands.options import Home, Jobs, Name

SECONDS = 300.0
"""So long a driver may take to bring the record up to date."""


def stop(name: Name, address: Jobs = None, home: Home = Path("runs")) -> None:
    """Ends a running sweep as Ctrl-C would: what was scored is recorded, and `posefront resume` goes on with it."""
    say = partial(Console().print, markup=False, highlight=False, soft_wrap=True)
    if address is not None:
        _on_cluster(name, address, say)
        return
    from search import config, driver

    folder = config.load(home.absolute(), name).folder
    if not driver.stop(folder, SECONDS):
        who = driver.driver_of(folder)
        say(f"{name}: told to stop, and still busy with its record after {SECONDS:.0f} s (process {who and who.pid}).")
        raise typer.Exit(1)
    say(f"{name}: stopped; `posefront resume {name}` goes on with it.")


def _on_cluster(name: str, address: str, say: partial) -> None:
    from search.submit import Cluster
    from spaces import InputError

    cluster = Cluster(address)
    job = cluster.job_of(name)
    if job is None or job.is_over:
        jobs = sorted({each.sweep for each in cluster.jobs() if not each.is_over})
        raise InputError(name, f"does not run on {cluster.address}; what does: {', '.join(jobs) or 'nothing'}")
    over = cluster.stop(job)
    if not over.is_over:
        say(f"{name}: told to stop; its job {job.id} is {over.state} still.")
        raise typer.Exit(1)
    say(f"{name}: stopped; `posefront resume {name} --address {cluster.address}` goes on with it.")
