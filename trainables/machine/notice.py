"""Word that this machine is about to be taken away: a file that `search.spot` writes and trials look at between steps.

It is looked for only where the environment names its place, so that nobody's laptop is ever asked.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "POSEFRONT_NOTICE"
"""The environment variable with the file's path; the watcher and the trials of one machine have the same."""


@dataclass(frozen=True)
class Notice:
    """What is known of the machine's end."""

    reason: str
    """In one line."""
    deadline: float
    """Seconds since the epoch."""
    leave: bool
    """Whether Ray puts nothing more on this machine, so that a trial that leaves it goes on elsewhere."""


class Evicted(Exception):
    """The trial's state is on disk, and it is to go on elsewhere. Not a failure of the trial's."""


def current() -> Notice | None:
    """The notice that this machine has got, if it has."""
    path = os.environ.get(VARIABLE)
    try:
        return Notice(**json.loads(Path(path).read_text(encoding="utf-8"))) if path else None
    except FileNotFoundError:
        return None


def post(path: Path, notice: Notice) -> None:
    """Tells this machine's trials; whoever reads finds all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(notice)), encoding="utf-8")
    partial.replace(path)
