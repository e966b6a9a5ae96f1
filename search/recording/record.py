"""MLflow's record of a sweep, written from the journal alone: what an outage left out, or all of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

from search import config
from search.config import SweepConfig
from search.journal import Journal, Tracked, events, is_running
from search.recording.recorder import Missing, Recorder
from search.storage.depot import AtHome
from search.sweep import open_tracking
from search.tracking.outage import damage_of
from spaces import InputError

SQLITE = "sqlite:///"


def chosen(home: Path, names: list[str]) -> list[SweepConfig]:
    """The sweeps of these names; all of the home's without any. InputError for a name that is not there."""
    return [config.load(home, name) for name in names or config.sweeps(home)]


def write(sweep: SweepConfig, uri: str | None, say: Callable[[str], None]) -> Missing | None:
    """Tells MLflow all that the journal has and it lacks: the sweep's own, or another at `uri`.

    What is there already stays as it is. InputError while the sweep runs, since it writes its own record.
    """
    journal = Journal(sweep.folder)
    try:
        ledger = journal.ledger
        status = sweep.meter.over(ledger) or "interrupted"
        target = sweep if uri is None else sweep.model_copy(update={"tracking_uri": uri})

        def opened(run: str) -> None:
            if uri is None and run != ledger.parent_run_id:
                journal.append(Tracked(ledger.latest, run))

        history = events(sweep.folder)
        depot = AtHome(sweep)
        recorder = Recorder(
            lambda: open_tracking(target, ledger, depot.fetch), opened, history, sweep.space, depot, say
        )
        recorder.opened()
        return recorder.close(status)
    finally:
        journal.close()


def set_aside(sweeps: list[SweepConfig]) -> Iterator[Path]:
    """Moves the SQLite databases of the sweeps out of the way, to a name that says so; yields the new names.

    InputError when a sweep is running, which would go on writing to the old file, or keeps its record on a server.
    """
    for sweep in sweeps:
        if not sweep.tracking_uri.startswith(SQLITE):
            raise InputError("--rebuild", f"{sweep.name} is recorded by {sweep.tracking_uri}, which is not a file")
        if is_running(sweep.folder):
            raise InputError("--rebuild", f"{sweep.name} is running; wait for it, or stop it")
    for database in {Path(sweep.tracking_uri.removeprefix(SQLITE)) for sweep in sweeps}:
        if not database.exists():
            continue
        number = 1
        while (aside := database.with_name(f"{database.name}.old-{number}")).exists():
            number += 1
        for suffix in ("", "-wal", "-shm", "-journal"):
            if (part := database.with_name(database.name + suffix)).exists():
                part.rename(aside.with_name(aside.name + suffix))
        yield aside


def check(sweeps: list[SweepConfig]) -> None:
    """InputError with its remedy for a SQLite database that is damaged, in any of its pages."""
    for uri in {sweep.tracking_uri for sweep in sweeps if sweep.tracking_uri.startswith(SQLITE)}:
        path = Path(uri.removeprefix(SQLITE))
        if damage := damage_of(path):
            remedy = "`posefront record --rebuild` sets it aside and writes all sweeps anew, from their journals"
            raise InputError(path, f"is damaged ({damage}); {remedy}")
