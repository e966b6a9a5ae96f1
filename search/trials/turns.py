"""Whose turn it is when a card has room: pure, and without a clock."""

from collections.abc import Iterable
from dataclasses import dataclass

from search.journal import Ledger
from search.rungs import Continue

PATIENCE = 2
"""A trial that waits is overtaken by so many new ones for each card; then no new one starts before it."""


@dataclass(frozen=True)
class Waiting:
    """A trial that has no process."""

    trial: str
    reached: int
    """The last rung that it was scored at; 0 is none."""
    standing: float = 1.0
    """Its place there as a share of those that it was compared with; small is good."""


@dataclass(frozen=True)
class Floor:
    """How busy a sweep is."""

    outstanding: int
    """Trials that were handed out and have not ended."""
    waiting: int
    """Those of them without a process."""
    slots: int
    """How many may wait at a time: so many processes start side by side, and so many nodes."""
    overtaken: int = 0
    """How often the one was overtaken that waits longest for a card that is there."""
    measured: bool = True
    """Whether anything is known of what trials need."""
    workers: int | None = None
    """How many may be handed out at a time; None is as many as fit."""


def waiting_of(ledger: Ledger, trial: str) -> Waiting:
    """How a trial stands in the queue."""
    reached = ledger.reached(trial)
    decision = ledger.decision(trial, reached)
    return Waiting(trial, reached, decision.place / decision.of if isinstance(decision, Continue) else 1.0)


def in_turn(waiting: Iterable[Waiting]) -> list[Waiting]:
    """First who is nearest to the end, since what it has cost is lost until it gets there and a promotion that was
    earned should be used; of those at one rung the better placed; then the older."""
    return sorted(waiting, key=lambda trial: (-trial.reached, trial.standing, trial.trial))


def may_propose(floor: Floor) -> bool:
    """Whether a new trial should be handed out now.

    A proposal that waits was made with less knowledge than it could have had, and one that does not wait may take
    the place that a more advanced trial waits for.
    """
    if floor.outstanding == 0:
        return True
    if floor.workers is not None and floor.outstanding >= floor.workers:
        return False
    if not floor.measured and floor.outstanding >= floor.slots:
        return False  # they would each wait for a whole card
    if floor.overtaken >= PATIENCE * floor.slots:
        return False
    return floor.waiting < floor.slots
