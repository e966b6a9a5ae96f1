"""A confirmation as Ray sees it, without Ray: rounds of one seed for all that is undecided, until nothing is."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.racing import Odds, Verdict, odds, verdicts
from search.confirm.choose import FIRST, Search
from search.journal import Candidate, Chosen, Event, Judged, Keeper, Ledger, Proposed, Status
from search.rungs import Continue, Decision, Rule, Stop, not_finite
from search.trials.attempts import MAX_FAILURES, Assignment, Attempts
from spaces import Objective, Observation, to_losses

_STREAM = 5
"""Sets these seeds' stream apart from that of the search's trials."""


@dataclass(frozen=True)
class Training:
    """One recipe, trained once with one seed."""

    round: int
    """From 1."""
    candidates: tuple[Candidate, ...]
    """Of one recipe: what it is scored for."""

    @property
    def trial(self) -> str:
        """The same recipe and round have the same name in any confirmation of a sweep, and so the same seed."""
        return f"c{self.round:02d}-{self.candidates[0].trial}"

    @property
    def score(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """Steps, and the labels that are wanted there."""
        steps = sorted({c.steps for c in self.candidates})
        return tuple((at, tuple(c.label for c in self.candidates if c.steps == at)) for at in steps)


class ConfirmState(Attempts):
    """The rounds of one confirmation. What comes next follows from its journal and the search's alone.

    The first round has `FIRST` seeds, each later one one; then all scores are looked at. A round takes in what is
    undecided, the least certain first, as long as the seconds last.
    """

    def __init__(
        self,
        search: Search,
        rule: Rule,
        objectives: Sequence[Objective],
        seed: int,
        journal: Keeper,
        notify: Callable[[Event], None],
        clock: Callable[[], float],
        max_failures: int = MAX_FAILURES,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`seed` is the sweep's. The journal has the candidates already."""
        super().__init__(journal, notify, clock, max_failures, note)
        self.rule, self._search, self._objectives, self._seed = rule, search, objectives, seed
        self.chosen: Chosen = journal.ledger.chosen
        self._round: list[Training] | None = None
        self._take_up()
        self._advance()

    @property
    def left(self) -> int:
        """At most: fewer where racing ends some, or the seconds end all."""
        if self.over:
            return 0
        return self.chosen.seeds * len(self._groups) - len(self.ledger.proposals) + len(self._waiting)

    @property
    def done(self) -> bool:
        return self.over is not None

    @property
    def over(self) -> str | None:
        if self.ledger.unfinished or self._left_of_round:
            return None
        if not (open_ := [c for c in self.chosen.candidates if self.verdicts[c.name] == "open"]):
            return "all decided"
        if not self.ledger.judged:
            return None
        tried = Counter(event.values["of"] for event in self.ledger.proposals.values())
        groups = self._search.trainings(self.chosen.candidates)
        short = any(tried[g[0].trial] < self.chosen.seeds for g in groups if any(c in open_ for c in g))
        why = "when the share was spent" if short else f"after {self.chosen.seeds} seeds"
        return f"{len(open_)} undecided {why}"

    @property
    def waits(self) -> bool:
        """A round waits for all its trainings."""
        return self._halted is None and self.over is None

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """By candidate's name."""
        latest = self.ledger.judged[-1].verdicts if self.ledger.judged else {}
        return {c.name: latest.get(c.name, "open") for c in self.chosen.candidates}

    def look_ahead(self, patience: float | None = None) -> None:
        """What comes next is known."""

    def training_seed(self, round: int) -> int:
        """Of all trainings of a round, from 1. None of them is a seed of the search's trials, or another round's."""
        words = np.random.SeedSequence([self._seed, _STREAM, 0]).generate_state(round + len(self._search.seeds) + 1)
        fresh = [int(word) for word in dict.fromkeys(words) if int(word) not in self._search.seeds]
        return fresh[round - 1]

    def _heard(self, event: Event) -> None:
        """Nothing is kept beside the ledger."""

    def _end(self, trial: str, status: Status, reason: str) -> None:
        super()._end(trial, status, reason)
        if self._round is not None:  # else the journal is still being taken up
            self._advance()

    def _new_trial(self) -> Assignment | None:
        for training in self._left_of_round:
            candidate, seed = training.candidates[0], self.training_seed(training.round)
            values = {"round": training.round, "of": candidate.trial, "score": [list(s) for s in training.score]}
            event = Proposed(self._clock(), training.trial, self._search.recipe(candidate), values, seed)
            self._append(event)
            return self._assignment(event)
        return None

    def _assignment(self, event: Proposed) -> Assignment:
        return Assignment(event.trial, event.recipe, event.seed, event.values, score_of(event))

    def _decide(self, checkpoint: tuple[Observation, ...]) -> Decision:
        broken = not_finite(checkpoint, self.rule)
        if broken is not None:
            return broken
        wanted = [steps for steps, _ in score_of(self.ledger.proposals[checkpoint[0].trial])]
        at = wanted.index(checkpoint[0].steps) + 1
        return Continue(at, len(wanted)) if at < len(wanted) else Stop("finished", "scored at all that it is for")

    def _advance(self) -> None:
        """Looks at the scores as often as a round is over, and sets up the next."""
        self._round = self._next_round()
        while self._round and not self.ledger.unfinished and not self._left_of_round:
            self._judge()
            self._round = self._next_round()

    @property
    def _left_of_round(self) -> list[Training]:
        return [t for t in self._round or () if t.trial not in self.ledger.proposals]

    def _judge(self) -> None:
        seen = standing(self.chosen, self.ledger, self._search, self._objectives)
        failed = failures(self.chosen, self.ledger, self._search)
        before: list[Verdict] = ["off" if c.name in failed else self.verdicts[c.name] for c in self.chosen.candidates]
        after = verdicts(before, seen, self.chosen.alpha)
        names = [c.name for c in self.chosen.candidates]
        chances = [None if math.isnan(chance) else float(chance) for chance in seen.chances]
        self._append(
            Judged(self._clock(), dict(zip(names, after, strict=True)), dict(zip(names, chances, strict=True)))
        )

    def _next_round(self) -> list[Training]:
        """The trainings between the last look and the next; none when it is over."""
        looks, most = len(self.ledger.judged), self.chosen.seeds
        rounds = range(1, min(FIRST, most) + 1) if looks == 0 else range(FIRST + looks, min(FIRST + looks, most) + 1)
        chances = self.ledger.judged[-1].chances if looks else {}
        groups = self._search.trainings([c for c in self.chosen.candidates if self.verdicts[c.name] == "open"])
        groups.sort(key=lambda group: min(_certainty(chances.get(c.name)) for c in group))
        seconds = self.chosen.seconds - self._spent(before=rounds.start)
        affordable = list[list[Candidate]]()
        for group in groups:
            price = len(rounds) * self._search.price(group)
            if looks == 0 or price <= seconds:  # the first round is what was chosen by
                affordable.append(group)
                seconds -= price
        return [Training(number, tuple(group)) for number in rounds for group in affordable]

    def _spent(self, before: int) -> float:
        """Seconds that the rounds before one took."""
        rounds = {trial: event.values["round"] for trial, event in self.ledger.proposals.items()}
        return sum(o.cost.total for o in self.ledger.table if rounds[o.trial] < before)

    @cached_property
    def _groups(self) -> list[list[Candidate]]:
        return self._search.trainings(self.chosen.candidates)


def _certainty(chance: float | None) -> float:
    return 0.0 if chance is None else abs(chance - 0.5)


def score_of(event: Proposed) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """Where a training of a confirmation is scored."""
    return tuple((int(steps), tuple(labels)) for steps, labels in event.values["score"])


def standing(chosen: Chosen, ledger: Ledger, search: Search, objectives: Sequence[Objective]) -> Odds:
    """What a confirmation's scores say of its candidates, those whose trainings failed left out."""
    losses, failed = repeated(chosen, ledger, search, objectives), failures(chosen, ledger, search)
    losses[:, [c.name in failed for c in chosen.candidates]] = np.nan
    return odds(losses)


def repeated(chosen: Chosen, ledger: Ledger, search: Search, objectives: Sequence[Objective]) -> np.ndarray:
    """The losses of every round, candidate and objective; NaN where a candidate was not scored."""
    places = {(search.recipe(c), c.steps, c.label): i for i, c in enumerate(chosen.candidates)}
    rounds = {trial: event.values["round"] for trial, event in ledger.proposals.items()}
    losses = np.full((max(rounds.values(), default=0), len(places), len(objectives)), np.nan)
    rows = to_losses(objectives, [o.scores for o in ledger.table])
    for o, row in zip(ledger.table, rows, strict=True):
        place = places.get((o.recipe, o.steps, o.label))
        if place is not None:
            losses[rounds[o.trial] - 1, place] = row
    return losses


def failures(chosen: Chosen, ledger: Ledger, search: Search) -> dict[str, str]:
    """Why, by name, of candidates that a training of theirs did not reach."""
    found: dict[str, str] = {}
    for trial, ending in ledger.endings.items():
        event = ledger.proposals[trial]
        for candidate in chosen.candidates if ending.status == "failed" else ():
            wanted = dict(score_of(event)).get(candidate.steps, ()) if search.recipe(candidate) == event.recipe else ()
            if candidate.label in wanted and candidate.steps > ending.steps:
                found[candidate.name] = ending.reason
    return found
