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

app.command("sweep")(sweep)
app.command("resume")(resume)
app.command("submit")(submit)
app.command("status")(status)
app.command("stop")(stop)
app.command("confirm")(confirm)
app.command("show")(show)
app.command("report")(report)
app.command("compare")(compare)
app.command("ui")(ui)
app.command("record")(record)
app.command("generate")(generate)
app.command("export")(export)
app.command("register")(register)
app.command("judge")(judge)
app.command("simulate")(simulate)
app.command("spaces")(spaces)
app.command("prepare")(prepare)
app.command("annotate")(annotate)
app.add_typer(subject, name="subject")
app.add_typer(cluster, name="cluster")


def main() -> None:
    """What a person got wrong is one line and exit code 2."""
    try:
        app()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
