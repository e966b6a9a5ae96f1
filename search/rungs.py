"""Which trials go on: pure decisions over the table of observations. No state, no Ray, no clock."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Literal

import numpy as np

from analysis.pareto import order_selection, rank_layers
from search.decisions.trajectories import Trajectories, none_left, over
from spaces import REFERENCE_LOSS, Objective, Observation, Requirements, Space, ranking_losses

SchedulerKind = Literal["trajectories", "asha-pareto", "asha-scalar", "none"]


@dataclass(frozen=True)
class Continue:
    """The trial trains on to its next rung."""

    place: int
    """Its place at the rung, 1 is the best."""
    of: int
    """How many trials were at the rung, itself included."""


@dataclass(frozen=True)
class Stop:
    """The trial ends here."""

    status: Literal["finished", "stopped", "failed"]
    """Whether it reached the last rung, was outranked, or scored something that is no number."""
    reason: str
    """Why, in one line."""


@dataclass(frozen=True)
class Pause:
    """The trial waits at its rung, to be promoted once it is in place (`search.decisions.promotion`)."""

    place: int
    """Its place at the rung, 1 is the best."""
    of: int
    """How many trials were at the rung, itself included."""


Decision = Continue | Pause | Stop


@dataclass(frozen=True)
class ParetoAsha:
    """Asynchronous successive halving for several objectives.

    A rung is ranked by non-dominated layer, inside a layer by hypervolume; one in eta goes on. A trial on the
    first layer is never stopped for its rank alone: that nothing beats it is all that can be known of it.
    A checkpoint that was drawn in several ways is at the place of its best observation, and goes on if any would.
    """

    objectives: tuple[Objective, ...]
    """What is traded."""
    rungs: tuple[int, ...]
    """Step counts, increasing."""
    eta: float
    """One in eta trials of a rung goes on."""
    requirements: Requirements = ()
    """What is behind all else where it is not met."""
    promote: bool = False
    """Whether trials that are outranked are paused, not stopped (`search.decisions.promotion`)."""


@dataclass(frozen=True)
class Promise:
    """Successive halving for several objectives, of trials that may still add to the front.

    A rung is ranked as by ParetoAsha, and one in eta goes on. A first layer that is larger than that has no privilege:
    with noise, and with three objectives, nearly all are on it, and what each adds to the others' volume decides. Of
    those in place a trial stops whose curve, going on from here as the best of the others' did, adds nothing to the
    present front, and one that is past its best.
    """

    objectives: tuple[Objective, ...]
    """What is traded."""
    rungs: tuple[int, ...]
    """Step counts, increasing."""
    eta: float
    """One in eta trials of a rung goes on."""
    requirements: Requirements = ()
    """What is behind all else where it is not met."""
    promote: bool = False
    """Whether trials that are outranked are paused, not stopped (`search.decisions.promotion`)."""


@dataclass(frozen=True)
class ScalarAsha:
    """Asynchronous successive halving (Li et al. 2020, 1810.05934) on the mean of the losses, as a baseline."""

    objectives: tuple[Objective, ...]
    """What is averaged, with equal weights."""
    rungs: tuple[int, ...]
    """Step counts, increasing."""
    eta: float
    """One in eta trials of a rung goes on."""
    requirements: Requirements = ()
    """What is behind all else where it is not met."""
    promote: bool = False
    """Whether trials that are outranked are paused, not stopped (`search.decisions.promotion`)."""


@dataclass(frozen=True)
class RunAll:
    """Every trial reaches the last rung."""

    objectives: tuple[Objective, ...]
    """What has to be a number."""
    rungs: tuple[int, ...]
    """Step counts, increasing."""
    requirements: Requirements = ()
    """What has to be a number too."""


Rule = ParetoAsha | Promise | ScalarAsha | RunAll


def rule_for(kind: SchedulerKind, space: Space, promote: bool = False) -> Rule:
    """The rule that `--scheduler` names, over a space's objectives and rungs; `none` pauses no trial either."""
    if kind == "none":
        return RunAll(space.objectives, space.rungs, space.requirements)
    rules = {"trajectories": Promise, "asha-pareto": ParetoAsha, "asha-scalar": ScalarAsha}
    return rules[kind](space.objectives, space.rungs, space.eta, space.requirements, promote)


def decide(table: Sequence[Observation], checkpoint: Sequence[Observation], rule: Rule) -> Decision:
    """Whether the trial behind the observations of one checkpoint goes on, given all observations so far.

    Only the finite observations with the same steps count; it makes no difference whether `table` holds the
    checkpoint already, nor in which order it is. As in ASHA a rung is not waited for: the first to arrive
    find nobody to be worse than and pass, however bad they are, so early rungs let through more than one in eta.
    """
    broken = not_finite(checkpoint, rule)
    if broken is not None:
        return broken
    trial, steps = checkpoint[0].trial, checkpoint[0].steps
    losses, trials = _rung(table, checkpoint, rule)
    order, free = _ranked(losses, rule)
    names = list(dict.fromkeys(trials[i] for i in order))
    on_first = any(free[i] for i, name in enumerate(trials) if name == trial)
    decision = in_place(names.index(trial) + 1, on_first, len(names), steps, rule)
    if isinstance(rule, Promise):
        return promising(decision, checkpoint, over([*table, *checkpoint], rule.objectives, rule.requirements), rule)
    return decision


def promising(
    decision: Decision, checkpoint: Sequence[Observation], trajectories: Trajectories, rule: Promise
) -> Decision:
    """The decision by its place, unless the trial can add nothing any more in any way that it is drawn in."""
    if isinstance(decision, Stop) or any(trajectories.may_add(o, rule.rungs) for o in checkpoint):
        return decision
    return Stop("stopped", none_left(checkpoint[0].steps))


def not_finite(checkpoint: Sequence[Observation], rule: Rule) -> Stop | None:
    """The end of a trial that scored something that is no number, if it did."""
    names = dict.fromkeys(each.name for each in (*rule.objectives, *rule.requirements))
    for observation in checkpoint:
        scores = {name: observation.scores.get(name, math.nan) for name in names}
        if not all(map(math.isfinite, scores.values())):
            named = ", ".join(f"{name} {score}" for name, score in scores.items())
            return Stop("failed", f"scores of {observation.name} are not finite: {named}")
    return None


def in_place(place: int, on_first: bool, of: int, steps: int, rule: Rule) -> Decision:
    """The decision about a trial at a place of its rung; `on_first`: it is on the first layer."""
    if (finished := at_the_end(steps, rule)) is not None:
        return finished
    allowed = of if isinstance(rule, RunAll) else quota(of, rule.eta)
    if place <= allowed or on_first:
        return Continue(place, of)
    return Stop("stopped", outranked(place, of, steps, allowed))


def at_the_end(steps: int, rule: Rule) -> Stop | None:
    """The end of a trial that has reached the last rung, if it has."""
    return Stop("finished", f"reached the last rung, {steps} steps") if steps >= rule.rungs[-1] else None


def outranked(place: int, of: int, steps: int, allowed: int) -> str:
    return f"place {place} of {of} at {steps} steps, {allowed} may go on"


def ranking(rung: Sequence[Observation], rule: Rule) -> list[str]:
    """The trials of a rung, best first, each at the place of its best observation."""
    if not rung:
        return []
    losses, trials = _rung(rung, [rung[0]], rule)
    return list(dict.fromkeys(trials[i] for i in _ranked(losses, rule)[0]))


def quota(trials: int, eta: float) -> int:
    """How many of a rung's trials may go on: floor(n / eta), at least one.

    In exact arithmetic on eta as it is written: 11 / 1.1 is 10, which floats make 9.
    """
    return max(1, one_in(eta, trials))


def one_in(eta: float, trials: int) -> int:
    """floor(n / eta), exactly."""
    top, bottom = _as_written(eta)
    return trials * bottom // top


@cache
def _as_written(eta: float) -> tuple[int, int]:
    return Fraction(str(eta)).as_integer_ratio()


def _rung(table: Sequence[Observation], checkpoint: Sequence[Observation], rule: Rule) -> tuple[np.ndarray, list[str]]:
    """The finite losses at the rung (n x m), in the order of the trials' names and labels, and each row's trial."""
    by_key = {o.key: o for o in table if o.steps == checkpoint[0].steps} | {o.key: o for o in checkpoint}
    rung = [by_key[key] for key in sorted(by_key)]
    losses = ranking_losses(rule.objectives, rule.requirements, [o.scores for o in rung])
    finite = np.isfinite(losses).all(axis=1)
    return losses[finite], [o.trial for o, kept in zip(rung, finite, strict=True) if kept]


def _ranked(losses: np.ndarray, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """Row indices best first, and which rows no rank may stop. Equal rows: the trial with the earlier name first."""
    if isinstance(rule, ParetoAsha | Promise):
        free = rank_layers(losses) == 0 if isinstance(rule, ParetoAsha) else np.zeros(len(losses), dtype=bool)
        return order_selection(losses, np.full(losses.shape[1], REFERENCE_LOSS)), free
    return np.argsort(losses.mean(axis=1), kind="stable"), np.zeros(len(losses), dtype=bool)
