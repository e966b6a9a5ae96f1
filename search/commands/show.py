"""`posefront show`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search.options import Home, Name, Storage


def show(
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    home: Home = Path("runs"),
    storage: Storage = None,
) -> None:
    """The front, its knee, and the recipe to take."""
    from search import show as shown

    found = shown.find(home.absolute(), name, storage)
    if as_json:
        print(shown.as_json(found))
    else:
        shown.to_console(found, Console())
