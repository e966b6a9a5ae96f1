"""`posefront submit`: the options of a sweep, for a cluster."""

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from search.cluster.parcel import THERE, Parcel
from search.commands.options import WHERE, ClusterHome, takes, was_given
from search.commands.sweep import settings
from spaces import shipped_spaces

if TYPE_CHECKING:
    from search.config import SweepConfig
    from search.submit import Cluster, SweepJob

THEIRS = ("tracking_uri", "storage")
"""Options that only the cluster can look at."""
say = partial(Console().print, markup=False, highlight=False, soft_wrap=True)

Dashboard = Annotated[
    str, typer.Option(help="The cluster's dashboard, such as http://127.0.0.1:8265.", rich_help_panel=WHERE)
]
Follow = Annotated[bool, typer.Option(help="Show the sweep's lines until it ends; Ctrl-C only stops looking.")]


@takes(settings, "address", "home", "name")
def submit(
    context: typer.Context,
    address: Dashboard,
    name: Annotated[str | None, typer.Option(help="The sweep's name; default: the space's and the time.")] = None,
    home: ClusterHome = None,
    follow: Follow = True,
    **options: Any,
) -> None:
    """Runs a sweep on a Ray cluster: sends this code, the subject and other files, and shows what happens.

    The sweep goes on when this ends, and when the laptop is closed. A path that starts with `cluster:` is one of the
    cluster's own, and is not sent.
    """
    from search.submit import Cluster, parcel

    name = name or f"{Path(options['space']).stem}-{time.strftime('%m%d-%H%M%S')}"
    with parcel() as box:
        arguments = ["sweep", *_sent(context, box, options, name), "--name", name, "--address", "auto"]
        cluster = Cluster(address)
        job = cluster.send(box, [*arguments, *(["--home", home] if home else [])], name)
    much = f", with {max(0.1, box.bytes / 1e6):.1f} MB of files" if box.bytes else ""
    say(f"sweep {name} is job {job.id} on {cluster.address}{much}")
    watch(cluster, job, follow)


def resume_there(name: str, address: str, where: list[str]) -> None:
    """Sends a job that resumes a sweep of the cluster, and follows it."""
    from search.submit import Cluster, parcel

    cluster = Cluster(address)
    with parcel() as box:
        job = cluster.send(box, ["resume", name, *where], name)
    say(f"sweep {name} is job {job.id} on {cluster.address}")
    watch(cluster, job, follow=True)


def watch(cluster: "Cluster", job: "SweepJob", follow: bool) -> None:
    """Follows a job to its end, and ends as it did; after Ctrl-C, or without `follow`, says how to look again."""
    again = f"--address {cluster.address}"
    look = f"`posefront status {job.sweep} --follow {again}`"
    if not follow:
        say(f"{look} shows how it goes, `posefront stop {job.sweep} {again}` ends it.")
        return
    try:
        over = cluster.follow(job, partial(print, flush=True))
    except KeyboardInterrupt:
        say(f"\nThe sweep goes on. {look} shows it again, `posefront stop {job.sweep} {again}` ends it.")
        raise typer.Exit(130) from None
    if over.state == "stopped":
        say(f"Stopped; `posefront resume {job.sweep} {again}` goes on with it.")
        raise typer.Exit(130)
    if over.state == "failed":
        if over.exit_code is None:
            say(f"Job {job.id} failed: {over.message.splitlines()[0] if over.message else 'Ray says no more'}")
        raise typer.Exit(over.exit_code or 1)


def _sent(context: typer.Context, box: Parcel, options: dict[str, Any], name: str) -> list[str]:
    """The arguments with which the cluster is to sweep. All that can be checked here is; what is here is packed."""
    from search.config import check_no_secret

    for key in THEIRS:  # before it becomes a job's command, which the cluster shows to all
        check_no_secret(options.get(key) or "", f"--{key.replace('_', '-')}")
    space = options["space"]
    here = {key: value for key, value in options.items() if key not in THEIRS}
    with tempfile.TemporaryDirectory() as home:
        config = settings(**here, name=name, address="auto", home=Path(home))
    _check(config)
    given = {
        param.opts[0]: _as_given(param, options[param.name])
        for param in context.command.params
        if param.name in options and param.name != "space" and was_given(context, param.name)
    }
    for option, source in _sources(config):
        if source.startswith(THERE):
            given[option] = [option, source.removeprefix(THERE)]
        elif Path(source).is_absolute():
            given[option] = [option, box.add(Path(source), option)]
    shipped = space in shipped_spaces()
    return [space if shipped else box.add(Path(space), "space"), *(word for words in given.values() for word in words)]


def _as_given(param: Any, value: Any) -> list[str]:
    """The words of a command line that give an option this value; a switch may have one that turns it off."""
    if isinstance(value, bool):
        return param.opts[:1] if value else param.secondary_opts[:1]
    if isinstance(value, list | tuple):
        return [word for each in value for word in (param.opts[0], str(each))]
    return [param.opts[0], str(value)]


def _sources(config: "SweepConfig") -> Iterator[tuple[str, str]]:
    """Options whose values may be places, with what they come to: absolute where they are on this machine."""
    job = config.job
    values = {
        "--subject": job.subject, "--poses": job.poses, "--base": job.base, "--controlnet": job.controlnet,
        "--identity-judge": job.judges.identity, "--pose-judge": job.judges.pose, "--prompt-judge": job.judges.prompt,
    }  # fmt: skip
    yield from ((option, value) for option, value in values.items() if value)


def _check(config: "SweepConfig") -> None:
    """As a sweep is checked before it starts. What is on the cluster, the sweep itself looks at there."""
    from search.checks import check_job

    if any(source.startswith(THERE) for _, source in _sources(config)):
        say(f"What is on the cluster ({THERE}) is looked at there.")
    else:
        check_job(config.job, config.space)
