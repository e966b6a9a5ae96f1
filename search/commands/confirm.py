"""`posefront confirm`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search.commands.options import Home, Name

Share = Annotated[
    float | None,
    typer.Option(min=0, help="Of the worker seconds that the search took: so much it may take; default: 0.2."),
]
Seeds = Annotated[int | None, typer.Option(min=2, help="So often each is trained at most; default: 8.")]


def confirm(
    name: Name,
    share: Share = None,
    seeds: Seeds = None,
    again: Annotated[
        bool, typer.Option("--again", help="Begin anew with what the search has by now; the old one is set aside.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trainings at a time; default: as the sweep's trials.")
    ] = None,
    home: Home = Path("runs"),
) -> None:
    """Trains the front and the layer behind it again, with other seeds, and scores them on a panel that is new to all.

    A candidate is trained until it is decided whether it is on the front. Interrupted, the same command goes on.
    """
    from search.config import load
    from search.confirm.live import ConfirmLines
    from search.confirm.run import confirm as run
    from search.confirm.summary import standing_of
    from search.journal import read

    config = load(home.absolute(), name)
    if workers is not None:
        config = config.model_copy(update={"workers": workers})
    console = Console()
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    outcome = run(config, ConfirmLines(console, config.space, None), share, seeds, again)
    at = "" if home.absolute() == Path("runs").absolute() else f" --home {home}"
    if outcome.missing is not None:
        say(f"{outcome.missing}. All of it is on disk; `posefront confirm {name}{at}` makes up for it.")
    if outcome.halted is not None:
        say(f"Stopped: {outcome.halted}. Nothing scored is lost.")
        say(f"Once that is mended, `posefront confirm {name}{at}` goes on with it.")
        raise typer.Exit(1)
    if outcome.status == "interrupted":
        say(f"Interrupted; `posefront confirm {name}{at}` goes on with it.")
        raise typer.Exit(130)
    found = standing_of(config.folder, read(config.folder), config.space)
    say(f"{name}: {found.in_words}.")
    say(f"`posefront show {name}{at}` prints the confirmed front; {config.folder}/pareto.html is its plot.")
