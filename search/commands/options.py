"""Options that several commands have, and the panels that `--help` shows them in."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

Home = Annotated[Path, typer.Option(envvar="POSEFRONT_HOME", help="Where sweeps, their record and caches are kept.")]
Name = Annotated[str, typer.Argument(help="The sweep's name.")]
Pick = Annotated[
    str, typer.Option(help="knee, weights such as identity=2,pose=1, or TRIAL@STEPS[:LABEL] as `show` names them.")
]
Jobs = Annotated[
    str | None,
    typer.Option(help="A cluster's dashboard, such as http://127.0.0.1:8265; default: sweeps on this machine."),
]
ClusterHome = Annotated[
    str | None, typer.Option(help="On the cluster: where its sweeps are kept; default: its POSEFRONT_HOME.")
]
SEARCH, WHERE, TRIAL = "The search", "Where it runs", "The trials"
STORAGE = "Where a sweep's files are kept when the home is on one machine alone: s3://BUCKET/PREFIX, or a folder."
Storage = Annotated[str | None, typer.Option(envvar="POSEFRONT_STORAGE", help=STORAGE)]


def was_given(context: typer.Context, name: str) -> bool:
    """Whether an option was on the command line, rather than in the environment or left out."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def home_there(context: typer.Context, home: Path) -> list[str]:
    """The arguments that name a cluster's home: this machine's, which the environment may name, is none."""
    return ["--home", str(home)] if was_given(context, "home") else []


def takes(options: Callable[..., Any], *without: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A command with the options of a function beside its own, `without` some; it gets them by name, as `**`."""

    def give(command: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(command).parameters.values()
        given = [p for p in inspect.signature(options).parameters.values() if p.name not in without]
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in own if p.kind is not p.VAR_KEYWORD]
        parameters = [*given, *own]
        command.__signature__ = inspect.Signature(parameters)
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return give
