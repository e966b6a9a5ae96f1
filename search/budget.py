"""How much a sweep may do, by trials, by seconds of GPUs or by the clock, and how much of that it has done.

When a budget is spent no trial starts and none goes on: each that runs is scored at the rung that it is on its way to,
since what that took would be lost otherwise, and is held there. So a sweep spends at most one rung for each worker
more than it was given. A trial that is held has not ended: with more budget it goes on from its checkpoint.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Literal

from search.journal import Ledger, Planned
from spaces import Cost, InputError

TRIALS = 24
"""So many are tried where nothing else bounds a sweep."""
HOUR = 3600.0
Gpus = float | Literal["auto"]
"""Of a trial, as a sweep's config has it."""
SPENT = "budget spent"


@dataclass(frozen=True)
class Plan:
    """What a sweep may do at most; whichever comes first ends it. None is no bound."""

    trials: int | None = TRIALS
    gpu_seconds: float | None = None
    """Of what was scored: seconds of GPUs, or of workers where trials have none."""
    seconds: float | None = None
    """By the clock, while a driver had the sweep."""

    @property
    def in_words(self) -> str:
        parts = (
            None if self.trials is None else f"{self.trials} trials",
            None if self.gpu_seconds is None else f"{span(self.gpu_seconds)} of GPUs or workers",
            None if self.seconds is None else f"{span(self.seconds)} by the clock",
        )
        return ", ".join(part for part in parts if part)

    def event(self, time: float) -> Planned:
        """For the journal."""
        return Planned(time, **asdict(self))


def gpu_share(cost: Cost, gpus: Gpus) -> float:
    """Of a GPU, what a trial had. Where cards are shared by memory, that is the part of its card's that it took."""
    if gpus == "auto":
        return cost.peak_memory / cost.card_memory if cost.peak_memory and cost.card_memory else 1.0
    return gpus or 1.0


class Meter:
    """Follows one ledger, and knows what its sweep may still do: every observation is looked at once."""

    def __init__(self, plan: Plan, gpus: Gpus = 0.0) -> None:
        """`plan` is the sweep's at its start; a later one in the journal takes its place."""
        self._plan, self._gpus = plan, gpus
        self._gpu_seconds, self._seen = 0.0, 0
        self._cards = isinstance(gpus, float | int) and gpus > 0
        """Whether trials have GPUs; where they share those that there are, once one was seen on a card."""

    def plan(self, ledger: Ledger) -> Plan:
        at = ledger.planned
        return self._plan if at is None else Plan(at.trials, at.gpu_seconds, at.seconds)

    def gpu_seconds(self, ledger: Ledger) -> float:
        """Spent on all that was scored."""
        for o in ledger.table[self._seen :]:
            self._gpu_seconds += o.cost.total * gpu_share(o.cost, self._gpus)
            self._cards = self._cards or (self._gpus == "auto" and o.cost.card_memory > 0)
        self._seen = len(ledger.table)
        return self._gpu_seconds

    def spent(self, ledger: Ledger, now: float | None = None) -> bool:
        """Whether a budget of seconds is, at a time of the journal's clock; None is that of the last event."""
        plan = self.plan(ledger)
        clock = ledger.seconds + (0.0 if now is None or not ledger.latest else max(0.0, now - ledger.latest))
        by_gpus = plan.gpu_seconds is not None and self.gpu_seconds(ledger) >= plan.gpu_seconds
        return by_gpus or (plan.seconds is not None and clock >= plan.seconds)

    def over(self, ledger: Ledger, now: float | None = None) -> str | None:
        """How a sweep has ended, `finished` or `finished: budget spent`; None while there is something left to do."""
        trials = self.plan(ledger).trials
        if trials is not None and len(ledger.endings) >= trials:
            return "finished"
        return f"finished: {SPENT}" if self.spent(ledger, now) else None

    def more(self, ledger: Ledger) -> str:
        """The options of `posefront resume` that would let a sweep whose budget is spent go on."""
        plan = self.plan(ledger)
        by_gpus = plan.gpu_seconds is not None and self.gpu_seconds(ledger) >= plan.gpu_seconds
        by_clock = plan.seconds is not None and ledger.seconds >= plan.seconds
        return " ".join([*(["--gpu-hours +1"] if by_gpus else []), *(["--hours +1"] if by_clock else [])])

    def share(self, ledger: Ledger) -> float:
        """Of the way to the end, 0 to 1: by that bound which is nearest."""
        plan = self.plan(ledger)
        pairs = (
            (len(ledger.endings), plan.trials),
            (self.gpu_seconds(ledger), plan.gpu_seconds),
            (ledger.seconds, plan.seconds),
        )
        return min(1.0, max((done / most for done, most in pairs if most), default=0.0))

    def seconds_left(self, ledger: Ledger, workers: int) -> float | None:
        """Until a budget of seconds is spent, if all workers are busy; None where there is none."""
        plan = self.plan(ledger)
        pace = workers * (self._gpus if isinstance(self._gpus, float) and self._gpus else 1.0)
        left = [] if plan.gpu_seconds is None else [(plan.gpu_seconds - self.gpu_seconds(ledger)) / pace]
        left += [] if plan.seconds is None else [plan.seconds - ledger.seconds]
        return max(0.0, min(left)) if left else None

    def in_words(self, ledger: Ledger) -> str:
        """What is spent of the budgets of seconds; empty where there is none."""
        plan = self.plan(ledger)
        used = self.gpu_seconds(ledger)
        pairs = (
            (used, plan.gpu_seconds, "of GPUs" if self._cards else "of workers"),
            (ledger.seconds, plan.seconds, "by the clock"),
        )
        return ", ".join(f"{span(done)} of {span(most)} {what}" for done, most, what in pairs if most is not None)


@dataclass(frozen=True)
class More:
    """What a person asks of a sweep that is there: new bounds, as `60`, or as `+20` more than it had."""

    trials: str | None = None
    gpu_hours: str | None = None
    hours: str | None = None

    def __bool__(self) -> bool:
        return any(given is not None for given in vars(self).values())

    def plan(self, now: Plan, ledger: Ledger) -> Plan:
        """The plan with the new bounds. InputError for what is no number, or less than was done."""
        changes: dict[str, float] = {}
        if self.trials is not None:
            asked = _asked("--trials", self.trials, now.trials)
            if asked != int(asked):
                raise InputError("--trials", f"{self.trials!r} should be a whole number, such as +20 or 60")
            changes["trials"] = _no_less("--trials", int(asked), len(ledger.proposals), "trials were begun")
        for option, field, given in (
            ("--gpu-hours", "gpu_seconds", self.gpu_hours),
            ("--hours", "seconds", self.hours),
        ):
            if given is not None:
                before = getattr(now, field)
                changes[field] = HOUR * _asked(option, given, None if before is None else before / HOUR)
        return replace(now, **changes)


def of(done: int, most: int | None) -> str:
    """A count, and of how many if that is known."""
    return str(done) if most is None else f"{done} of {most}"


def in_hold(ledger: Ledger) -> str:
    """How many trials a spent budget holds at their rungs, and how many were paused there before."""
    held, paused = ledger.running, len(ledger.paused)
    told = f"{held} trial{'s' if held != 1 else ''} held where the budget was spent"
    return told + (f", {paused} paused" if paused else "")


def span(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.4g} h"


def _asked(option: str, text: str, before: float | None) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise InputError(option, f"{text!r} should be a number above 0: +20 is 20 more, 60 is 60 in all")
    if not text.lstrip().startswith("+"):
        return number
    if before is None:
        raise InputError(option, f"{text!r}: the sweep has no such bound to add to; give the number in all")
    return before + number


def _no_less(option: str, asked: int, done: int, what: str) -> int:
    if asked < done:
        raise InputError(option, f"{asked} should be at least {done}: so many {what} already")
    return asked
