"""`posefront show`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search.commands.options import Home, Name, Storage


def show(
    name: Name,
    prefer: Annotated[
        str | None, typer.Option(help="What matters to you, such as identity=2,pose=1; default: the front's knee.")
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(help="Look only at what meets this too, such as 'pose_hard >= 0.7'; may be given more than once."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    home: Home = Path("runs"),
    storage: Storage = None,
) -> None:
    """The front, what to take of it and why, and its recipe."""
    from search.views import show as shown
    from spaces import parse_requirement

    required = tuple(parse_requirement(text) for text in require or ())
    found = shown.find(home.absolute(), name, storage, required)
    if as_json:
        print(shown.as_json(found, prefer))
    else:
        shown.to_console(found, Console(), prefer)
