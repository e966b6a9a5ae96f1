"""Options that several commands have, and the panels that `--help` shows them in."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

Home = Annotated[Path, typer.Option(envvar="POSEFRONT_HOME", help="Where sweeps, their record and caches are kept.")]
Name = Annotated[str, typer.Argument(help="The sweep's name.")]
SEARCH, WHERE, TRIAL = "The search", "Where it runs", "The trials"


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
