"""`posefront report`."""

from pathlib import Path
from typing import Annotated

import typer

from search.commands.options import Home, Name, Pick, Storage

Out = Annotated[Path | None, typer.Option("--out", "-o", help="Another file than the one in the sweep's folder.")]


def report(
    name: Name,
    against: Annotated[
        list[str] | None, typer.Option(help="Another sweep, scored on the same panel, to hold its hypervolume beside.")
    ] = None,
    pick: Pick = "knee",
    prefer: Annotated[
        str | None, typer.Option(help="What counts, such as identity=2,pose=1; in the place of the knee.")
    ] = None,
    out: Out = None,
    home: Home = Path("runs"),
    storage: Storage = None,
) -> None:
    """One page of all that a sweep found: the front, its pictures, what mattered. It needs no network."""
    from search.views import report as reporting
    from search.views.show import find

    found = find(home.absolute(), name, storage)
    rivals = [find(home.absolute(), rival, storage) for rival in against or []]
    words = ["posefront report", name, *(f"--against {rival}" for rival in against or [])]
    words += [f"--prefer {prefer}"] if prefer else []
    written = reporting.write(found, out, pick, rivals, " ".join(words), prefer)
    print(f"{written.path}: {written.size / 1e6:.1f} MB, {written.recorded}")
