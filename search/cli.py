"""The command line: each command is a file in `commands/` that reads its options and calls a module."""

import sys

import typer

from search.commands.annotate import annotate
from search.commands.cluster import app as cluster
from search.commands.compare import compare
from search.commands.confirm import confirm
from search.commands.export import export
from search.commands.generate import generate
from search.commands.judge import judge
from search.commands.prepare import prepare
from search.commands.record import record
from search.commands.register import register
from search.commands.report import report
from search.commands.show import show
from search.commands.simulate import simulate
from search.commands.spaces import spaces
from search.commands.status import status
from search.commands.stop import stop
from search.commands.subject import app as subject
from search.commands.submit import submit
from search.commands.sweep import resume, sweep
from search.commands.ui import ui
from spaces import InputError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Searches for the fine-tunes that keep a subject's identity and follow a given pose.",
)  # fmt: skip

PANELS = {
    "Sweeps": (sweep, resume, stop, status, confirm, simulate, spaces),
    "What a sweep found": (show, report, compare, ui, record),
    "Its fine-tunes": (generate, export, register),
    "Subjects and judges": (prepare, annotate, subject, judge),
    "Clusters": (submit, cluster),
}
"""The commands in the order of `--help`; those with commands of their own are apps."""
for panel, commands in PANELS.items():
    for command in commands:
        if isinstance(command, typer.Typer):
            app.add_typer(command, rich_help_panel=panel)
        else:
            app.command(rich_help_panel=panel)(command)


def main() -> None:
    """What a person got wrong is one line and exit code 2."""
    try:
        app()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
