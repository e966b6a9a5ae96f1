"""The command line. Thin: each command reads its options and calls a module."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search.commands.export import export
from search.commands.judge import judge
from search.commands.spaces import spaces
from search.commands.sweep import resume, sweep
from search.options import Home, Name
from spaces import InputError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Searches for the fine-tunes that keep a subject's identity and follow a given pose.",
)  # fmt: skip

app.command("sweep")(sweep)
app.command("resume")(resume)


def main() -> None:
    """What a person got wrong is one line and exit code 2."""
    try:
        app()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


@app.command()
def show(
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    home: Home = Path("runs"),
) -> None:
    """The front, its knee, and the recipe to take."""
    from search import show as shown

    found = shown.find(home.absolute(), name)
    if as_json:
        print(shown.as_json(found))
    else:
        shown.to_console(found, Console())


@app.command()
def generate(
    name: Name,
    pose: Annotated[Path, typer.Option(help="JSON file with skeleton, size and keypoints.")],
    prompt: Annotated[str, typer.Option(help="What to draw; the subject's token names it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the picture goes.")],
    pick: Annotated[str, typer.Option(help="knee, or TRIAL@STEPS[:LABEL] as `show` names them.")] = "knee",
    seed: Annotated[int, typer.Option(min=0, help="Of the picture's noise.")] = 0,
    lora_scale: Annotated[
        float | None, typer.Option(min=0, max=4, help="Factor on what was trained; default: the pick's.")
    ] = None,
    home: Home = Path("runs"),
) -> None:
    """Draws a picture with one of the sweep's fine-tunes."""
    from search import generate as drawing
    from search.show import find

    found = find(home.absolute(), name)
    observation = drawing.pick(found, pick)
    drawing.generate(found, observation, pose, prompt, seed, out, lora_scale)
    print(f"{out}: {observation.trial} at {observation.steps} steps, seed {seed}")


app.command("export")(export)
app.command("judge")(judge)
app.command("spaces")(spaces)
