"""Which paused trial goes on next: pure, over the table and the trials that are paused. No state, no Ray, no clock.

Asynchronous successive halving as published (Li et al. 2020, 1810.05934, algorithm 2): every trial is paused at its
rung, and who is free takes the best that may go on, from the highest rung down, before a new recipe is begun. So the
first to arrive do not pass however bad they are, and who was second of three goes on once that is second of thirty.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from search.decisions.trajectories import Trajectories, none_left, over
from search.rungs import Continue, Decision, Pause, Promise, Rule, RunAll, not_finite, one_in, outranked, ranking
from spaces import Observation


@dataclass(frozen=True)
class Promotion:
    """A paused trial goes on."""

    trial: str
    steps: int
    """The rung that it was paused at."""
    place: int
    """Its place there now, 1 is the best."""
    of: int
    """How many trials were there, itself included."""


class Ranked(Protocol):
    """The rungs of a sweep, ranked."""

    def count(self, steps: int) -> int:
        """How many trials are at a rung."""

    def ranking(self, steps: int) -> Iterable[str]:
        """Their names, best first."""

    def place(self, trial: str, steps: int) -> int:
        """That of a trial in the ranking, 1 is the best."""

    def may_add(self, trial: str, steps: int) -> bool:
        """Whether a trial that is there may still add to the front, as far as the rule asks."""


def allowed(trials: int, eta: float, least: int = 0) -> int:
    """How many of a rung's trials may go on: floor(n / eta), in exact arithmetic on eta as it is written.

    Unlike `rungs.quota` none of too few: they wait until there are enough. Where no more can come, `least` is 1.
    """
    return max(min(least, trials), one_in(eta, trials))


def choose(
    ranked: Ranked, rule: Rule, paused: Mapping[str, int], gone_on: Mapping[int, int], least: int = 0
) -> Promotion | None:
    """The trial to be promoted, None where none may be.

    `paused` has each paused trial's rung, `gone_on` how many went on from each. A trial may go on that is in place, of
    a rung from which fewer went on than may, and that may still add to the front if the rule asks for that. Those
    that went on and were passed since keep their share: no rung lets more through than one in eta. The first layer
    has no privilege, since nobody is stopped here.
    """
    if isinstance(rule, RunAll):
        return None
    for steps in reversed(rule.rungs[:-1]):
        of = ranked.count(steps)
        most = allowed(of, rule.eta, least)
        if gone_on.get(steps, 0) >= most:
            continue
        for place, trial in enumerate(islice(ranked.ranking(steps), most), start=1):
            if paused.get(trial) == steps and ranked.may_add(trial, steps):
                return Promotion(trial, steps, place, of)
    return None


def pause_or_go_on(
    ranked: Ranked, checkpoint: Sequence[Observation], rule: Rule, paused: Mapping[str, int], gone_on: Mapping[int, int]
) -> Decision:
    """What becomes of a trial whose finite checkpoint is in its rung.

    The one that would be promoted next goes on as it is: its worker is free, and has it already.
    """
    trial, steps = checkpoint[0].trial, checkpoint[0].steps
    of = ranked.count(steps)
    following = choose(ranked, rule, {**paused, trial: steps}, gone_on)
    if following is not None and following.trial == trial:
        return Continue(following.place, of)
    return Pause(ranked.place(trial, steps), of)


def left_behind(ranked: Ranked, rule: Rule, paused: Mapping[str, int], least: int = 1) -> dict[str, str]:
    """Why each of the paused trials does not go on, when nothing more will come."""
    reasons: dict[str, str] = {}
    for steps in sorted(set(paused.values())):
        of = ranked.count(steps)
        most = allowed(of, rule.eta, least)
        for place, trial in enumerate(ranked.ranking(steps), start=1):
            if paused.get(trial) != steps:
                continue
            if place > most:
                reasons[trial] = outranked(place, of, steps, most)
            elif not ranked.may_add(trial, steps):
                reasons[trial] = none_left(steps)
            else:
                reasons[trial] = f"place {place} of {of} at {steps} steps, {most} may go on and went before it"
    return {trial: reasons[trial] for trial in paused}


class Table:
    """The rungs of a table of observations, ranked anew each time: what `search.decisions.standings` keeps up."""

    def __init__(self, table: Sequence[Observation], rule: Rule) -> None:
        self._rule = rule
        rows = list({o.key: o for o in table}.values())
        self._rows = [o for o in rows if not_finite([o], rule) is None]
        self._trajectories: Trajectories = over(self._rows, rule.objectives, rule.requirements)

    def count(self, steps: int) -> int:
        return len({o.trial for o in self._rows if o.steps == steps})

    def ranking(self, steps: int) -> list[str]:
        return ranking([o for o in self._rows if o.steps == steps], self._rule)

    def place(self, trial: str, steps: int) -> int:
        return 1 + self.ranking(steps).index(trial)

    def may_add(self, trial: str, steps: int) -> bool:
        mine = [o for o in self._rows if (o.trial, o.steps) == (trial, steps)]
        return not isinstance(self._rule, Promise) or any(self._trajectories.may_add(o, self._rule.rungs) for o in mine)
