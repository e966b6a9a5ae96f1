"""The journal: what happened in a sweep, one JSON line each, and the ledger that it adds up to."""

import json
import math
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import filelock
from pydantic import Field, TypeAdapter, ValidationError

from analysis.spending import Drive
from search.rungs import Continue, Decision, Pause, Stop
from spaces import InputError, Observation, Recipe
from spaces.paths import NAME
from spaces.text import parse_json

FILE = "journal.jsonl"
CONFIRMATION = "confirmation.jsonl"
"""The journal of a sweep's confirmation, beside its own and of the same form."""
Status = Literal["finished", "stopped", "failed"]
Cause = Literal["error", "process", "node", "preempted", "hung"]


@dataclass(frozen=True)
class Opened:
    """A driver took the sweep up, at its start or after an interruption."""

    time: float
    """Seconds since the epoch, as in all events."""
    code: dict[str, str] = field(default_factory=dict)
    """What it runs: git's revision and versions, by name. Older journals have none."""
    subject: str = ""
    """A fingerprint of the subject's files then, where they could be read."""


@dataclass(frozen=True)
class Proposed:
    """A new trial."""

    time: float
    trial: str
    recipe: Recipe
    values: dict[str, Any]
    """The point of the space behind the recipe."""
    seed: int


@dataclass(frozen=True)
class Observed:
    """A scored checkpoint, and what was decided about its trial."""

    time: float
    observations: tuple[Observation, ...]
    """One for each way in which it was drawn, the main one first."""
    decision: Decision
    folder: str
    """The checkpoint's folder."""

    @property
    def main(self) -> Observation:
        return self.observations[0]


@dataclass(frozen=True)
class Lost:
    """A trial that had not ended lost its process; it is started again, unless that came too often."""

    time: float
    trial: str
    cause: Cause
    """What went: an `error` was raised, the `process` died, its `node` went with it, the node was `preempted`, or the
    trial `hung` and its process was stopped."""
    reason: str
    """Why, in one line."""


@dataclass(frozen=True)
class Outgrew:
    """A trial ran out of its share of a card, and is tried again with more."""

    time: float
    trial: str
    steps: int
    """The rung that it was on its way to."""
    memory: int
    """The bytes that were not enough."""
    card_memory: int = 0
    """All that the card has."""


@dataclass(frozen=True)
class Promoted:
    """A paused trial goes on from its rung."""

    time: float
    trial: str
    steps: int
    """The rung that it was paused at."""
    place: int
    """Its place there by now, 1 is the best."""
    of: int
    """How many trials were there by now."""


@dataclass(frozen=True)
class Ended:
    """A trial is over."""

    time: float
    trial: str
    status: Status
    reason: str
    """Why, in one line."""
    steps: int
    """The last rung that it was scored at, 0 if none."""


@dataclass(frozen=True)
class Learned:
    """What a trial of an earlier sweep scored, for the sampler alone: it is no trial of this one, and on no front."""

    time: float
    sweep: str
    """The earlier one."""
    values: dict[str, Any]
    """The point of this sweep's space behind the recipe."""
    observations: tuple[Observation, ...]
    """Of all its checkpoints, in the order of steps, without the cells."""

    @property
    def name(self) -> str:
        """What no trial of this sweep is called."""
        return f"{self.sweep}/{self.observations[0].trial}"


@dataclass(frozen=True)
class Planned:
    """The sweep was given other bounds than those that it had, from now on. None is no bound."""

    time: float
    trials: Annotated[int, Field(ge=1)] | None
    gpu_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None


@dataclass(frozen=True)
class Candidate:
    """An observation of the search that is to be confirmed: a recipe trained for so many steps, drawn in one way."""

    trial: str
    """Of the search; its recipe is what is trained again."""
    steps: int
    label: str
    layer: int
    """0: it is on the front as scored, 1: on what is the front without these."""

    @property
    def key(self) -> tuple[str, int, str]:
        """As the observation's."""
        return self.trial, self.steps, self.label

    @property
    def name(self) -> str:
        """As the observation's."""
        return f"{self.trial}@{self.steps}" + (f":{self.label}" if self.label else "")


@dataclass(frozen=True)
class Chosen:
    """What a confirmation is about, and what it may take: first in its journal."""

    time: float
    candidates: tuple[Candidate, ...]
    left_out: int
    """Others of the two layers, which the share does not pay for."""
    observations: int
    """Of the search, when these were chosen."""
    share: float
    seconds: float
    """Of workers, that it may take: the share of those that the search took."""
    seeds: int
    """So often each is trained at most."""
    alpha: float
    """A candidate is decided when the odds of an error are so small."""


@dataclass(frozen=True)
class Judged:
    """What a confirmation made of all its scores so far, at the end of a round."""

    time: float
    verdicts: dict[str, Literal["on", "off", "open"]]
    """By candidate's name: whether it is decided."""
    chances: dict[str, float | None]
    """The probability of being on the front; None while nothing is known of the noise."""


@dataclass(frozen=True)
class Tracked:
    """The sweep has a run in MLflow."""

    time: float
    parent_run_id: str


@dataclass(frozen=True)
class Timing:
    """Where the seconds of one run of the driver went."""

    wall: float
    """From the command to the end of all it does, with Ray's start and the last plots."""
    start: float
    """Until Ray could take trials."""
    drain: float
    """From the last trial's end until all was recorded."""
    busy: float
    """What the rungs that were scored in this run took, summed up."""
    workers: int
    """How many trials could run at a time."""

    @property
    def overhead(self) -> float:
        """The share of the workers' time in which no trial was trained, scored or loaded."""
        return 1 - self.busy / (self.workers * self.wall)


@dataclass(frozen=True)
class Closed:
    """The driver went away in order."""

    time: float
    status: Literal["finished", "interrupted"]
    timing: Timing


Event = (
    Opened | Learned | Proposed | Observed | Promoted | Lost | Outgrew | Ended | Planned | Chosen | Judged | Tracked
    | Closed
)  # fmt: skip


@dataclass
class Ledger:
    """The sum of the events."""

    proposals: dict[str, Proposed] = field(default_factory=dict)
    observed: dict[tuple[str, int], Observed] = field(default_factory=dict)
    """By trial and steps: each checkpoint once."""
    promoted: dict[tuple[str, int], Promoted] = field(default_factory=dict)
    """By trial and steps."""
    paused: dict[str, int] = field(default_factory=dict)
    """The trials that wait for a promotion, each with the rung that it is at."""
    gone_on: Counter[int] = field(default_factory=Counter)
    """How many trials went on from each rung, at once or later."""
    endings: dict[str, Ended] = field(default_factory=dict)
    lost: dict[str, list[Lost]] = field(default_factory=dict)
    """By trial: how it went since it was scored last."""
    outgrown: list[Outgrew] = field(default_factory=list)
    learned: list[Learned] = field(default_factory=list)
    planned: Planned | None = None
    """The last bounds, where they are not those of the sweep's start."""
    chosen: Chosen | None = None
    """Of a confirmation."""
    judged: list[Judged] = field(default_factory=list)
    code: dict[str, str] = field(default_factory=dict)
    """What the last driver ran that said so."""
    subject: str = ""
    """A fingerprint of the subject's files when that driver took the sweep up."""
    parent_run_id: str | None = None
    closed: Closed | None = None
    """The last event, if the driver ended in order."""
    began: float | None = None
    """When the sweep was taken up first: with its name, what no other sweep has."""
    seconds: float = 0.0
    """From the sweep's start to the last event, the time without a driver left out."""
    table: list[Observation] = field(default_factory=list)
    """All observations, in the order of their arrival. It only grows: who has seen n of them looks at `table[n:]`."""
    arrived: list[float] = field(default_factory=list)
    """`seconds` when each row of the table was there."""
    drives: list[Drive] = field(default_factory=list)
    """The runs of the driver that ended in order."""
    statuses: Counter[Status] = field(default_factory=Counter)
    """How many trials ended in which way."""
    at_proposal: tuple[int, int] = (0, 0)
    """How many checkpoints were scored and how many trials had ended when the last trial was proposed."""
    _reached: dict[str, int] = field(default_factory=dict)
    _taken_up: int = 0
    """How many observations were there when the last driver took the sweep up."""
    _last: float | None = None

    @property
    def unfinished(self) -> list[Proposed]:
        """Trials that have not ended, oldest first."""
        return [event for trial, event in self.proposals.items() if trial not in self.endings]

    @property
    def going(self) -> list[Proposed]:
        """Trials that neither ended nor are paused, oldest first."""
        return [event for event in self.unfinished if event.trial not in self.paused]

    @property
    def running(self) -> int:
        """How many these are."""
        return len(self.proposals) - len(self.endings) - len(self.paused)

    def decision(self, trial: str, steps: int) -> Decision | None:
        """What was decided about a trial at a rung, a later promotion counted in; None where it was not scored."""
        promoted, seen = self.promoted.get((trial, steps)), self.observed.get((trial, steps))
        if promoted is not None:
            return Continue(promoted.place, promoted.of)
        return None if seen is None else seen.decision

    def reached(self, trial: str) -> int:
        """The last rung that a trial was scored at, 0 if none."""
        return self._reached.get(trial, 0)

    @property
    def latest(self) -> float:
        """The time of the last event; 0 without any."""
        return self._last or 0.0

    @property
    def scored(self) -> int:
        """How many trials have a scored checkpoint."""
        return len(self._reached)

    def add(self, event: Event) -> None:
        """Takes the event in. ValueError when it contradicts what happened before."""
        self.check(event)
        self.closed = None
        match event:
            case Opened():
                self._last = event.time
                self.code, self.subject = event.code or self.code, event.subject or self.subject
                self._taken_up = len(self.table)
            case Proposed(trial=trial):
                self.proposals[trial] = event
                self.at_proposal = len(self.observed), len(self.endings)
            case Observed(main=main):
                self.observed[main.trial, main.steps] = event
                self.table.extend(event.observations)
                self._reached[main.trial] = max(main.steps, self.reached(main.trial))
                self.lost.pop(main.trial, None)
                if isinstance(event.decision, Pause):
                    self.paused[main.trial] = main.steps
                self.gone_on[main.steps] += isinstance(event.decision, Continue)
            case Promoted(trial=trial, steps=steps):
                self.promoted[trial, steps] = event
                self.gone_on[steps] += 1
                del self.paused[trial]
            case Lost(trial=trial):
                self.lost.setdefault(trial, []).append(event)
            case Outgrew():
                self.outgrown.append(event)
            case Ended(trial=trial):
                self.endings[trial] = event
                self.paused.pop(trial, None)
                self.statuses[event.status] += 1
            case Learned():
                self.learned.append(event)
            case Planned():
                self.planned = event
            case Chosen():
                self.chosen = event
            case Judged():
                self.judged.append(event)
            case Tracked(parent_run_id=run):
                self.parent_run_id = run
            case Closed():
                self.closed = event
                drive = Drive(event.timing.wall, event.timing.workers, self._taken_up, len(self.table))
                self.drives.append(drive)
        self.seconds += max(0.0, event.time - (event.time if self._last is None else self._last))
        self._last = event.time
        self.arrived += [self.seconds] * (len(self.table) - len(self.arrived))
        self.began = event.time if self.began is None else self.began

    def check(self, event: Event) -> None:
        """ValueError when the event contradicts what happened before."""
        match event:
            case Proposed(trial=trial):
                known, key = self.proposals, trial
            case Observed(main=main):
                trial, known, key = main.trial, self.observed, (main.trial, main.steps)
            case Promoted(trial=trial, steps=steps):
                if self.paused.get(trial) != steps:
                    raise ValueError(f"trial {trial} is not paused at {steps} steps")
                return
            case Lost(trial=trial) | Outgrew(trial=trial):
                known, key = {}, trial
            case Ended(trial=trial):
                known, key = self.endings, trial
            case _:
                return
        if not isinstance(event, Proposed) and trial not in self.proposals:
            raise ValueError(f"trial {trial} was never proposed")
        if key in known:
            raise ValueError(f"{type(event).__name__} {key} is there twice")


class Keeper(Protocol):
    """What a sweep's events are given to."""

    @property
    def ledger(self) -> Ledger:
        """Their sum."""

    def append(self, event: Event) -> None:
        """Takes the event in. ValueError when it contradicts what happened before."""


class Journal:
    """The one writer of a sweep's journal. Every event is on the disk when `append` returns."""

    def __init__(self, folder: Path, file: str = FILE) -> None:
        """Opens or begins the journal; a last line that a crash cut short is dropped from the file.

        Raises InputError when another process writes it.
        """
        self.path = folder / file
        self._lock = filelock.FileLock(_lock(self.path))
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise InputError(folder, "the sweep is running in another process; wait for it, or stop it") from None
        self.ledger = read(folder, file)
        self._writing = threading.Lock()
        self._file = self.path.open("a+b", buffering=0)
        self._end = _whole(self.path.read_bytes())
        self._file.truncate(self._end)

    def append(self, event: Event) -> None:
        """Any thread may call this. Nothing is written of an event that contradicts the ledger.

        OSError when the disk does not take it: then neither file nor ledger has anything of it.
        """
        with self._writing:
            self.ledger.check(event)
            line = line_of(event)
            try:
                self._write(line)
            except OSError:
                with suppress(OSError):  # the next reader drops half a line too
                    self._file.truncate(self._end)
                raise
            self._end += len(line)
            self.ledger.add(event)

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            rest = rest[self._file.write(rest) :]
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
        self._lock.release()


def read(folder: Path, file: str = FILE) -> Ledger:
    """The ledger of a sweep, running or not, or of its confirmation. InputError names the line that makes no sense."""
    ledger = Ledger()
    for number, event in enumerate(events(folder, file), start=1):
        try:
            ledger.add(event)
        except ValueError as error:
            raise InputError(f"{folder / file}, line {number}", f"{error}. {_remedy(number)}") from None
    return ledger


def events(folder: Path, file: str = FILE) -> list[Event]:
    """What happened, in order. A last line that was cut short is left out."""
    path = folder / file
    data = path.read_bytes() if path.exists() else b""
    found: list[Event] = []
    for number, line in enumerate(data[: _whole(data)].splitlines(), start=1):
        try:
            found.append(_placed(_checked(_event(_read_line(line))), folder))
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            said = str(error).partition("\n")[0] if isinstance(error, ValidationError) else error
            raise InputError(
                f"{path}, line {number}", f"is not an event of a sweep: {said}. {_remedy(number)}"
            ) from None
    return found


def whole_lines(folder: Path) -> bytes:
    """What the journal's file has, but for a last line that is not written to its end."""
    data = (folder / FILE).read_bytes()
    return data[: _whole(data)]


def _remedy(number: int) -> str:
    """What can be done about a line that makes no sense: the trials' folders have what was scored, too."""
    return (
        f"Keep a copy, cut the file before that line (`head -n {number - 1}`) and resume: "
        "checkpoints that the cut lines knew of are read from the trials' folders, not trained again"
    )


def is_running(folder: Path, file: str = FILE) -> bool:
    """Whether a process holds the sweep's journal, or its confirmation's."""
    lock = filelock.FileLock(_lock(folder / file))
    try:
        with lock.acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True


def _lock(journal: Path) -> Path:
    return journal.with_suffix(".lock")


def _whole(data: bytes) -> int:
    """The length of all lines that were written to their end."""
    return data.rfind(b"\n") + 1


def line_of(event: Event) -> bytes:
    """As the journal has it."""
    body = dict(_plain(event))
    return (json.dumps({"event": type(event).__name__.lower(), **body}, allow_nan=False) + "\n").encode()


def _plain(event: Event) -> Iterator[tuple[str, Any]]:
    for name, value in vars(event).items():
        match value:
            case (Candidate(), *_):
                yield name, [asdict(candidate) for candidate in value]
            case tuple():
                yield name, [_without_nan(observation.to_json()) for observation in value]
            case Recipe():
                yield name, value.model_dump()
            case Continue() | Pause() | Stop():
                yield name, {"action": type(value).__name__.lower(), **asdict(value)}
            case Timing():
                yield name, asdict(value) | {"overhead": value.overhead}
            case _:
                yield name, value


def _read_line(line: bytes) -> dict[str, Any]:
    values = parse_json(line.decode(), "line")
    if not isinstance(values, dict):
        raise ValueError("it should be a JSON object")
    return values


def _checked(event: Event) -> Event:
    """Every field is of its type, and a trial's name can be a part of a path."""
    made = _adapter(type(event)).validate_python(vars(event))
    for time in [made.time, *(vars(made.timing).values() if isinstance(made, Closed) else ())]:
        if not math.isfinite(time):
            raise ValueError(f"time: {time} should be finite")
    if isinstance(made, Proposed | Ended) and not NAME.fullmatch(made.trial):
        raise ValueError(f"trial: {made.trial!r:.80} is no trial's name")
    if isinstance(made, Observed) and len({(o.trial, o.steps) for o in made.observations}) != 1:
        raise ValueError("observations: should be of one checkpoint")
    if isinstance(made, Learned) and (not NAME.fullmatch(made.sweep) or len({o.trial for o in made.observations}) != 1):
        raise ValueError(f"sweep {made.sweep!r:.80}: should be a sweep's name, with observations of one trial")
    return made


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _placed(event: Event, folder: Path) -> Event:
    """A checkpoint's folder is in the sweep's, wherever that is now: from there adapters are read and deleted."""
    if not isinstance(event, Observed) or (Path(event.folder).is_relative_to(folder) and ".." not in event.folder):
        return event
    return replace(event, folder=str(folder / "trials" / event.main.trial / f"step-{event.main.steps:06d}"))


def _event(values: dict[str, Any]) -> Event:
    kind = values.pop("event")
    match kind:
        case "opened":
            return Opened(**values)
        case "proposed":
            return Proposed(**values | {"recipe": Recipe.parse(values["recipe"])})
        case "observed":
            rest = {name: value for name, value in values.items() if not name.startswith("observation")}
            given = (
                values["observations"] if "observations" in values else [values["observation"]]
            )  # one, in an older journal
            observations = tuple(Observation.from_json(_with_nan(value)) for value in given)
            return Observed(**rest | {"observations": observations, "decision": _decision(values["decision"])})
        case "promoted":
            return Promoted(**values)
        case "lost":
            return Lost(**values)
        case "outgrew":
            return Outgrew(**values)
        case "ended":
            return Ended(**values)
        case "learned":
            given = tuple(Observation.from_json(_with_nan(value)) for value in values["observations"])
            return Learned(**values | {"observations": given})
        case "planned":
            return Planned(**values)
        case "chosen":
            return Chosen(**values | {"candidates": tuple(Candidate(**each) for each in values["candidates"])})
        case "judged":
            return Judged(**values)
        case "tracked":
            return Tracked(**values)
        case "closed":
            timing = {name: value for name, value in values["timing"].items() if name != "overhead"}
            return Closed(**values | {"timing": Timing(**timing)})
    raise ValueError(f"event {kind!r} is unknown")


def _decision(values: dict[str, Any]) -> Decision:
    rest = {name: value for name, value in values.items() if name != "action"}
    return {"continue": Continue, "pause": Pause, "stop": Stop}[values["action"]](**rest)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: a cell that does not apply is null."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(observation: dict[str, Any]) -> dict[str, Any]:
    nan = lambda value: math.nan if value is None else value  # noqa: E731
    cells = {name: [nan(value) for value in row] for name, row in observation["cells"].items()}
    return observation | {"cells": cells, "scores": {name: nan(v) for name, v in observation["scores"].items()}}
