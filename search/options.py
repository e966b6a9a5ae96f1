"""Options that several commands have, and the panels that `--help` shows them in."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path, typer.Option(envvar="POSEFRONT_HOME", help="Where sweeps, their record and caches are kept.")]
Name = Annotated[str, typer.Argument(help="The sweep's name.")]
SEARCH, WHERE, TRIAL = "The search", "Where it runs", "The trials"
