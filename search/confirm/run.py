"""A confirmation from its start to its end, on Ray: the driver of a sweep with other trials."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from search.checks import check_held_out
from search.config import SweepConfig
from search.confirm.choose import Search, chosen
from search.confirm.record import ConfirmRecorder
from search.confirm.state import ConfirmState
from search.confirm.summary import check_candidates
from search.driver import Driver
from search.journal import CONFIRMATION, Chosen, Event, Journal, Ledger, Opened, events, read
from search.recording.about import fingerprint_of
from search.recording.provenance import provenance
from search.rungs import rule_for
from search.storage.depot import AtHome
from search.sweep import Outcome, check, drive, open_tracking
from search.trials.attempts import Attempts
from search.views.live import Reporter
from spaces import InputError
from trainables.machine.disk import disk_trouble

SHARE, SEEDS = 0.2, 8


def confirm(
    config: SweepConfig,
    reporter: Reporter,
    share: float | None = None,
    seeds: int | None = None,
    again: bool = False,
    trainable: type | None = None,
) -> Outcome:
    """Begins a sweep's confirmation or goes on with it; with `again` it begins anew, and the old one is set aside.

    InputError where the sweep runs, has nothing to confirm, or has a confirmation with another share or more seeds.
    """
    began = time.monotonic()
    if config.job.storage is not None:
        kept = f"is kept at {config.job.storage.uri}"
        raise InputError(config.name, f"{kept}; only a sweep that is kept in its home alone can be confirmed")
    check(config, trainable)
    if trainable is None:
        check_held_out(config.job)
    journal = Journal(config.folder)  # nobody goes on with the search meanwhile
    try:
        course = _course(config, journal.ledger, reporter, share, seeds, again)
        return drive(course, AtHome(config), reporter, trainable, began)
    finally:
        journal.close()


def _course(
    config: SweepConfig, searched: Ledger, reporter: Reporter, share: float | None, seeds: int | None, again: bool
) -> "Confirming":
    before = read(config.folder, CONFIRMATION).chosen
    if before is not None and not again:
        check_candidates(before, searched, config.folder)
    if before is None or again:
        wanted = SHARE if share is None else share, SEEDS if seeds is None else seeds
        first = chosen(searched, config.space, *wanted, config.name, time.time())
        if before is not None:
            _set_aside(config.folder / CONFIRMATION)
        return Confirming(config, searched, reporter, first)
    if share not in (None, before.share) or seeds not in (None, before.seeds):
        has = f"has a confirmation with --share {before.share:g} --seeds {before.seeds}"
        raise InputError(config.name, f"{has}: leave both out to go on with it, or add --again to begin anew")
    return Confirming(config, searched, reporter, None)


def _set_aside(path: Path) -> None:
    number = 1
    while (aside := path.with_name(f"{path.stem}.old-{number}{path.suffix}")).exists():
        number += 1
    os.replace(path, aside)


@dataclass(frozen=True)
class Confirming:
    """A sweep's confirmation, as the driver's course."""

    sweep: SweepConfig
    searched: Ledger
    """The search's."""
    reporter: Reporter
    first: Chosen | None
    """The candidates of a new one."""

    @property
    def config(self) -> SweepConfig:
        job = self.sweep.job
        panel = job.panel.model_copy(update={"held_out": True})
        return self.sweep.model_copy(update={"job": job.model_copy(update={"panel": panel})})

    @property
    def title(self) -> str:
        return f"confirmation of {self.sweep.name} in {self.sweep.folder}"

    def open(self, now: float) -> Journal:
        folder = self.sweep.folder
        try:
            journal = Journal(folder, CONFIRMATION)
        except OSError as error:
            raise InputError(folder, f"cannot be written: {disk_trouble(error) or error}") from None
        try:
            Driver.me().save(folder)
            if self.first is not None:
                journal.append(self.first)
            journal.append(Opened(now, provenance(), fingerprint_of(self.sweep.job.subject) or ""))
        except OSError as error:
            journal.close()
            raise InputError(folder, f"cannot be written: {disk_trouble(error) or error}") from None
        return journal

    def recorder(self, journal: Journal, tracked: Callable[[str], None]) -> ConfirmRecorder:
        sweep = self.sweep
        return ConfirmRecorder(
            lambda: open_tracking(sweep, self.searched, confirming=True),
            tracked,
            events(sweep.folder, CONFIRMATION),
            sweep.space,
            AtHome(sweep),
            self.reporter.note,
            self.searched,
            sweep.meter.over(self.searched) or "interrupted",
        )

    def state(self, journal: Journal, notify: Callable[[Event], None], clock: Callable[[], float]) -> Attempts:
        sweep, about = self.sweep, journal.ledger.chosen
        front = sum(candidate.layer == 0 for candidate in about.candidates)
        also = f", {about.left_out} of the two layers left out" if about.left_out else ""
        self.reporter.note(
            f"{len(about.candidates)} candidates, {front} of them on the front{also}; "
            f"{about.seconds:.0f} s of workers, at most {about.seeds} seeds"
        )
        if not sweep.meter.over(self.searched):
            self.reporter.note("the search was not over: what it finds from here on is not confirmed")
        return ConfirmState(
            Search(self.searched),
            rule_for(sweep.scheduler, sweep.space),
            sweep.space.objectives,
            sweep.seed,
            journal,
            notify,
            clock,
            sweep.max_failures,
            self.reporter.note,
        )
