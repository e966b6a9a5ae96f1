"""`posefront compare`."""

from pathlib import Path
from typing import Annotated

import typer

from search.commands.options import Home, Storage
from search.commands.report import Out

Sweeps = Annotated[
    list[str],
    typer.Argument(help="Sweeps by name, the first one's page; repeats as GROUP=SWEEP,SWEEP, paired in this order."),
]


def compare(sweeps: Sweeps, out: Out = None, home: Home = Path("runs"), storage: Storage = None) -> None:
    """One page of several sweeps of the same panel: their fronts together, and which is better."""
    from search.views import compare as comparing
    from search.views.show import find

    groups = comparing.parse_groups(sweeps)
    found = {name: [find(home.absolute(), each, storage) for each in several] for name, several in groups.items()}
    written = comparing.write(found, out, " ".join(["posefront compare", *sweeps]))
    print(f"{written.path}: {written.size / 1e6:.1f} MB, {written.recorded}")
