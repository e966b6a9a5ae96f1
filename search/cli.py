"""The command line. Thin: each command reads its options and calls a module."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from spaces import InputError, Parameter, Range, Recipe, load_space, shipped_spaces, space_file
from trainables.job import Job, PanelConfig

if TYPE_CHECKING:
    from search.config import SweepConfig

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Searches for the fine-tunes that keep a subject's identity and follow a given pose.",
)  # fmt: skip

Home = Annotated[Path, typer.Option(envvar="POSEFRONT_HOME", help="Where sweeps, their record and caches are kept.")]
Name = Annotated[str, typer.Argument(help="The sweep's name.")]
SEARCH, WHERE, TRIAL = "The search", "Where it runs", "The trials"


def main() -> None:
    """What a person got wrong is one line and exit code 2."""
    try:
        app()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


@app.command()
def sweep(
    space: Annotated[str, typer.Argument(help="A shipped space by name, or a YAML file.")],
    name: Annotated[str | None, typer.Option(help="The sweep's name; default: the space's and a number.")] = None,
    subject: Annotated[
        str | None, typer.Option(help="Subject folder; default: the space's.", rich_help_panel=TRIAL)
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Diffusers folder or hub id; default: the space's.", rich_help_panel=TRIAL),
    ] = None,
    controlnet: Annotated[
        str | None,
        typer.Option(help="Folder or hub id; default: the one in the base's folder.", rich_help_panel=TRIAL),
    ] = None,
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], typer.Option(help="Of the frozen weights.", rich_help_panel=TRIAL)
    ] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...", rich_help_panel=TRIAL)] = "auto",
    panel_steps: Annotated[
        int, typer.Option(min=1, help="Sampler steps of a scored picture.", rich_help_panel=TRIAL)
    ] = PanelConfig().steps,
    trials: Annotated[int, typer.Option(min=1, help="How many recipes are tried.", rich_help_panel=SEARCH)] = 24,
    sampler: Annotated[
        Literal["tpe", "nsga2", "random"], typer.Option(help="Who proposes recipes.", rich_help_panel=SEARCH)
    ] = "tpe",
    scheduler: Annotated[
        Literal["asha-pareto", "asha-scalar", "none"],
        typer.Option(help="Who stops trials.", rich_help_panel=SEARCH),
    ] = "asha-pareto",
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.", rich_help_panel=SEARCH)] = 0,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Trials at a time; default: as many as fit.", rich_help_panel=WHERE),
    ] = None,
    cpus_per_trial: Annotated[float, typer.Option(help="CPUs of a trial.", rich_help_panel=WHERE)] = 1,
    gpus_per_trial: Annotated[
        float, typer.Option(help="GPUs of a trial; 0.5 puts two on one.", rich_help_panel=WHERE)
    ] = 0,
    address: Annotated[
        str | None,
        typer.Option(help="A Ray cluster that is up; default: Ray starts here.", rich_help_panel=WHERE),
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(help="MLflow's server; default: a database in the home.", rich_help_panel=WHERE),
    ] = None,
    home: Home = Path("runs"),
) -> None:
    """Runs trials over a space and draws the front of what they score."""
    from search.config import SweepConfig, check_new, free_name
    from search.sweep import run

    home, chosen = home.absolute(), load_space(space)
    folder = check_new(home, name or free_name(home, chosen.name))
    job = Job(
        folder=str(folder),
        cache=str(home / "cache"),
        base=_absolute(base or chosen.base),
        controlnet=controlnet and _absolute(controlnet),
        subject=_subject(subject or chosen.subject, space),
        rungs=chosen.rungs,
        panel=PanelConfig(steps=panel_steps),
        precision=precision,
        device=device,
    )
    config = SweepConfig.make(
        name=folder.name,
        space_name=chosen.name,
        space_text=space_file(space).read_text(encoding="utf-8"),
        job=job,
        trials=trials,
        sampler=sampler,
        scheduler=scheduler,
        seed=seed,
        workers=workers,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        tracking_uri=tracking_uri or f"sqlite:///{home}/mlflow.db",
        artifacts=str(home / "mlartifacts"),
        address=address,
    )
    _drive(run, config, home)


@app.command()
def resume(name: Name, home: Home = Path("runs")) -> None:
    """Goes on with a sweep that was interrupted, with the same rungs, and makes up for what MLflow lacks."""
    from search.config import load
    from search.sweep import resume as go_on

    _drive(go_on, load(home.absolute(), name), home.absolute())


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
    pick: Annotated[str, typer.Option(help="knee, or TRIAL@STEPS.")] = "knee",
    seed: Annotated[int, typer.Option(min=0, help="Of the picture's noise.")] = 0,
    home: Home = Path("runs"),
) -> None:
    """Draws a picture with one of the sweep's fine-tunes."""
    from search import generate as drawing
    from search.show import find

    found = find(home.absolute(), name)
    observation = drawing.pick(found, pick)
    drawing.generate(found, observation, pose, prompt, seed, out)
    print(f"{out}: {observation.trial} at {observation.steps} steps, seed {seed}")


@app.command()
def spaces() -> None:
    """The spaces that come with posefront, and what each searches."""
    console = Console()
    for name in shipped_spaces():
        space = load_space(name)
        rungs = ", ".join(map(str, space.rungs))
        table = Table(
            "field",
            "values",
            "when",
            "what it is",
            title=f"{name}: scored at {rungs} steps",
            title_justify="left",
        )
        for parameter in space.parameters:
            when = ", ".join(f"{field} is {value}" for field, value in parameter.when)
            table.add_row(parameter.name, _values(parameter), when, Recipe.model_fields[parameter.name].description)
        console.print(space.about, table, "", highlight=False)


def _drive(go: Callable[..., Any], config: "SweepConfig", home: Path) -> None:
    """Runs or resumes, and says how it went and what to do next."""
    from search.journal import read
    from search.live import reporter

    console = Console()
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    outcome = go(config, reporter(console, config.space, config.trials))
    at = "" if home == Path("runs").absolute() else f" --home {home}"
    timing = outcome.timing
    say(
        f"{outcome.status.capitalize()} after {timing.wall:.1f} s: "
        f"{timing.busy:.1f} s of work by {timing.workers} workers, {timing.overhead:.1%} overhead "
        f"(Ray's start {timing.start:.1f} s, the end {timing.drain:.1f} s)."
    )
    if outcome.status == "interrupted":
        say(f"`posefront resume {config.name}{at}` goes on with it.")
        raise typer.Exit(130)
    if not read(config.folder).observed:
        say(f"No trial was scored; `posefront show {config.name}{at}` lists the reasons.")
        raise typer.Exit(1)
    say(f"`posefront show {config.name}{at}` prints the front; {config.folder}/pareto.html is its plot.")
    if config.tracking_uri.startswith("sqlite:"):
        say(f"`mlflow ui --backend-store-uri {config.tracking_uri}` serves the record.")


def _absolute(source: str) -> str:
    """A folder's absolute path, since trials run elsewhere; anything else is a name."""
    return str(Path(source).absolute()) if Path(source).is_dir() else source


def _subject(folder: str, space: str) -> str:
    if not folder:
        raise InputError("--subject", f"the space {space} has no subject of its own; give a folder")
    return _absolute(folder)


def _values(parameter: Parameter) -> str:
    if isinstance(parameter, Range):
        return f"{parameter.low:g} to {parameter.high:g}{', log' if parameter.log else ''}"
    return ", ".join(map(str, parameter.values))
