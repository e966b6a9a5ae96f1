"""`posefront sweep` and `posefront resume`."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from search.commands.options import (
    SEARCH,
    STORAGE,
    TRIAL,
    WHERE,
    Home,
    Jobs,
    Name,
    Storage,
    home_there,
    takes,
    was_given,
)
from spaces import InputError, Space, load_space, parse_requirement, space_file
from trainables.job import Job, JudgesConfig, PanelConfig

if TYPE_CHECKING:
    from search.config import SweepConfig

PANEL = PanelConfig()
"""What a panel is unless an option says otherwise."""

SpaceName = Annotated[str, typer.Argument(help="A shipped space by name, or a YAML file.")]
NewName = Annotated[str | None, typer.Option(help="The sweep's name; default: the space's and a number.")]

SubjectFolder = Annotated[str | None, typer.Option(help="Subject folder; default: the space's.", rich_help_panel=TRIAL)]
TargetPoses = Annotated[
    str,
    typer.Option(help="Target poses: `subject` (its own), `shipped`, or a folder of poses.", rich_help_panel=TRIAL),
]
BaseSource = Annotated[
    str | None, typer.Option(help="Diffusers folder or hub id; default: the space's.", rich_help_panel=TRIAL)
]
ControlNetSource = Annotated[
    str | None,
    typer.Option(help="Folder or hub id; default: the space's, or in the base's folder.", rich_help_panel=TRIAL),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    typer.Option(help="Of the frozen weights; auto is bf16 on a GPU, fp32 elsewhere.", rich_help_panel=TRIAL),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...", rich_help_panel=TRIAL)]
IdentityJudge = Annotated[
    str | None,
    typer.Option(
        help="dinov2, clip, siglip2, a folder or hub id; default: the base's, or dinov2.", rich_help_panel=TRIAL
    ),
]
PoseJudge = Annotated[
    str | None,
    typer.Option(
        help="openpose, vitpose, correspondence, a folder or hub id; default: as the subject needs.",
        rich_help_panel=TRIAL,
    ),
]
PromptJudge = Annotated[
    str | None, typer.Option(help="clip, a folder or hub id; default: none.", rich_help_panel=TRIAL)
]
MicroBatch = Annotated[
    int | None,
    typer.Option(
        min=1, help="Samples at once; default: all of a step's. Halved where memory runs out.", rich_help_panel=TRIAL
    ),
]
Checkpointing = Annotated[
    bool, typer.Option("--gradient-checkpointing", help="Less memory, a third more time.", rich_help_panel=TRIAL)
]
Compile = Annotated[
    bool, typer.Option("--compile", help="torch.compile: slow to start, then faster on a GPU.", rich_help_panel=TRIAL)
]
Tf32 = Annotated[
    bool, typer.Option("--tf32", help="fp32 products at TF32's precision, on a GPU.", rich_help_panel=TRIAL)
]
PanelSteps = Annotated[int, typer.Option(min=1, help="Sampler steps of a scored picture.", rich_help_panel=TRIAL)]

Trials = Annotated[
    int | None,
    typer.Option(min=1, help="How many recipes are tried; default: 24, or as a budget allows.", rich_help_panel=SEARCH),
]
GpuHours = Annotated[
    float | None,
    typer.Option(help="Budget: hours of GPUs, or of workers where trials have none.", rich_help_panel=SEARCH),
]
Hours = Annotated[float | None, typer.Option(help="Budget: hours by the clock.", rich_help_panel=SEARCH)]
MoreTrials = Annotated[str | None, typer.Option("--trials", help="+20 for 20 more, 60 for 60 in all.")]
MoreGpuHours = Annotated[str | None, typer.Option("--gpu-hours", help="+1 for an hour more, 4 for 4 in all.")]
MoreHours = Annotated[str | None, typer.Option("--hours", help="By the clock, in the same way.")]
SamplerName = Annotated[
    Literal["gp", "tpe", "nsga2", "random"], typer.Option(help="Who proposes recipes.", rich_help_panel=SEARCH)
]
SchedulerName = Annotated[
    Literal["trajectories", "asha-pareto", "asha-scalar", "none"],
    typer.Option(help="Who stops trials.", rich_help_panel=SEARCH),
]
Promote = Annotated[
    bool,
    typer.Option(
        "--promote/--no-promote",
        help="Pause trials instead of stopping them, and let them go on once they are in place.",
        rich_help_panel=SEARCH,
    ),
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        help="What a checkpoint must meet to be on the front, such as 'drift < 0.2'; may be given more than once.",
        rich_help_panel=SEARCH,
    ),
]
Earlier = Annotated[
    str | None,
    typer.Option(
        "--from", help="Earlier sweeps, with commas between: proposals begin with their scores.", rich_help_panel=SEARCH
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Of all that is drawn.", rich_help_panel=SEARCH)]

Workers = Annotated[
    int | None, typer.Option(min=1, help="Trials at a time; default: as many as fit.", rich_help_panel=WHERE)
]
Cpus = Annotated[float, typer.Option(help="CPUs of a trial.", rich_help_panel=WHERE)]
Gpus = Annotated[
    str,
    typer.Option(
        help="GPUs of a trial; 0.5 puts two on one, auto shares by the memory that trials take.", rich_help_panel=WHERE
    ),
]
Cards = Annotated[
    str, typer.Option(help="GB of the cards that a cluster may start, such as 24,80; for auto.", rich_help_panel=WHERE)
]
HangMinutes = Annotated[
    float,
    typer.Option(
        min=0, help="A trial without progress for so long is started again; 0 is never.", rich_help_panel=WHERE
    ),
]
Address = Annotated[
    str | None, typer.Option(help="A Ray cluster that is up; default: Ray starts here.", rich_help_panel=WHERE)
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        envvar="POSEFRONT_TRACKING_URI",
        help="MLflow's server; default: a database in the home.",
        rich_help_panel=WHERE,
    ),
]
NewStorage = Annotated[str | None, typer.Option(envvar="POSEFRONT_STORAGE", help=STORAGE, rich_help_panel=WHERE)]


def settings(
    space: SpaceName,
    name: NewName = None,
    subject: SubjectFolder = None,
    poses: TargetPoses = "subject",
    base: BaseSource = None,
    controlnet: ControlNetSource = None,
    precision: Precision = "auto",
    device: Device = "auto",
    identity_judge: IdentityJudge = None,
    pose_judge: PoseJudge = None,
    prompt_judge: PromptJudge = None,
    micro_batch: MicroBatch = None,
    gradient_checkpointing: Checkpointing = False,
    compile: Compile = False,
    tf32: Tf32 = False,
    panel_steps: PanelSteps = PANEL.steps,
    trials: Trials = None,
    gpu_hours: GpuHours = None,
    hours: Hours = None,
    sampler: SamplerName = "gp",
    scheduler: SchedulerName = "trajectories",
    promote: Promote = False,
    require: Require = None,
    earlier: Earlier = None,
    seed: Seed = 0,
    workers: Workers = None,
    cpus_per_trial: Cpus = 1,
    gpus_per_trial: Gpus = "auto",
    cards: Cards = "",
    hang_minutes: HangMinutes = 30,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    storage: NewStorage = None,
    home: Home = Path("runs"),
) -> "SweepConfig":
    """What these options ask for. InputError for the first mistake that shows without reading subject and models."""
    from search.budget import TRIALS
    from search.config import SweepConfig, check_new, free_name
    from search.storage.remote import is_taken, storage_for

    check_promotes(promote, scheduler)
    home, chosen = home.absolute(), load_space(space)
    if name is None:
        name = free_name(home, chosen.name, partial(is_taken, storage) if storage else lambda _: False)
    folder, source = check_new(home, name), _subject(subject or chosen.subject, space)
    job = Job(
        folder=str(folder),
        cache=str(home / "cache"),
        **models(chosen, base, controlnet),
        subject=source,
        storage=storage_for(storage, home, name, source) if storage else None,
        poses=poses if poses in ("subject", "shipped") else _absolute(poses),
        rungs=chosen.rungs,
        panel=PANEL.model_copy(update={"steps": panel_steps, "inferences": chosen.inferences}),
        judges=judges(identity_judge, pose_judge, prompt_judge),
        precision=precision,
        device=device,
        micro_batch=micro_batch,
        gradient_checkpointing=gradient_checkpointing,
        compile=compile,
        tf32=tf32,
    )
    return SweepConfig.make(
        name=folder.name,
        space_name=chosen.name,
        space_text=space_file(space).read_text(encoding="utf-8"),
        job=job,
        trials=TRIALS if trials is None and gpu_hours is None and hours is None else trials,
        gpu_hours=gpu_hours,
        hours=hours,
        sampler=sampler,
        scheduler=scheduler,
        promote=promote,
        require=tuple(str(parse_requirement(text)) for text in require or ()),
        earlier=tuple(name for name in (earlier or "").split(",") if name),
        seed=seed,
        workers=workers,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus(gpus_per_trial),
        cards=cards_in(cards),
        hang_minutes=hang_minutes,
        tracking_uri=tracking_uri or f"sqlite:///{home}/mlflow.db",
        artifacts=str(home / "mlartifacts"),
        address=address,
    )


@takes(settings)
def sweep(**options: Any) -> None:
    """Runs trials over a space and draws the front of what they score."""
    from search.sweep import run

    config = settings(**options)
    _drive(run, config, config.folder.parent)


def resume(
    context: typer.Context,
    name: Name,
    trials: MoreTrials = None,
    gpu_hours: MoreGpuHours = None,
    hours: MoreHours = None,
    address: Jobs = None,
    home: Home = Path("runs"),
    storage: Storage = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="From a driver that still has the sweep, on a storage.")
    ] = False,
) -> None:
    """Goes on with a sweep that was interrupted, with the same rungs, and makes up for what MLflow lacks.

    With --trials, --gpu-hours or --hours it may do more than it was given, also when it has finished.
    With --storage also where this home has nothing of it: after the loss of the machine that drove it. With --address
    a sweep that is on a cluster, by the code that is here.
    """
    if address is not None:
        from search.commands.submit import resume_there

        where = ["--storage", storage] if storage is not None and was_given(context, "storage") else []
        bounds = {"--trials": trials, "--gpu-hours": gpu_hours, "--hours": hours}
        given = [word for option, value in bounds.items() if value is not None for word in (option, value)]
        more = [*given, *(["--take-over"] if take_over else [])]
        resume_there(name, address, [*home_there(context, home), *where, *more])
        return
    from search.budget import More
    from search.storage.remote import locate
    from search.sweep import resume as go_on

    config = locate(home.absolute(), name, storage)
    more = More(trials, gpu_hours, hours)
    _drive(partial(go_on, take_over=take_over, more=more), config, home.absolute())


def check_promotes(promote: bool, scheduler: str) -> None:
    """InputError where trials are to be promoted and none is ever paused."""
    if promote and scheduler == "none":
        right = "should go with a scheduler that ranks trials, such as trajectories; none lets all of them go on"
        raise InputError("--promote", right)


def models(space: Space, base: str | None, controlnet: str | None) -> dict[str, str | None]:
    """The job's base and ControlNet: those that were asked for, else the space's.

    Another base than the space's comes with a ControlNet of its own, unless one is named.
    """
    own = space.controlnet if base is None or base == space.base else None
    chosen = controlnet or own
    return {"base": _absolute(base or space.base), "controlnet": chosen and _absolute(chosen)}


def judges(identity: str | None, pose: str | None, prompt: str | None) -> JudgesConfig:
    """Folders as absolute paths."""
    return JudgesConfig(
        identity=identity and _absolute(identity), pose=pose and _absolute(pose), prompt=prompt and _absolute(prompt)
    )


def gpus(text: str) -> float | Literal["auto"]:
    """What --gpus-per-trial means. InputError when it is nothing."""
    return "auto" if text == "auto" else number("--gpus-per-trial", text, "a number from 0 on, or auto", least=0.0)


def cards_in(text: str) -> tuple[float, ...]:
    """What --cards means. InputError when a size is none."""
    right = "sizes in GB with commas between, such as 24,80"
    return tuple(number("--cards", size, right, least=1.0) for size in text.split(",") if text)


def number(option: str, text: str, right: str, least: float) -> float:
    """An option's number. InputError when it is none, or too small."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise InputError(option, f"{text!r} should be {right}")
    return value


def _drive(go: Callable[..., Any], config: "SweepConfig", home: Path) -> None:
    """Runs or resumes, and says how it went and what to do next."""
    from search.budget import in_hold
    from search.journal import read
    from search.views.live import reporter

    console = Console()
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    outcome = go(config, reporter(console, config.space, config.meter))
    at = "" if home == Path("runs").absolute() else f" --home {home}"
    timing = outcome.timing
    say(
        f"{(outcome.over or outcome.status).capitalize()} after {timing.wall:.1f} s: "
        f"{timing.busy:.1f} s of work by {timing.workers} workers, {timing.overhead:.1%} overhead "
        f"(Ray's start {timing.start:.1f} s, the end {timing.drain:.1f} s)."
    )
    if outcome.missing is not None:
        say(f"{outcome.missing}. All of it is on disk: `posefront record {config.name}{at}` makes up for it.")
    if outcome.halted is not None:
        say(f"Stopped: {outcome.halted}. Nothing scored is lost.")
        say(f"Once that is mended, `posefront resume {config.name}{at}` goes on with it.")
        raise typer.Exit(1)
    if outcome.status == "interrupted":
        say(f"`posefront resume {config.name}{at}` goes on with it.")
        raise typer.Exit(130)
    ledger = read(config.folder)
    if ledger.unfinished:
        more = config.meter.more(ledger)
        say(f"{in_hold(ledger)}: `posefront resume {config.name}{at} {more}` goes on with it.")
    if not ledger.observed:
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
