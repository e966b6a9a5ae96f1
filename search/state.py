"""A sweep as Ray sees it, without Ray: what to run next, and what a result means."""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from typing import Any

import numpy as np

from search.budget import SPENT, Gpus, Meter, Plan
from search.config import SamplerKind
from search.decisions.standings import Standings
from search.journal import Cause, Ended, Event, Keeper, Ledger, Observed, Promoted, Proposed
from search.proposals.ahead import begun
from search.rungs import Continue, Decision, Rule, RunAll, Stop
from search.sampler import Sampler
from search.trials.attempts import MAX_FAILURES, Assignment, Attempts
from spaces import Observation, Recipe, Space

REPEATS = 20
"""How often a recipe that was tried already is proposed anew, before it is taken as it is."""
NO_END = 1_000_000_000
"""So many trials are left where no number bounds them."""
PATIENCE = 0.01
"""Seconds that a driver, which has others to see to, waits for a proposal that is still being drawn."""

_New = tuple[Recipe, dict[str, Any]]


class SweepState(Attempts):
    """Sampler, rungs and journal of one sweep."""

    def __init__(
        self,
        space: Space,
        rule: Rule,
        sampler_kind: SamplerKind,
        seed: int,
        trials: int | Plan,
        journal: Keeper,
        notify: Callable[[Event], None],
        clock: Callable[[], float] = time.time,
        max_failures: int = MAX_FAILURES,
        note: Callable[[str], None] = lambda text: None,
        gpus: Gpus = 0.0,
    ) -> None:
        """`trials`: how many, or all bounds of the sweep as it began; `gpus` of a trial is what a budget counts by."""
        super().__init__(journal, notify, clock, max_failures, note)
        self.rule, self.seed = rule, seed
        self._told_spent = False
        self._meter = Meter(trials if isinstance(trials, Plan) else Plan(trials), gpus)
        ledger = journal.ledger
        self.sampler, self._proposal = _replayed(ledger, space, sampler_kind, seed)
        self._coming: Future[_New] | None = None
        self._ahead = self._late = False
        self._patience: float | None = None
        self._standings = Standings(rule)
        for event in ledger.observed.values():
            self._standings.add(event.observations)
        self._tried = {event.recipe for event in ledger.proposals.values()}
        self._promotes = not isinstance(rule, RunAll) and rule.promote
        self._take_up()
        self._leave_behind()

    @property
    def left(self) -> int:
        """How many trials are yet to be handed out, at most; of a sweep without a number of them very many. One that is
        promoted is handed out again."""
        if self._spent:
            return 0
        if not self._promotes:
            return len(self._waiting) + self._unproposed
        return len(self.rule.rungs) * (self.ledger.running + len(self.ledger.paused) + self._unproposed)

    @property
    def waits(self) -> bool:
        """Whether something runs, and then it or another may be promoted, or the next proposal be there."""
        if self._halted is not None or self._spent or not self.ledger.running:
            return False
        return self._promotes or self._late

    @property
    def done(self) -> bool:
        return self.over is not None

    @property
    def over(self) -> str | None:
        """How the sweep has ended, in words; None while there is something left to do."""
        return self._meter.over(self.ledger, self._now)

    def record(self, result: Mapping[str, Any]) -> Decision:
        """As for any trial; one that would go on is held at its rung when the budget is spent."""
        decision = super().record(result)
        return Stop("stopped", SPENT) if isinstance(decision, Continue) and self._spent else decision

    def look_ahead(self, patience: float | None = None) -> None:
        """From now on each proposal is drawn in the background, as soon as the one before it is handed out.

        It is drawn from the table as it is at that moment, so still the same journal gives the same proposal,
        after an interruption too; what is scored while it waits counts for the next one, as if one more trial ran.
        It makes no difference to it either how long it took, or how often it was asked for before it was there.
        """
        self._ahead, self._patience = True, patience
        self._draw_next()

    def lost(self, trial: str, cause: Cause, reason: str) -> bool:
        """As for any trial; when the budget is spent it waits for more."""
        return super().lost(trial, cause, reason) and not self._spent

    @property
    def _now(self) -> float | None:
        """Asked for only where the clock bounds the sweep."""
        return None if self._meter.plan(self.ledger).seconds is None else self._clock()

    @property
    def _spent(self) -> bool:
        spent = self._meter.spent(self.ledger, self._now)
        if spent and not self._told_spent:
            self._told_spent = True
            self._note(f"{SPENT} ({self._meter.in_words(self.ledger)}): what runs is scored at its next rung and held")
        return spent

    @property
    def _unproposed(self) -> int:
        trials = self._meter.plan(self.ledger).trials
        return NO_END if trials is None else max(0, trials - len(self.ledger.proposals))

    def _next_trial(self) -> Assignment | None:
        if self._spent:
            return None
        given = None if self._waiting else self._promoted()
        given = given or super()._next_trial()
        if given is None:
            self._leave_behind()
        return given

    def _promoted(self) -> Assignment | None:
        """The paused trial that goes on now, journalled. It starts from its checkpoint, as after any interruption."""
        if not self.ledger.paused:
            return None
        least = int(not self._unproposed and not self.ledger.running)  # else there may be enough of a rung yet
        chosen = self._standings.promotion(self.ledger.paused, self.ledger.gone_on, least)
        if chosen is None:
            return None
        self._append(Promoted(self._clock(), chosen.trial, chosen.steps, chosen.place, chosen.of))
        return self._assignment(self.ledger.proposals[chosen.trial])

    def _leave_behind(self) -> None:
        """Ends what is paused once nothing runs, nobody may be promoted and there are no more recipes to come."""
        ledger = self.ledger
        if not ledger.paused or self._unproposed or self._spent or ledger.running:
            return
        if self._standings.promotion(ledger.paused, ledger.gone_on, least=1) is None:
            for trial, reason in self._standings.left_behind(ledger.paused).items():
                self._end(trial, "stopped", reason)

    def _new_trial(self) -> Assignment | None:
        number = len(self.ledger.proposals) + 1
        self._late = bool(self._unproposed and self._coming and self.ledger.running and not self._drawn(self._coming))
        if not self._unproposed or self._late:
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
        if self._promotes:
            return self._standings.pause_or_go_on(checkpoint, self.ledger.paused, self.ledger.gone_on)
        return self._standings.decide(checkpoint)

    def _draw_next(self) -> None:
        proposal = self._proposal
        self._coming = begun(lambda: self._new_recipe(proposal)) if self._unproposed else None

    def _drawn(self, coming: Future[_New]) -> bool:
        return bool(wait([coming], self._patience).done)

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
    for event in ledger.learned:
        sampler.learn(event.name, event.values, event.observations)
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
