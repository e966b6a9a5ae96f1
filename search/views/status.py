"""How far the sweeps of a home are: for people, and as JSON that travels from a cluster."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from search import config, journal
from search.budget import of
from search.driver import driver_of
from search.journal import Ledger
from search.views.live import PlainLines
from search.views.show import find
from search.views.tally import Tally

KEY = "posefront-status"
"""Of the JSON line."""


@dataclass(frozen=True)
class Status:
    """One sweep. Fields are plain, so that they travel."""

    name: str
    state: str
    """`running`, `finished`, `finished: budget spent` or `interrupted`."""
    driver: str
    """Where it runs, or ran last; empty where that was not written down."""
    trials: int | None
    """How many there are to be; None where no number bounds them."""
    running: int
    """Trials that were started, and neither ended nor are paused."""
    finished: int
    stopped: int
    failed: int
    checkpoints: int
    """That were scored."""
    front: int
    """Observations on the front."""
    hypervolume: float
    heard: float | None
    """When the last event was, in seconds since the epoch; None before the first."""
    spent: str = ""
    """Of its budgets of seconds, in words; empty where it has none."""
    paused: int = 0
    """Trials that wait at a rung for a promotion."""

    @property
    def ended(self) -> int:
        return self.finished + self.stopped + self.failed


def status_of(home: Path, name: str) -> Status:
    """InputError when there is no such sweep."""
    found = find(home, name)
    meter = found.config.meter
    seen = Tally(found.space).progress(found.ledger, meter.plan(found.ledger).trials)
    happened = journal.events(found.config.folder)
    driver = driver_of(found.config.folder)
    return Status(
        name=name,
        state=found.status,
        driver=f"process {driver.pid} on {driver.host}" if driver else "",
        trials=seen.trials,
        running=seen.running,
        finished=seen.finished,
        stopped=seen.stopped,
        failed=seen.failed,
        checkpoints=len(found.ledger.observed),
        front=seen.front,
        hypervolume=seen.hypervolume,
        heard=happened[-1].time if happened else None,
        spent=meter.in_words(found.ledger),
        paused=seen.paused,
    )


def statuses(home: Path, name: str | None) -> list[Status]:
    """All sweeps of the home, oldest first, or the one."""
    return [status_of(home, each) for each in ([name] if name else config.sweeps(home))]


def to_line(found: Sequence[Status]) -> str:
    return json.dumps({KEY: [asdict(each) for each in found]}, allow_nan=False)


def from_lines(text: str) -> list[Status] | None:
    """The last JSON line of a text, None where there is none."""
    for line in reversed(text.splitlines()):
        if line.startswith(f'{{"{KEY}"'):
            return [Status(**values) for values in json.loads(line)[KEY]]
    return None


def table(found: Sequence[Status], jobs: dict[str, str] | None = None) -> Table:
    """A row for each sweep; `jobs`, where there is a cluster, says of a sweep's name what its last job does."""
    rows = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("sweep", "state", *([] if jobs is None else ["job"])):
        rows.add_column(name, no_wrap=name != "state")
    for name in ("trials", "failed", "scored", "front", "hypervolume", "last heard"):
        rows.add_column(name, no_wrap=True, justify="right")
    for each in found:
        job = [] if jobs is None else [jobs.get(each.name, "")]
        heard = "" if each.heard is None else f"{ago(time.time() - each.heard)} ago"
        counts = [of(each.ended, each.trials), str(each.failed), str(each.checkpoints), str(each.front)]
        rows.add_row(each.name, each.state, *job, *counts, f"{each.hypervolume:.4f}", heard)
    return rows


def tell(home: Path, name: str, console: Console, last: int, follow: bool) -> None:
    """Prints the `last` lines of what happened in a sweep, and with `follow` goes on until no driver has it."""
    settings, ledger, seen = config.load(home, name), Ledger(), 0
    lines = PlainLines(console, settings.space, settings.meter, lambda: ledger.seconds)
    skip = len(journal.events(settings.folder)) - last
    while True:
        running = journal.is_running(settings.folder)  # before its last events are read
        for event in journal.events(settings.folder)[seen:]:
            ledger.add(event)
            seen += 1
            if seen > skip:
                lines.event(event, ledger)
        if not (follow and running):
            return
        time.sleep(1.0)


def ago(seconds: float) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"
