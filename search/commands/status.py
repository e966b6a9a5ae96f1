"""`posefront status`: how far sweeps are, here or on a cluster."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search.commands.options import Home, Jobs, home_there

LAST = 5
"""So many of a sweep's last lines are shown."""

Which = Annotated[str | None, typer.Argument(help="A sweep's name; default: all.", metavar="[NAME]")]
Follow = Annotated[bool, typer.Option("--follow", help="Go on showing what happens until the sweep stops.")]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON.")]


def status(
    context: typer.Context,
    name: Which = None,
    address: Jobs = None,
    follow: Follow = False,
    as_json: AsJson = False,
    home: Home = Path("runs"),
) -> None:
    """How far sweeps are: trials, front, hypervolume; with a NAME also what happened last."""
    from search.views.status import statuses, table, tell, to_line
    from spaces import InputError

    if follow and name is None:
        raise InputError("--follow", "needs the name of a sweep")
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # for grep, not for the eye
    if address is not None:
        _on_cluster(console, name, address, follow, as_json, home_there(context, home))
        return
    found = statuses(home.absolute(), name)
    if as_json:
        print(to_line(found))
        return
    console.print(table(found) if found else f"No sweep under {home}.", markup=False, highlight=False)
    if name is not None and found[0].spent:
        console.print(f"Spent: {found[0].spent}.", markup=False, highlight=False)
    if name is not None:
        tell(home.absolute(), name, console, LAST, follow)


def _on_cluster(
    console: Console, name: str | None, address: str, follow: bool, as_json: bool, where: list[str]
) -> None:
    from search.commands.submit import watch
    from search.submit import Cluster, parcel
    from search.views.status import table, to_line

    cluster = Cluster(address)
    job = cluster.job_of(name) if name else None
    if follow and job is not None:
        watch(cluster, job, follow=True)
        return
    with parcel() as box:
        found = cluster.statuses(box, name, where)
    if as_json:
        print(to_line(found))
        return
    jobs = {each.sweep: f"{each.id} {each.state}" for each in cluster.jobs()}
    none = f"No sweep on {cluster.address}."
    console.print(table(found, jobs) if found else none, markup=False, highlight=False)
    if job is not None:
        for line in cluster.log(job.id).splitlines()[-LAST:]:
            console.print(line, markup=False, highlight=False)
