"""The sweeps that faults happen to, and their driver."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.faults.stand_in import SPACE, StandIn
from search.config import FILE, SweepConfig
from search.journal import Journal, Ledger, read
from search.rungs import Continue, rule_for
from search.state import SweepState
from spaces import parse_space, space_file
from trainables.job import Job, PanelConfig


@dataclass(frozen=True)
class Plan:
    """A kind of sweep."""

    trials: int
    scheduler: str
    pace: float
    """Seconds that a step of the stand-in waits."""
    puppets: bool
    """Real fine-tunes of the puppets instead of the stand-in."""
    at_once: int
    """Trials at a time."""

    def sweep(self, home: Path, name: str, seed: int, address: str | None, pace: float | None = None) -> SweepConfig:
        """A new sweep of this kind, and what its driver reads of it."""
        pace = self.pace if pace is None else pace
        cache = home / f"cache-{pace:g}"
        cache.mkdir(parents=True, exist_ok=True)
        (cache / "pace").write_text(str(pace))
        text = _puppets() if self.puppets else SPACE
        space = parse_space(text, "puppets" if self.puppets else "stand-in")
        job = Job(
            folder=str(home / name), cache=str(home / "cache" if self.puppets else cache), rungs=space.rungs,
            subject=space.subject if self.puppets else "nowhere", panel=PanelConfig(plain=1, hard=1, drift=1, steps=2),
        )  # fmt: skip
        config = SweepConfig.make(
            name=name, space_name=space.name, job=job, trials=self.trials, sampler="random", scheduler=self.scheduler,
            space_text=text, seed=seed,
            workers=self.at_once, tracking_uri=f"sqlite:///{home}/mlflow.db", artifacts=str(home / "mlartifacts"),
            address=address,
        )  # fmt: skip
        (home / f"{name}.asked.json").write_text(config.model_dump_json(), encoding="utf-8")
        return config


@dataclass
class Driver:
    """A sweep's driver in a process of its own; started anew it resumes."""

    config: SweepConfig
    puppets: bool
    starts: int = 0
    _process: subprocess.Popen | None = field(default=None, repr=False)

    def __enter__(self) -> "Driver":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def output(self) -> Path:
        return self.config.folder.with_suffix(".log")

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self._process.pid)

    def start(self) -> None:
        """The second time by `posefront resume`, where the trials are real."""
        asked = str(self.config.folder.with_suffix(".asked.json"))
        command = [sys.executable, "-m", "benchmarks.faults.drive", asked]
        if self.puppets:
            command.append("--puppets")
            if (self.config.folder / FILE).exists():
                resume = ["resume", self.config.name, "--home", str(self.config.folder.parent)]
                command = [sys.executable, "-m", "search", *resume]
        self.starts += 1
        with self.output.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    def kill(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.kill()
        self._process.wait()
        return True

    @property
    def returned(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def finish(self, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Waits for its end in order. RuntimeError with what it printed last otherwise."""
        until = time.monotonic() + seconds
        while (code := self._process.poll()) is None and time.monotonic() < until:
            meanwhile()
            time.sleep(0.05)
        if code is None:
            self.kill()
            code = f"no end within {seconds:g} s"
        if code != 0:
            raise RuntimeError(f"the driver of {self.config.name}: {code}\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.output.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def journal(self) -> bytes:
        path = self.config.folder / "journal.jsonl"
        return path.read_bytes() if path.exists() else b""


def undisturbed(plan: Plan, home: Path, name: str, seed: int, address: str, seconds: float) -> Ledger:
    """The same sweep without faults: of the stand-in one trial after the other without Ray, of real ones as ever."""
    config = plan.sweep(home, name, seed, address, pace=0.0)
    if plan.puppets:
        with Driver(config, puppets=True) as driver:
            driver.finish(seconds)
        return read(config.folder)
    config.save()
    space, journal = config.space, Journal(config.folder)
    rule = rule_for(config.scheduler, space)
    state = SweepState(space, rule, config.sampler, seed, config.trials, journal, lambda event: None)
    while (assignment := state.next_trial()) is not None:
        trial = StandIn.__new__(StandIn)
        recipe = assignment.recipe.model_dump()
        trial.setup(
            {"job": config.job.model_dump(), "trial": assignment.trial, "recipe": recipe, "seed": assignment.seed}
        )
        while isinstance(state.record(trial.step()), Continue):
            continue
    journal.close()
    return read(config.folder)


def _puppets() -> str:
    """The shipped space, scored earlier: half a minute for a trial is long where many are killed."""
    text = space_file("puppets").read_text(encoding="utf-8")
    return re.sub(r"^rungs: .*$", "rungs: [20, 40, 80]", text, count=1, flags=re.MULTILINE)


def wait_for(ready, seconds: float, what: str) -> None:
    """RuntimeError when it takes longer."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise RuntimeError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)
