"""What a running sweep shows: a table that renews itself, or plain lines where there is no terminal."""

import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.budget import Meter, Plan, of
from search.journal import Ended, Event, Ledger, Lost, Observed, Planned, Promoted
from search.rungs import Continue, Decision, Pause
from search.views.tally import Tally
from spaces import Space
from spaces.wording import redacted


class Reporter(Protocol):
    """Where a running sweep tells of itself. `note` may be called from any thread."""

    def opened(self, text: str) -> None:
        """The sweep is under way."""

    def started(self, workers: int) -> None:
        """Trials begin, so many at a time; none on a cluster whose nodes are yet to come."""

    def event(self, event: Event, ledger: Ledger) -> None:
        """Something happened; the ledger has it already."""

    def note(self, text: str) -> None:
        """One line for the person."""

    def close(self) -> None:
        """The sweep is over."""


def reporter(console: Console, space: Space, bounds: Meter) -> Reporter:
    """A live table on a terminal, plain lines elsewhere."""
    return LiveTable(console, space, bounds) if console.is_terminal else PlainLines(console, space, bounds)


class PlainLines:
    """One line for each observation and each ending, after `elapsed` seconds: since now, unless it is told."""

    def __init__(
        self, console: Console, space: Space, bounds: Meter | int | None, elapsed: Callable[[], float] | None = None
    ) -> None:
        """`bounds`: what the sweep may do, or only how many trials."""
        self._console, self._space = console, space
        self._bounds = bounds if isinstance(bounds, Meter) else Meter(Plan(bounds))
        self._tally = Tally(space)
        began = time.monotonic()
        self._elapsed = elapsed or (lambda: time.monotonic() - began)

    def opened(self, text: str) -> None:
        self._line(text)

    def started(self, workers: int) -> None:
        empty = "Ray is up and has no room yet: nodes come as trials wait for them"
        self._line(f"Ray is up, {workers} trials at a time" if workers else empty)

    def event(self, event: Event, ledger: Ledger) -> None:
        match event:
            case Observed(main=seen):
                scores = " ".join(f"{o.name} {seen.scores[o.name]:.3f}" for o in self._space.objectives)
                others = len(event.observations) - 1
                scores += f" (and drawn in {others} other way{'s' if others > 1 else ''})" if others else ""
                missed = [each for each in self._space.requirements if each.excess(seen.scores) > 0]
                scores += "".join(f", misses {each} ({seen.scores[each.name]:.3f})" for each in missed)
                self._line(f"{seen.trial} at {seen.steps} steps: {scores}; {_verdict(event.decision)}")
            case Promoted(trial=trial, steps=steps):
                self._line(f"{trial} is promoted, from {steps} steps ({event.place} of {event.of})")
            case Lost():
                self._line(f"{event.trial} is to go on from its last checkpoint: {event.reason}")
            case Ended():
                value = self._tally.hypervolume(ledger)
                ended = of(len(ledger.endings), self._bounds.plan(ledger).trials)
                count = f"{ended} trials, hypervolume {value:.3f}"
                untold = event.status == "failed" or isinstance(ledger.decision(event.trial, event.steps), Pause)
                self._line(f"{event.trial} {event.status} ({count})" + (f": {event.reason}" if untold else ""))
            case Planned():
                self._line(f"from here on: {self._bounds.plan(ledger).in_words}")

    def note(self, text: str) -> None:
        self._line(redacted(text))

    def close(self) -> None:
        """Nothing to put away."""

    def _line(self, text: str) -> None:
        self._console.print(f"[{self._elapsed():6.1f} s] {text}", markup=False, highlight=False, soft_wrap=True)


class LiveTable:
    """A table that stays in place; notes scroll above it."""

    def __init__(self, console: Console, space: Space, bounds: Meter | int | None) -> None:
        """`bounds`: what the sweep may do, or only how many trials."""
        self._bounds = bounds if isinstance(bounds, Meter) else Meter(Plan(bounds))
        self._workers, self._waits_for = 0, "starting Ray"
        self._began = time.monotonic()
        self._tally = Tally(space)
        self._ledger = Ledger()
        self._progress = self._tally.progress(self._ledger, self._bounds.plan(self._ledger).trials)
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=1)

    def opened(self, text: str) -> None:
        self._live.start()
        self.note(text)

    def started(self, workers: int) -> None:
        self._workers, self._waits_for = workers, "" if workers else "waiting for nodes"

    def event(self, event: Event, ledger: Ledger) -> None:
        self._ledger = ledger
        self._progress = self._tally.progress(ledger, self._bounds.plan(ledger).trials)

    def note(self, text: str) -> None:
        self._live.console.print(redacted(text), markup=False, highlight=False)

    def close(self) -> None:
        self._live.refresh()
        self._live.stop()

    def _render(self) -> Group:
        seen = self._progress
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column()
        paused = f"{seen.paused} paused, " if seen.paused else ""
        counts = (
            f"{seen.running} running, {paused}{seen.finished} finished, {seen.stopped} stopped, {seen.failed} failed"
        )
        table.add_row("trials", f"{of(seen.ended, seen.trials)}: {counts}")
        table.add_row("rungs", "  ".join(f"{rung}: {count}" for rung, count in seen.reached))
        table.add_row("front", f"{seen.front} observations, hypervolume {seen.hypervolume:.4f}")
        for objective, best in seen.best:
            value = best.scores[objective.name]
            drawn = f", {best.label}" if best.label else ""
            table.add_row(f"best {objective.name}", f"{value:.3f}  ({best.trial} at {best.steps} steps{drawn})")
        elapsed = time.monotonic() - self._began
        workers = max(1, self._workers)
        known = (seen.seconds_left(workers), self._bounds.seconds_left(self._ledger, workers))
        left = min((seconds for seconds in known if seconds is not None), default=None)
        waiting = f", {self._waits_for}" if self._waits_for and not seen.busy else ""
        if budget := self._bounds.in_words(self._ledger):
            table.add_row("budget", budget)
        table.add_row("time", clock(elapsed) + (waiting if left is None else f", about {clock(left)} left"))
        return Group(Text(), ProgressBar(total=1.0, completed=self._bounds.share(self._ledger), width=60), table)


def _verdict(decision: Decision) -> str:
    match decision:
        case Continue(place, of):
            return f"goes on ({place} of {of})"
        case Pause(place, of):
            return f"is paused ({place} of {of})"
        case _:
            return decision.reason


def clock(seconds: float) -> str:
    """Minutes and seconds, 2:05, and hours where there are any, 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
