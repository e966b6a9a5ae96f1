"""A sweep as Ray sees it, without Ray: what to run next, and what a result means."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

import numpy as np

from search.ahead import begun
from search.attempts import MAX_FAILURES, Assignment, Attempts
from search.config import SamplerKind
from search.journal import Ended, Event, Keeper, Ledger, Observed, Proposed
from search.rungs import Decision, Rule
from search.sampler import Sampler
from search.standings import Standings
from spaces import Observation, Recipe, Space

REPEATS = 20
"""How often a recipe that was tried already is proposed anew, before it is taken as it is."""

_New = tuple[Recipe, dict[str, Any]]


class SweepState(Attempts):
    """Sampler, rungs and journal of one sweep."""

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
        super().__init__(journal, notify, clock, max_failures, note)
        self.rule, self.seed, self.trials = rule, seed, trials
        ledger = journal.ledger
        self.sampler, self._proposal = _replayed(ledger, space, sampler_kind, seed)
        self._coming: Future[_New] | None = None
        self._ahead = False
        self._standings = Standings(rule)
        for event in ledger.observed.values():
            self._standings.add(event.observations)
        self._tried = {event.recipe for event in ledger.proposals.values()}
        self._take_up()

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

    def _new_trial(self) -> Assignment | None:
        number = len(self.ledger.proposals) + 1
        if number > self.trials:
            return None
        recipe, values = self._coming.result() if self._coming else self._new_recipe(self.sampler.proposal())
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        assignment = Assignment(f"t{number:04d}", recipe, seed, values)
        self._append(Proposed(self._clock(), assignment.trial, recipe, values, seed))
        if self._ahead:
            self._proposal = self.sampler.proposal()
            self._draw_next()
        return assignment

    def _decide(self, checkpoint: tuple[Observation, ...]) -> Decision:
        return self._standings.decide(checkpoint)

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

    def _heard(self, event: Event) -> None:
        match event:
            case Proposed(trial=trial, values=values, recipe=recipe):
                self.sampler.accept(trial, values)
                self._tried.add(recipe)
            case Observed(observations=checkpoint):
                self.sampler.observe(checkpoint)
            case Ended(trial=trial, status=status):
                self.sampler.fail(trial) if status == "failed" else self.sampler.end(trial)


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
