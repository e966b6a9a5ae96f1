"""What a person asked of a sweep: all that is needed to run it, and to resume it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from search.budget import HOUR, TRIALS, Meter, Plan
from search.rungs import SchedulerKind
from spaces import InputError, Space, parse_requirement, parse_space
from spaces.paths import NAME
from spaces.text import parse_json, read_text
from spaces.wording import has_secret
from trainables.job import Job

SamplerKind = Literal["gp", "tpe", "nsga2", "random"]
FILE = "sweep.json"
"""Its presence makes a folder a sweep."""


class SweepConfig(BaseModel):
    """One sweep. Kept as `sweep.json` in the sweep's folder, with the space's text, which may change afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="the sweep's name, its folder's too")
    space_name: str
    space_text: str = Field(description="the space's YAML")
    earlier: tuple[str, ...] = Field((), description="sweeps whose scores proposals began with; the journal has them")
    require: tuple[str, ...] = Field((), description="such as 'drift < 0.2'; beside what the space requires")
    job: Job
    trials: int | None = Field(TRIALS, ge=1, description="how many recipes are tried; empty: as a budget allows")
    gpu_hours: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="of GPUs, or of workers where there are none; empty is no bound"
    )
    hours: float | None = Field(None, gt=0, allow_inf_nan=False, description="by the clock; empty is no bound")
    sampler: SamplerKind = "gp"
    scheduler: SchedulerKind = "trajectories"
    promote: bool = Field(False, description="outranked trials are paused, and promoted once they are in place")
    seed: int = Field(0, ge=0, description="of the proposals and of the trials' own seeds")
    workers: int | None = Field(None, ge=1, description="trials at a time; empty is as many as fit")
    cpus_per_trial: float = Field(1, gt=0)
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        0.0, description="0.5 puts two trials on one GPU; auto is what each needs by the memory that others took"
    )
    cards: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (), description="GB of the cards that the cluster may start, for auto; those that are up are seen"
    )
    max_failures: int = Field(
        2, ge=0, description="how often a trial whose process died is started again, counted from its last checkpoint"
    )
    hang_minutes: float = Field(
        30, ge=0, description="a trial without progress for so long is started again; 0 is never"
    )
    tracking_uri: str = Field(description="MLflow's, absolute")
    artifacts: str = Field(description="folder for MLflow's artifacts, where it has no server")
    address: str | None = Field(None, description="of a Ray cluster that is up; empty starts Ray here")

    @classmethod
    def make(cls, **values: Any) -> "SweepConfig":
        """The config of these values; the first mistake is an InputError that names field and value."""
        try:
            made = cls(**values)
        except ValidationError as error:
            raise InputError("sweep", first_complaint(error)) from None
        check_no_secret(made.tracking_uri)
        return made

    @property
    def folder(self) -> Path:
        return Path(self.job.folder)

    @property
    def plan(self) -> Plan:
        """What the sweep was to do at most when it began; the journal knows of later plans."""
        seconds = lambda hours: None if hours is None else HOUR * hours  # noqa: E731
        return Plan(self.trials, seconds(self.gpu_hours), seconds(self.hours))

    @property
    def meter(self) -> Meter:
        """Follows the sweep's ledger."""
        return Meter(self.plan, self.gpus_per_trial)

    @property
    def space(self) -> Space:
        space = parse_space(self.space_text, self.space_name, f"space {self.space_name}")
        asked = tuple(map(parse_requirement, self.require))
        return replace(space, requirements=tuple(dict.fromkeys(space.requirements + asked)))

    def moved(self, home: Path) -> "SweepConfig":
        """The same sweep in another home; a record in the home before is one in the new."""
        before, folder = self.folder.parent, home / self.name
        changes: dict[str, Any] = {"job": self.job.moved(folder, home / "cache")}
        if self.tracking_uri == f"sqlite:///{before}/mlflow.db":
            changes["tracking_uri"] = f"sqlite:///{home}/mlflow.db"
        if Path(self.artifacts).is_relative_to(before):
            changes["artifacts"] = str(home / Path(self.artifacts).relative_to(before))
        return self.model_copy(update=changes)

    def save(self) -> None:
        """Makes the sweep's folder. InputError when the name is taken or the place cannot be written."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir()
        except FileExistsError:
            raise name_taken(self.folder) from None
        except OSError as error:
            raise InputError("--home", f"{self.folder.parent} cannot be written ({error.strerror})") from None
        try:
            (self.folder / FILE).write_text(self.model_dump_json(indent=2), encoding="utf-8")
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise InputError("--home", f"{self.folder.parent} cannot be written ({error.strerror})") from None


def load(home: Path, name: str) -> SweepConfig:
    """The config of a sweep by name. InputError lists the sweeps that are there."""
    path = home / name / FILE
    try:
        if not NAME.fullmatch(name):
            raise FileNotFoundError
        config = SweepConfig.model_validate(parse_json(read_text(path), path))
    except OSError:
        known = ", ".join(sweeps(home)) or "none"
        raise InputError(name, f"is not a sweep under {home}; there are: {known}") from None
    except ValidationError as error:
        raise InputError(path, f"is not a sweep's config: {first_complaint(error)}") from None
    except UnicodeDecodeError as error:
        raise InputError(path, f"is not UTF-8 (byte {error.start})") from None
    check_no_secret(config.tracking_uri)
    if config.name != name:
        raise InputError(path, f"name: {config.name!r:.80} should be {name!r}, its folder's")
    # whatever the file says of a folder: what a sweep reads and deletes is its own
    return config.model_copy(update={"job": config.job.model_copy(update={"folder": str(home / name)})})


def check_no_secret(uri: str, option: str = "--tracking-uri") -> None:
    """InputError where an address, MLflow's or a store's, has a password in it."""
    try:
        secret = has_secret(uri)
    except ValueError as error:
        raise InputError(option, f"is no address ({error})") from None
    if secret:
        hint = "a server's go into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, a database's into its own"
        raise InputError(option, f"has a user or password in it, which sweep.json and process lists would show; {hint}")


def sweeps(home: Path) -> list[str]:
    """Names of the sweeps under a home, oldest first."""
    return [path.parent.name for path in sorted(home.glob(f"*/{FILE}"), key=lambda path: path.stat().st_mtime)]


def check_new(home: Path, name: str) -> Path:
    """The folder that a new sweep is to have. InputError when it cannot be made; nothing is left behind."""
    if not NAME.fullmatch(name):
        raise InputError("--name", f"{name!r} should be letters, digits, dots, dashes and underscores, at most 100")
    folder = home / name
    if folder.exists():
        raise name_taken(folder)
    nearest = next(parent for parent in folder.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError("--home", f"{home} cannot be written; give a folder that can, or set POSEFRONT_HOME")
    return folder


def free_name(home: Path, stem: str, taken: Callable[[str], bool] = lambda name: False) -> str:
    """`stem-1`, or the first number that is not taken, in the home or elsewhere."""
    number = 1
    while (home / f"{stem}-{number}").exists() or taken(f"{stem}-{number}"):
        number += 1
    return f"{stem}-{number}"


def name_taken(folder: Path) -> InputError:
    resume = f"`posefront resume {folder.name}` goes on with it"
    return InputError("--name", f"{folder.name!r} exists in {folder.parent}; {resume}, or choose another name")


def first_complaint(error: ValidationError) -> str:
    """pydantic's first complaint: field, value, what would be right."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {first['input']!r}, {first['msg'][0].lower()}{first['msg'][1:]}"
