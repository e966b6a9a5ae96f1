"""Trials as Ray sees them, without Ray: what each result, loss and failure means, whatever the trials are for."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.journal import Cause, Ended, Event, Keeper, Ledger, Lost, Observed, Outgrew, Proposed, Status
from search.rungs import Decision, Rule, Stop
from search.trials.turns import in_turn, waiting_of
from spaces import Cost, Inference, Observation, Recipe
from spaces.wording import one_line
from trainables.machine.disk import disk_trouble

MAX_FAILURES = 2
MAX_NODES = 10
"""So many nodes in a row may go under one trial. It is hardly ever its fault, but it may be what brings them down."""
_WENT = {"error": "it raised", "process": "its process died", "node": "its node was lost", "hung": "it hung"}


@dataclass(frozen=True)
class Assignment:
    """One trial to run."""

    trial: str
    recipe: Recipe
    seed: int
    values: dict[str, Any]
    score: tuple[tuple[int, tuple[str, ...]], ...] | None = None
    """Where it is scored, and as drawn in which ways, by their labels; None is at all rungs and in all ways."""


class Attempts(ABC):
    """Hands trials out, and journals what becomes of them: of a sweep's search, or of its confirmation.

    Everything that happens goes through the journal first; then `notify` hears of it. What is made from a journal goes
    on where it stopped: with the trials that had not ended, the most advanced first.
    """

    rule: Rule
    """Its rungs are where trials may be scored."""

    def __init__(
        self,
        journal: Keeper,
        notify: Callable[[Event], None],
        clock: Callable[[], float],
        max_failures: int,
        note: Callable[[str], None],
    ) -> None:
        self._journal, self._notify, self._clock = journal, notify, clock
        self._allowed = {"error": max_failures, "process": max_failures, "node": MAX_NODES, "hung": max_failures}
        self._halted: str | None = None
        self._note, self._told = note, set[tuple[str, str]]()
        self._waiting = deque[Proposed]()

    @property
    @abstractmethod
    def left(self) -> int:
        """How many trials are yet to be handed out, at most."""

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether all is over."""

    @property
    def waits(self) -> bool:
        """Whether a trial may come once others have ended, where none does now."""
        return False

    @property
    @abstractmethod
    def over(self) -> str | None:
        """How all of it has ended, in words; None while there is something left to do."""

    @abstractmethod
    def _new_trial(self) -> Assignment | None:
        """The next trial that was never handed out, journalled."""

    @abstractmethod
    def _decide(self, checkpoint: tuple[Observation, ...]) -> Decision:
        """What becomes of the trial behind a new checkpoint."""

    @abstractmethod
    def look_ahead(self, patience: float | None = None) -> None:
        """From now on the next trial may be prepared in the background.

        Who asks for one while others run waits for it so many seconds at most, then there is none for now; None is as
        long as it takes.
        """

    @abstractmethod
    def _heard(self, event: Event) -> None:
        """The journal has the event; nobody else has heard of it."""

    @property
    def ledger(self) -> Ledger:
        return self._journal.ledger

    @property
    def halted(self) -> str | None:
        """Why the sweep stops early, such as for a full disk, which is no fault of a trial's."""
        return self._halted

    def halt(self, reason: str) -> Stop:
        """Nothing is handed out or recorded from now on; trials that have not ended go on when the sweep is resumed."""
        self._halted = self._halted or reason
        return Stop("stopped", self._halted)

    def next_trial(self) -> Assignment | None:
        """The next trial to start, or None when all were handed out or the sweep stops early."""
        if self._halted is not None:
            return None
        try:
            return self._next_trial()
        except OSError as error:
            self.halt(self._unwritten(error))
            return None

    def record(self, result: Mapping[str, Any]) -> Decision:
        """What a trial returned for one step. A checkpoint that is known gets the decision that it got then."""
        self._tell(str(result["trial"]), result.get("notes", []))
        if self._halted is not None or result.get("halt"):
            return self.halt(str(result.get("halt")))
        try:
            return self._record(result)
        except OSError as error:
            return self.halt(self._unwritten(error))

    def failed(self, trial: str, reason: str) -> Stop:
        """The trial broke. What it had scored stays; told twice, the first reason stays.

        A full disk is not its fault, and stops the sweep.
        """
        reason = one_line(reason)
        trouble = disk_trouble(reason)
        if self._halted is not None or trouble:
            return self.halt(f"{trial}: {trouble}")
        try:
            if trial not in self.ledger.endings:
                self._end(trial, "failed", reason)
        except OSError as error:
            return self.halt(self._unwritten(error))
        return Stop("failed", self.ledger.endings[trial].reason)

    def _record(self, result: Mapping[str, Any]) -> Decision:
        trial = str(result["trial"])
        if result.get("failure"):
            return self.failed(trial, str(result["failure"]))
        known = self.ledger.observed.get((trial, int(result["steps"])))
        if known is not None:
            return self.ledger.decision(*known.main.key[:2])
        checkpoint = tuple(self._observation(result, values) for values in result["observations"])
        decision = self._decide(checkpoint)
        if isinstance(decision, Stop) and decision.status == "failed":
            return self.failed(trial, decision.reason)
        self._append(Observed(self._clock(), checkpoint, decision, str(Path(result["folder"]))))
        if isinstance(decision, Stop):
            self._end(trial, decision.status, decision.reason)
        return decision

    def give_back(self, trial: str) -> None:
        """The trial has no process and gets none by itself: it is handed out again."""
        self._waiting.append(self.ledger.proposals[trial])

    @property
    def stranded(self) -> bool:
        """Whether there is work left, and none of it has been handed out."""
        waiting = {event.trial for event in self._waiting}
        return self._halted is None and not self.done and all(event.trial in waiting for event in self.ledger.going)

    def lost(self, trial: str, cause: Cause, reason: str) -> bool:
        """The trial's process is gone; whether it is to be started again.

        What was lost from outside is not the trial's fault, and which it was cannot always be told; so what counts is
        how often in a row it came to that without a new checkpoint. A trial whose machine was taken with notice goes
        on as often as that happens.
        """
        if self._halted is not None or trial in self.ledger.endings:
            return False
        reason = " ".join(reason.split())
        if trouble := disk_trouble(reason):
            self.halt(f"{trial}: {trouble}")
            return False
        try:
            return self._lost(trial, cause, reason)
        except OSError as error:
            self.halt(self._unwritten(error))
            return False

    def _lost(self, trial: str, cause: Cause, reason: str) -> bool:
        self._append(Lost(self._clock(), trial, cause, reason))
        times = [lost.cause for lost in self.ledger.lost[trial]].count(cause)
        if cause == "preempted" or times <= self._allowed[cause]:
            return True
        self.failed(trial, f"{_WENT[cause]} {times} times without a new checkpoint: {reason}")
        return False

    def _tell(self, trial: str, notes: Sequence[str]) -> None:
        """What a trial has to say, once: it says it with each of its results."""
        for text in notes:
            if (trial, text) not in self._told:
                self._told.add((trial, text))
                self._note(f"{trial}: {text}")

    def _unwritten(self, error: OSError) -> str:
        return f"{getattr(self._journal, 'path', 'the journal')} cannot be written: {disk_trouble(error) or error}"

    def outgrew(self, trial: str, steps: int, memory: int, card_memory: int) -> None:
        """The trial ran out of its share of a card on its way to a rung. That is no failure of its recipe."""
        try:
            self._append(Outgrew(self._clock(), trial, steps, memory, card_memory))
        except OSError as error:
            self.halt(self._unwritten(error))

    def _observation(self, result: Mapping[str, Any], values: Mapping[str, Any]) -> Observation:
        proposal = self.ledger.proposals[result["trial"]]
        return Observation(
            trial=proposal.trial,
            recipe=proposal.recipe,
            seed=proposal.seed,
            steps=int(result["steps"]),
            scores={name: float(value) for name, value in values["scores"].items()},
            cells={name: [float(value) for value in row] for name, row in values["cells"].items()},
            cost=Cost(**values["cost"]),
            inference=Inference.model_validate(values["inference"]),
            label=values["label"],
        )

    def _take_up(self) -> None:
        """Trials of the journal that were under way are handed out first."""
        self._end_what_was_decided()
        ledger = self.ledger
        going = {event.trial: event for event in ledger.going}
        self._waiting = deque(going[w.trial] for w in in_turn(waiting_of(ledger, trial) for trial in going))

    def _end_what_was_decided(self) -> None:
        """A crash may fall between a decision and the ending that follows from it."""
        last = {trial: event.decision for (trial, _), event in self.ledger.observed.items()}
        for proposal in self.ledger.unfinished:
            decision = last.get(proposal.trial)
            if isinstance(decision, Stop):
                self._end(proposal.trial, decision.status, decision.reason)

    def _next_trial(self) -> Assignment | None:
        if self._waiting:
            return self._assignment(self._waiting.popleft())
        return self._new_trial()

    def _assignment(self, event: Proposed) -> Assignment:
        return Assignment(event.trial, event.recipe, event.seed, event.values)

    def _end(self, trial: str, status: Status, reason: str) -> None:
        self._append(Ended(self._clock(), trial, status, reason, self.ledger.reached(trial)))

    def _append(self, event: Event) -> None:
        self._journal.append(event)
        self._heard(event)
        self._notify(event)
