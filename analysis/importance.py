"""What matters: how much each coordinate decides about reaching the front, and about each objective.

Reaching the front: PED-ANOVA (Watanabe, Bansal and Hutter 2023; with conditions, Saito et al. 2026), Optuna's: how
differently the best observations are spread over a field than all that were made. Objectives: fANOVA (Hutter, Hoos and
Leyton-Brown 2014): the share of a random forest's variance that a field explains by itself.

Intervals come from random halves of the trials (McCarthy 1969): for a mean, a half varies as much around the whole as
a bootstrap sample does, and it has no trial twice, which would look like a peak to one method and be learnt by heart
by the other. What chance would give is measured with recipes shuffled among the trials. A search is no experiment: it
tries more of what did well, and this is about what it tried.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from analysis.coordinates import DRAWN, STEPS, Coordinates, coordinates
from analysis.fanova import fractions
from analysis.pareto import Floats, non_dominated, order_selection
from analysis.study import study_of
from spaces import REFERENCE_LOSS, Choice, Observation, Parameter, Space, front_losses, to_losses

HALVES = 12
"""Random halves behind each interval, and shuffled tables behind each level of chance."""
MOST = 600
"""Observations that a forest is grown on; of more, so many are drawn."""
TREES, FEWER = 24, 8
"""Of a forest; and of those behind intervals and levels of chance, which are a little wider for it."""
LEAST = 8
"""Fewer trials say nothing."""
_TOP, _TOP_LEAST, _TOP_MOST = 0.1, 5, 0.5
_NORMAL, _ONE_SIDED = 1.96, 1.645
_OWN = (STEPS, DRAWN)
"""Coordinates that are no part of a recipe."""
Rows = NDArray[np.int64]
Shuffle = tuple[Rows, Rows]


@dataclass(frozen=True)
class Importance:
    """Of one coordinate."""

    name: str
    """A recipe's field, `steps` or `drawn`."""
    share: float
    """0 to 1. Of reaching the front: of all that matters for it. Of an objective: of its variance, by itself."""
    low: float
    high: float
    """The 95 % interval."""
    chance: float
    """What 19 in 20 shares would stay below if it did not matter: nearer to nothing than this is noise."""

    @property
    def tells(self) -> bool:
        """Whether it is more than chance would be."""
        return self.share > self.chance


@dataclass(frozen=True)
class Importances:
    """What matters, the most important first; empty lists where there are too few trials."""

    front: tuple[Importance, ...]
    """For reaching the front."""
    objectives: Mapping[str, tuple[Importance, ...]]
    """For each objective, by name."""
    trials: int
    observations: int
    drawn: int
    """So many of the observations the objectives' part was computed on."""


def importances(observations: Sequence[Observation], space: Space, seed: int = 0) -> Importances:
    """Of all that varies among the observations. The same seed gives the same numbers."""
    table, objectives = coordinates(observations, space), space.objectives
    trials = len({o.trial for o in table.observations})
    if trials < LEAST or not table.parameters:
        return Importances((), {o.name: () for o in objectives}, trials, len(table.observations), 0)
    generator = np.random.default_rng(seed)
    scores = [o.scores for o in table.observations]
    losses = front_losses(objectives, space.requirements, scores)
    names = [o.trial for o in table.observations]
    parts = [np.flatnonzero(half) for half in _halves(names, generator)]
    shuffled = [_shuffled(table, names, generator) for _ in range(HALVES)]
    front = _for_front(table, losses, parts, shuffled)
    rows = np.arange(len(scores))
    if len(rows) > MOST:
        rows = np.sort(generator.choice(rows, MOST, replace=False))
    points = _filled(table, generator)
    values, found = to_losses(objectives, scores), {}
    for k, objective in enumerate(objectives):
        usable = rows[np.isfinite(values[rows, k])]
        seeds = int(generator.integers(2**31))
        found[objective.name] = _for_objective(table, points, values[:, k], usable, parts, shuffled, seeds)
    return Importances(front, found, trials, len(scores), len(rows))


def _for_front(
    table: Coordinates, losses: Floats, parts: Sequence[Rows], shuffled: Sequence[Shuffle]
) -> tuple[Importance, ...]:
    names = [parameter.name for parameter in table.parameters]
    frozen, whole = _frozen(table.rows, table.parameters), np.arange(len(losses))
    estimates = [reaching(frozen, losses, rows, names) for rows in (whole, *parts)]
    chances = []
    for recipes, others in shuffled:
        rows = [
            {n: v for n, v in table.rows[i].items() if n not in _OWN} | {n: table.rows[j][n] for n in _OWN}
            for i, j in zip(recipes, others, strict=True)
        ]
        chances.append(reaching(_frozen(rows, table.parameters), losses, whole, names))
    return _with_intervals(names, estimates, chances)


def reaching(trials: Sequence[FrozenTrial], losses: Floats, rows: np.ndarray, names: Sequence[str]) -> Floats:
    """PED-ANOVA's importances of these rows, as shares of their sum; 0 where nothing tells the best from the others."""
    order = order_selection(losses[rows], REFERENCE_LOSS)
    place = np.empty(len(rows))
    place[order] = np.arange(len(rows))
    chosen = [trials[i] for i in rows]
    for trial, value in zip(chosen, place, strict=True):
        trial.values = [float(value)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a field is used by one observation, which then counts nothing
        found = PedAnovaImportanceEvaluator(target_quantile=best_share(losses[rows])).evaluate(
            study_of(chosen, 1, RandomSampler(seed=0))
        )
    values = np.array([found.get(name, 0.0) for name in names])
    return values / values.sum() if values.sum() > 0 else values


def best_share(losses: Floats) -> float:
    """Which part of n x m losses counts as the best: a tenth, but five at least and all of the front, at most half."""
    front = int(non_dominated(losses).sum())
    return min(max(_TOP, _TOP_LEAST / len(losses), front / len(losses)), _TOP_MOST)


def _frozen(rows: Sequence[Mapping[str, Any]], parameters: Sequence[Parameter]) -> list[FrozenTrial]:
    """The rows as Optuna's trials, with what they use of the coordinates. `create_trial` would check each value, which
    takes half of all the time that there is for it.
    """
    distributions = {p.name: _distribution(p) for p in parameters}
    now, found = datetime.now(), []  # which nobody reads, and an ended trial has to have
    for number, row in enumerate(rows):
        used = {name: row[name] for name in distributions if name in row}
        of = {name: distributions[name] for name in used}
        found.append(FrozenTrial(number, TrialState.COMPLETE, 0.0, now, now, used, of, {}, {}, {}, number))
    return found


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    kind = IntDistribution if parameter.integer else FloatDistribution
    return kind(parameter.low, parameter.high, log=parameter.log)


def _for_objective(
    table: Coordinates, points: Floats, values: Floats, rows: Rows, parts: Sequence[Rows],
    shuffled: Sequence[Shuffle], seed: int,
) -> tuple[Importance, ...]:  # fmt: skip
    sizes = [len(p.values) if isinstance(p, Choice) else 0 for p in table.parameters]
    own = np.array([p.name in _OWN for p in table.parameters])
    subsets = [rows, *(rows[np.isin(rows, part)] for part in parts)]
    estimates = [
        fractions(points[some], values[some], sizes, FEWER if i else TREES, seed + i) for i, some in enumerate(subsets)
    ]
    chances = []
    for i, (recipes, others) in enumerate(shuffled):
        mixed = np.where(own, points[others], points[recipes])
        chances.append(fractions(mixed[rows], values[rows], sizes, FEWER, seed + len(subsets) + i))
    return _with_intervals([p.name for p in table.parameters], estimates, chances)


def _filled(table: Coordinates, generator: np.random.Generator) -> Floats:
    """n x d: quantiles of ranges, numbers of choices. What a recipe does not use is drawn: any value would have done,
    so that a field says nothing where it is not used, and whether it is used is what its condition says.
    """
    points = np.empty((len(table.rows), len(table.parameters)))
    for j, parameter in enumerate(table.parameters):
        drawn: dict[str, float] = {}
        for i, (row, o) in enumerate(zip(table.rows, table.observations, strict=True)):
            if parameter.name in row:
                quantile = parameter.quantile(row[parameter.name])
            else:
                quantile = drawn.setdefault(o.trial, float(generator.random()))
            points[i, j] = int(quantile * len(parameter.values)) if isinstance(parameter, Choice) else quantile
    return points


def _halves(trials: Sequence[str], generator: np.random.Generator) -> list[np.ndarray]:
    """Masks over the observations, each with half of the trials."""
    names, of = np.unique(np.array(trials), return_inverse=True)
    halves = []
    for _ in range(HALVES):
        chosen = np.zeros(len(names), dtype=bool)
        chosen[generator.permutation(len(names))[: len(names) // 2]] = True
        halves.append(chosen[of])
    return halves


def _shuffled(table: Coordinates, trials: Sequence[str], generator: np.random.Generator) -> Shuffle:
    """For each observation those whose recipe, and whose steps and way to draw it gets: recipes move as a whole, since
    a trial's observations have one together.
    """
    first = {trial: i for i, trial in reversed(list(enumerate(trials)))}
    names = list(first)
    given = dict(zip(names, generator.permutation(len(names)).tolist(), strict=True))
    return np.array([first[names[given[trial]]] for trial in trials]), generator.permutation(len(trials))


def _with_intervals(
    names: Sequence[str], estimates: Sequence[Floats], chances: Sequence[Floats]
) -> tuple[Importance, ...]:
    """The first estimate is of the whole, the others are of halves, whose spread is that of the whole."""
    whole, spread = estimates[0], _NORMAL * np.array(estimates[1:]).std(axis=0, ddof=1)
    lows, highs = np.clip(whole - spread, 0, 1), np.clip(whole + spread, 0, 1)
    chance = np.mean(chances, axis=0) + _ONE_SIDED * np.std(chances, axis=0, ddof=1)
    found = [
        Importance(name, *map(float, numbers))
        for name, *numbers in zip(names, whole, lows, highs, np.clip(chance, 0, 1), strict=True)
    ]
    return tuple(sorted(found, key=lambda each: -each.share))
