"""Which checkpoint to take, how sure that is, what the next ones would cost, and which are as good for all we know.

Two sources say how sure. A confirmation has trained its candidates with other seeds: draws of its posterior
(`analysis/racing.py`). Without one there are the panel's cells behind each mean: drawn again, with replacement and the
same for all candidates, plain and hard poses by themselves, so that what is hard about a cell is hard for all of them.
That is the panel's part of the luck; the seed's is not in it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analysis.confirmed import Confirmation, Confirmed
from analysis.differences import Difference, signed, to_json
from analysis.effects import expanded
from analysis.pareto import Floats, knee, non_dominated, rank_layers
from analysis.preference import Preference, preferred
from analysis.racing import posterior
from spaces import Objective, Observation, Space, front_losses, to_losses

DRAWS = 400
MOST = 80
"""Contenders at most: the front and the layers behind it, from which a member of a drawn front may come."""
Source = Literal["seeds", "cells", "none"]
Rule = Callable[[Floats], int | None]
_RARE = 0.05
_GRADED = "pose_hard"
"""The score whose cells tell hard poses from plain ones."""


@dataclass(frozen=True, eq=False)
class Contest:
    """Who is on the front, or might be."""

    members: Sequence[Observation]
    """K, as the search scored them."""
    losses: Floats
    """K x m: as scored, or a confirmation's means."""
    front: NDArray[np.bool_]
    drawn: Floats | None
    """Draws x K x m, each a world that is as likely as the others; None where nothing says how sure the scores are."""
    source: Source
    ends: tuple[float, float]
    """The percentiles of draws that are a 95 % interval."""


@dataclass(frozen=True)
class Contender:
    """One that the choice could have been."""

    key: tuple[str, int, str]
    name: str
    scores: Mapping[str, float]
    """The objectives, as scored or, after a confirmation, its means."""
    on_front: bool
    front: float | None
    """In how many of the draws it is on the front, 0 to 1."""
    picked: float | None
    """In how many it is what the rule picks: the knee, or the best by a preference."""
    versus: Mapping[str, Difference]
    """By objective, this less the pick."""

    @property
    def alike(self) -> bool:
        """Whether no objective tells it from the pick."""
        known = all(each.low is not None for each in self.versus.values())
        return known and not any(each.clear for each in self.versus.values())


@dataclass(frozen=True)
class Exchange:
    """What a step along the front, to the neighbour that is worse in the first objective, gives and costs."""

    start: str
    end: str
    changes: Mapping[str, Difference]
    """By objective, the end less the start."""
    rate: float | None
    """What is gained in the second objective for each unit that the first gives up; None with more objectives."""


@dataclass(frozen=True)
class Choice:
    """The checkpoint to take, and why."""

    pick: Observation
    """As the search scored it."""
    prefer: Preference | None
    """By what; None is the knee."""
    source: Source
    """Where the draws are from: a confirmation, the panel's cells, or there are none."""
    draws: int
    contenders: tuple[Contender, ...]
    """The pick first, then the front, then those behind it; each by how often it would be the pick."""
    exchanges: tuple[Exchange, ...]
    """Along the front, from the best in the first objective on; with three objectives or more, from the pick to each
    other member."""

    @property
    def picked(self) -> Contender:
        return self.contenders[0]

    @property
    def alike(self) -> list[Contender]:
        """The rivals that nothing tells from the pick."""
        return [each for each in self.contenders[1:] if each.alike]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "pick": self.picked.name,
            "rule": "knee" if self.prefer is None else str(self.prefer),
            "source": self.source,
            "draws": self.draws,
            "contenders": [
                {
                    "name": each.name, "trial": each.key[0], "steps": each.key[1], "label": each.key[2],
                    "scores": dict(each.scores), "on_front": each.on_front, "front": each.front,
                    "picked": each.picked, "alike": each.alike, "versus": to_json(each.versus),
                }
                for each in self.contenders
            ],
            "exchanges": [
                {"from": each.start, "to": each.end, "changes": to_json(each.changes), "rate": each.rate}
                for each in self.exchanges
            ],
            "why": list(recommend(self)),
        }  # fmt: skip


def choose(
    observations: Sequence[Observation],
    space: Space,
    confirmation: Confirmation | None = None,
    prefer: Preference | None = None,
    seed: int = 0,
) -> Choice | None:
    """The knee, or the best by a preference, of the confirmed front if there is one; None where there is no front."""
    rule = knee if prefer is None else partial(preferred, weights=prefer.weights)
    contest = contest_of(observations, space, confirmation, seed)
    at = rule(np.where(contest.front[:, None], contest.losses, np.nan))
    if at is None:
        return None
    return Choice(
        contest.members[at],
        prefer,
        contest.source,
        0 if contest.drawn is None else len(contest.drawn),
        _contenders(contest, at, rule, space.objectives),
        _exchanges(contest, at, space.objectives),
    )


def contest_of(
    observations: Sequence[Observation], space: Space, confirmation: Confirmation | None = None, seed: int = 0
) -> Contest:
    """The candidates of a confirmation that has a front, else the front as scored and the layers behind it."""
    objectives = space.objectives
    if confirmation is not None and confirmation.front:
        by_key = {o.key: o for o in observations}
        tried = [c for c in confirmation.candidates if c.means and c.verdict != "off" and not c.missed]
        losses, front = to_losses(objectives, [c.means for c in tried]), np.array([c.on_front for c in tried])
        drawn = _of_seeds(tried, len(objectives), seed)
        members, ends, source = [by_key[c.key] for c in tried], (0.025, 0.975), "seeds"
    else:
        members, losses = _near_front(observations, space)
        front = non_dominated(losses)
        drawn = _of_cells(members, losses, objectives, np.random.default_rng(seed))
        cells = [len(values) for values in members[0].cells.values()] if members else []
        ends, source = expanded(max([2, *cells])), "cells"
    return Contest(members, losses, front, drawn, "none" if drawn is None else source, ends)


def recommend(choice: Choice) -> tuple[str, str, str]:
    """Why this one, what the next ones on the front would give and cost, and which nothing tells from it."""
    return _why(choice), _cost(choice), _rivals(choice)


def _near_front(observations: Sequence[Observation], space: Space) -> tuple[list[Observation], Floats]:
    """The front and whole layers behind it, at most `MOST` with those; the front is never cut."""
    losses = front_losses(space.objectives, space.requirements, [o.scores for o in observations])
    complete = np.flatnonzero(~np.isnan(losses).any(axis=1))
    ranks = rank_layers(losses[complete])
    sizes = np.cumsum(np.bincount(ranks)) if len(ranks) else np.zeros(0)
    layers = max(1, int((sizes <= MOST).sum()))
    kept = complete[ranks < layers]
    return [observations[i] for i in kept], losses[kept]


def _of_cells(
    members: Sequence[Observation], losses: Floats, objectives: Sequence[Objective], generator: np.random.Generator
) -> Floats | None:
    """Losses over panels whose cells are drawn again, draws x K x m; an objective without cells stays as it is. None
    where no objective has two cells or more, the same for all.
    """
    if not members:
        return None
    drawn = np.repeat(losses[None], DRAWS, axis=0)
    count = max((len(values) for values in members[0].cells.values()), default=0)
    weights, found = _resampled(members[0], count, generator), False
    for k, objective in enumerate(objectives):
        cells = [o.cells.get(objective.name, []) for o in members]
        if count < 2 or any(len(values) != count for values in cells):
            continue
        values = np.array(cells, dtype=float)
        there = np.isfinite(values)
        if there.sum(axis=1).min() < 2:
            continue
        total = weights @ there.T
        means = weights @ np.where(there, values, 0.0).T / np.where(total > 0, total, np.nan)
        span = objective.nadir - objective.ideal
        drawn[:, :, k] = np.where(np.isfinite(means), (means - objective.ideal) / span, losses[:, k])
        found = True
    return drawn if found else None


def _resampled(of: Observation, count: int, generator: np.random.Generator) -> Floats:
    """How often each of the panel's cells is in each draw; as many plain and hard ones as there are."""
    graded = np.array(of.cells.get(_GRADED, [math.nan] * count), dtype=float)
    grades = np.isfinite(graded) if len(graded) == count else np.zeros(count, dtype=bool)
    weights = np.zeros((DRAWS, count))
    for grade in set(grades.tolist()):
        own = np.flatnonzero(grades == grade)
        weights[:, own] = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), DRAWS)
    return weights


def _of_seeds(tried: Sequence[Confirmed], objectives: int, seed: int) -> Floats | None:
    """Draws of the posterior of what was trained again."""
    rounds = max((len(c.rounds) for c in tried), default=0)
    if not rounds or any(len(c.rounds) != rounds for c in tried):
        return None
    losses = np.array([c.rounds for c in tried], dtype=float).reshape(len(tried), rounds, objectives).swapaxes(0, 1)
    drawn = posterior(losses, DRAWS, seed)
    return drawn if np.isfinite(drawn).all() else None


def _contenders(contest: Contest, at: int, rule: Rule, objectives: Sequence[Objective]) -> tuple[Contender, ...]:
    members, losses, drawn = contest.members, contest.losses, contest.drawn
    fronts, picks = None, None
    if drawn is not None:
        fronts = np.mean([non_dominated(each) for each in drawn], axis=0)
        picks = np.bincount([rule(each) for each in drawn], minlength=len(members)) / len(drawn)
    found = [
        Contender(
            o.key,
            o.name,
            _scores(losses[i], objectives),
            bool(contest.front[i]),
            None if fronts is None else float(fronts[i]),
            None if picks is None else float(picks[i]),
            _versus(contest, i, at, objectives),
        )
        for i, o in enumerate(members)
    ]
    key = lambda i: (i != at, not contest.front[i], -(found[i].picked or 0.0), *losses[i])  # noqa: E731
    return tuple(found[i] for i in sorted(range(len(found)), key=key))


def _versus(contest: Contest, i: int, j: int, objectives: Sequence[Objective]) -> dict[str, Difference]:
    """The scores of i less those of j."""
    found = {}
    for k, objective in enumerate(objectives):
        span = objective.nadir - objective.ideal
        value, ends = float((contest.losses[i, k] - contest.losses[j, k]) * span), (None, None)
        if contest.drawn is not None:
            ends = np.quantile((contest.drawn[:, i, k] - contest.drawn[:, j, k]) * span, contest.ends).tolist()
        found[objective.name] = Difference(value + 0.0, *ends)
    return found


def _exchanges(contest: Contest, at: int, objectives: Sequence[Objective]) -> tuple[Exchange, ...]:
    losses, front = contest.losses, np.flatnonzero(contest.front)
    along = front[np.lexsort(losses[front].T[::-1])].tolist()
    pairs = list(pairwise(along)) if len(objectives) == 2 else [(at, i) for i in along if i != at]
    spans = [abs(o.nadir - o.ideal) for o in objectives]
    found = []
    for i, j in pairs:
        lost, gained = (losses[j, 0] - losses[i, 0]) * spans[0], (losses[i, 1] - losses[j, 1]) * spans[1]
        rate = float(gained / lost) if len(objectives) == 2 and lost > 0 else None
        names = contest.members[i].name, contest.members[j].name
        found.append(Exchange(*names, _versus(contest, j, i, objectives), rate))
    return tuple(found)


def _scores(losses: Floats, objectives: Sequence[Objective]) -> dict[str, float]:
    return {o.name: float(o.ideal + loss * (o.nadir - o.ideal)) for o, loss in zip(objectives, losses, strict=True)}


def _why(choice: Choice) -> str:
    pick = choice.picked
    scores = " and ".join(f"{name} {value:.3f}" for name, value in pick.scores.items())
    whose = "confirmed front" if choice.source == "seeds" else "front"
    alone = sum(each.on_front for each in choice.contenders) == 1
    role = (f"all of the {whose}" if alone else f"the {whose}'s knee" if choice.prefer is None
            else f"the {whose}'s best for {choice.prefer}")  # fmt: skip
    said = f"{pick.name} is {role}: {scores}"
    if pick.picked is None:
        return f"{said}."
    of = "draws of the confirmation's posterior" if choice.source == "seeds" else "panels of resampled pictures"
    second = max(choice.contenders[1:], key=lambda each: each.picked, default=None)
    next_ = f", {second.name} in {second.picked:.0%}" if second and second.picked >= _RARE else ""
    return f"{said}; so it is in {pick.picked:.0%} of {choice.draws} {of}{next_}."


def _cost(choice: Choice) -> str:
    """Of the steps along the front that begin or end at the pick."""
    name, said = choice.picked.name, []
    for each in choice.exchanges:
        if name in (each.start, each.end):
            other, sign = (each.end, 1) if each.start == name else (each.start, -1)
            moved = ", ".join(f"{of} {signed(sign * change.value)}" for of, change in each.changes.items())
            said.append(f"{other} ({moved}{_rate(choice, each, sign)})")
    if not said:
        return "Nothing else is on the front: there is nothing to trade."
    return f"Next to it on the front: {'; '.join(said[:3])}."


def _rate(choice: Choice, each: Exchange, sign: int) -> str:
    if each.rate is None:
        return ""
    first, second = choice.picked.scores
    return (
        f": {first} given up buys {each.rate:.2g} x {second}"
        if sign > 0
        else f": {first} costs {each.rate:.2g} x {second}"
    )


def _rivals(choice: Choice) -> str:
    if choice.source == "none":
        return "How sure that is cannot be said: there is one picture of each, or none is kept."
    by = "other seeds" if choice.source == "seeds" else "the panel's pictures"
    more = "" if choice.source == "seeds" else " Other seeds: `posefront confirm`."
    alike = [each.name for each in choice.alike]
    if not alike:
        rivals = len(choice.contenders) - 1
        return f"By {by} each of the {rivals} rivals differs from it in an objective.{more}" if rivals else more.strip()
    rest = f" and {len(alike) - 4} more" if len(alike) > 4 else ""
    return f"Not told from it by {by}: {', '.join(alike[:4])}{rest}.{more}"
