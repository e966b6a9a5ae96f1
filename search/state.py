"""A sweep as Ray sees it, without Ray: what to run next, and what a result means."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search.ahead import begun
from search.config import SamplerKind
from search.journal import Cause, Ended, Event, Keeper, Ledger, Lost, Observed, Outgrew, Proposed, Status
from search.rungs import Decision, Rule, Stop
from search.sampler import Sampler
from search.standings import Standings
from search.turns import in_turn, waiting_of
from spaces import Cost, Inference, Observation, Recipe, Space
from spaces.wording import one_line
from trainables.disk import disk_trouble

REPEATS = 20
"""How often a recipe that was tried already is proposed anew, before it is taken as it is."""
MAX_FAILURES = 2
MAX_NODES = 10
"""So many nodes in a row may go under one trial. It is hardly ever its fault, but it may be what brings them down."""
_WENT = {"error": "it raised", "process": "its process died", "node": "its node was lost", "hung": "it hung"}

_New = tuple[Recipe, dict[str, Any]]


@dataclass(frozen=True)
class Assignment:
    """One trial to run."""

    trial: str
    recipe: Recipe
    seed: int
    values: dict[str, Any]


class SweepState:
    """Sampler, rungs and journal of one sweep.

    Everything that happens goes through the journal first; then the sampler and `notify` hear of it. A state
    that is made from a journal goes on where it stopped: with the trials that had not ended, the most advanced first.
    """

    def __init__(
        self,
        space: Space,
        rule: Rule,
        sampler_kind: SamplerKind,
        seed: int,
        trials: int,
        journal: Keeper,
        notify: Callable[[Event], None],
        clock: Callable[[], float] = time.time,
        max_failures: int = MAX_FAILURES,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.rule, self.seed, self.trials, self._clock = rule, seed, trials, clock
        self._journal, self._notify = journal, notify
        self._allowed = {"error": max_failures, "process": max_failures, "node": MAX_NODES, "hung": max_failures}
        ledger = journal.ledger
        self.sampler, self._proposal = _replayed(ledger, space, sampler_kind, seed)
        self._coming: Future[_New] | None = None
        self._ahead = False
        self._halted: str | None = None
        self._note, self._told = note, set[tuple[str, str]]()
        self._standings = Standings(rule)
        for event in ledger.observed.values():
            self._standings.add(event.observations)
        self._tried = {event.recipe for event in ledger.proposals.values()}
        self._end_what_was_decided()
        unfinished = {event.trial: event for event in ledger.unfinished}
        self._waiting = deque(unfinished[w.trial] for w in in_turn(waiting_of(ledger, trial) for trial in unfinished))

    @property
    def ledger(self) -> Ledger:
        return self._journal.ledger

    @property
    def left(self) -> int:
        """How many trials are yet to be handed out."""
        return len(self._waiting) + max(0, self.trials - len(self.ledger.proposals))

    @property
    def done(self) -> bool:
        return len(self.ledger.endings) >= self.trials

    def look_ahead(self) -> None:
        """From now on each proposal is drawn in the background, as soon as the one before it is handed out.

        It is drawn from the table as it is at that moment, so still the same journal gives the same proposal,
        after an interruption too; what is scored while it waits counts for the next one, as if one more trial ran.
        """
        self._ahead = True
        self._draw_next()

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

    def _next_trial(self) -> Assignment | None:
        if self._waiting:
            event = self._waiting.popleft()
            return Assignment(event.trial, event.recipe, event.seed, event.values)
        number = len(self.ledger.proposals) + 1
        if number > self.trials:
            return None
        recipe, values = self._coming.result() if self._coming else self._new_recipe(self.sampler.proposal())
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        assignment = Assignment(f"t{number:04d}", recipe, seed, values)
        self._append(Proposed(self._clock(), assignment.trial, recipe, values, seed))
        self.sampler.accept(assignment.trial, values)
        self._tried.add(recipe)
        if self._ahead:
            self._proposal = self.sampler.proposal()
            self._draw_next()
        return assignment

    def _record(self, result: Mapping[str, Any]) -> Decision:
        trial = str(result["trial"])
        if result.get("failure"):
            return self.failed(trial, str(result["failure"]))
        known = self.ledger.observed.get((trial, int(result["steps"])))
        if known is not None:
            return known.decision
        checkpoint = tuple(self._observation(result, values) for values in result["observations"])
        decision = self._standings.decide(checkpoint)
        if isinstance(decision, Stop) and decision.status == "failed":
            return self.failed(trial, decision.reason)
        self._append(Observed(self._clock(), checkpoint, decision, str(Path(result["folder"]))))
        self.sampler.observe(checkpoint)
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
        return (
            self._halted is None and not self.done and all(event.trial in waiting for event in self.ledger.unfinished)
        )

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

    def _draw_next(self) -> None:
        proposal, more = self._proposal, len(self.ledger.proposals) < self.trials
        self._coming = begun(lambda: self._new_recipe(proposal)) if more else None

    def _new_recipe(self, propose: Callable[[int], dict[str, Any]]) -> _New:
        for attempt in range(REPEATS + 1):
            values = propose(attempt)
            recipe = self.sampler.space.recipe(values)
            if recipe not in self._tried:
                break
        return recipe, values

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

    def _end_what_was_decided(self) -> None:
        """A crash may fall between a decision and the ending that follows from it."""
        last = {trial: event.decision for (trial, _), event in self.ledger.observed.items()}
        for proposal in self.ledger.unfinished:
            decision = last.get(proposal.trial)
            if isinstance(decision, Stop):
                self._end(proposal.trial, decision.status, decision.reason)

    def _end(self, trial: str, status: Status, reason: str) -> None:
        self._append(Ended(self._clock(), trial, status, reason, self.ledger.reached(trial)))
        self.sampler.fail(trial) if status == "failed" else self.sampler.end(trial)

    def _append(self, event: Event) -> None:
        self._journal.append(event)
        self._notify(event)


def _replayed(
    ledger: Ledger, space: Space, kind: SamplerKind, seed: int
) -> tuple[Sampler, Callable[[int], dict[str, Any]]]:
    """The sampler of a table, and the next proposal over the table as it was when the last one was handed out."""
    observed, endings = list(ledger.observed.values()), list(ledger.endings.values())
    scored, ended = ledger.at_proposal
    sampler = Sampler(space, kind, seed)
    for trial, event in ledger.proposals.items():
        sampler.accept(trial, event.values)
    _tell(sampler, observed[:scored], endings[:ended])
    proposal = sampler.proposal()
    _tell(sampler, observed[scored:], endings[ended:])
    return sampler, proposal


def _tell(sampler: Sampler, observed: Iterable[Observed], endings: Iterable[Ended]) -> None:
    for event in observed:
        sampler.observe(event.observations)
    for ending in endings:
        sampler.fail(ending.trial) if ending.status == "failed" else sampler.end(ending.trial)
