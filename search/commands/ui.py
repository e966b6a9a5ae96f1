"""`posefront ui`."""

from pathlib import Path
from typing import Annotated

import typer

from search.commands.options import Home

Which = Annotated[str | None, typer.Argument(help="A sweep's name; default: all.", metavar="[NAME]")]


def ui(
    name: Which = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: 5000, or a free one if that is taken.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    home: Home = Path("runs"),
) -> None:
    """Shows sweeps in MLflow, served to this machine alone until Ctrl-C; a sweep's own server is only opened."""
    import webbrowser

    from search import journal
    from search.config import load
    from search.driver import terminable
    from search.tracking.ui import page, served

    home, run = home.absolute(), None

    def show(address: str, ends: str) -> None:
        at = page(address, name, run)
        print(f"{at}{ends}", flush=True)
        if browser:
            webbrowser.open(at)

    if name is not None:
        sweep = load(home, name)
        run = journal.read(sweep.folder).parent_run_id
        if sweep.tracking_uri.startswith(("http://", "https://")):
            show(sweep.tracking_uri.rstrip("/"), "")
            return
    try:
        with terminable(), served(home, port) as address:
            import signal

            show(address, "\nCtrl-C ends it.")
            signal.pause()
    except KeyboardInterrupt:
        print()
