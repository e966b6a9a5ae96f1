"""The marginal effect of a recipe's field, of steps and of the way to draw, on each score: means with intervals.

What differs by design is taken out first. A recipe's field is compared within rungs and ways to draw: of each score the
mean of its rung is taken, and that of all added again, so that a value which many promoted trials have gets no credit
for their steps. Steps are compared within trials, by the additive model score = trial + steps, since the trials at late
rungs are those that did well at early ones. The unit is the trial: intervals are over trials, not observations.

A search is no experiment: it tries more of what did well, and several fields at a time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.coordinates import DRAWN, STEPS, Coordinates, coordinates
from analysis.pareto import Floats
from spaces import Choice, Observation, Parameter, Range, Space

BINS = 4
"""Of a range, with as many trials in each."""
LEAST = 3
"""Fewer trials give no interval."""
DRAWS = 200
"""Resamples of the trials behind an interval of steps."""
LEAST_DRAWN = 5
"""Fewer trials are not worth resampling: they never leave the range of the few."""


@dataclass(frozen=True)
class Mean:
    """Of one score over the trials of a bin."""

    value: float
    low: float | None
    """The 95 % interval; None where there are too few trials."""
    high: float | None


@dataclass(frozen=True)
class Bin:
    """One value of a choice, or a part of a range."""

    label: str
    low: float | None
    """The least and the greatest value in it; None for a choice."""
    high: float | None
    trials: int
    means: Mapping[str, Mean]
    """By score."""


@dataclass(frozen=True)
class Effect:
    """Of one coordinate on the scores."""

    name: str
    log: bool
    """Whether its values are better drawn on a logarithmic axis."""
    ordered: bool
    """Whether the bins are in an order that means something."""
    bins: tuple[Bin, ...]


def effects(
    observations: Sequence[Observation],
    space: Space,
    names: Sequence[str] = (),
    scores: Sequence[str] = (),
    seed: int = 0,
) -> tuple[Effect, ...]:
    """Of the coordinates of these names, or all that vary; on these scores, or the space's objectives.

    A field counts among the trials that use it. Observations without a finite score are left out of it.
    """
    table = coordinates(observations, space)
    scores = tuple(scores) or tuple(o.name for o in space.objectives)
    wanted = [p for p in table.parameters if not names or p.name in names]
    return tuple(_effect(table, parameter, scores, np.random.default_rng(seed)) for parameter in wanted)


def adjusted(table: Coordinates, score: str) -> Floats:
    """A score with its rung's and way's mean taken out and that of all added, one for each of the n observations."""
    values = np.array([o.scores.get(score, math.nan) for o in table.observations])
    places = [(o.steps, o.label) for o in table.observations]
    found = np.full(len(values), np.nan)
    if not np.isfinite(values).any():
        return found
    for place in set(places):
        here = np.array([each == place for each in places])
        if np.isfinite(values[here]).any():
            found[here] = values[here] - np.nanmean(values[here])
    return found + np.nanmean(values)


def by_trial(table: Coordinates, score: str) -> dict[str, float]:
    """The mean of each trial's adjusted scores."""
    found: dict[str, list[float]] = {}
    for o, value in zip(table.observations, adjusted(table, score).tolist(), strict=True):
        if math.isfinite(value):
            found.setdefault(o.trial, []).append(value)
    return {trial: float(np.mean(values)) for trial, values in found.items()}


def _effect(table: Coordinates, parameter: Parameter, scores: Sequence[str], generator: np.random.Generator) -> Effect:
    ordered = isinstance(parameter, Range) or parameter.name == STEPS
    log = parameter.log if isinstance(parameter, Range) else parameter.name == STEPS
    if parameter.name in (STEPS, DRAWN):
        return Effect(parameter.name, log, ordered, _within_trials(table, parameter, scores, generator))
    values = {o.trial: row[parameter.name] for o, row in zip(table.observations, table.rows, strict=True)
              if parameter.name in row}  # fmt: skip
    means = {score: by_trial(table, score) for score in scores}
    bins = []
    for label, low, high, trials in _bins(parameter, values):
        found = {}
        for score in scores:
            own = np.array([means[score][trial] for trial in trials if trial in means[score]])
            found[score] = mean_of(own)
        bins.append(Bin(label, low, high, len(trials), found))
    return Effect(parameter.name, log, ordered, tuple(bins))


def mean_of(values: Floats) -> Mean:
    """Of n independent values, with Student's interval: a bootstrap of few never leaves the range of the few."""
    mean = float(values.mean()) if len(values) else math.nan
    if len(values) < LEAST:
        return Mean(mean, None, None)
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return Mean(mean, mean - half, mean + half)


def expanded(count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The percentiles of a bootstrap of so many values that are an interval of this confidence: as far out as Student's
    t is wider than the normal (the expanded percentile interval, Hesterberg 2015).
    """
    tail = float(stats.norm.cdf(-math.sqrt(count / (count - 1)) * stats.t.ppf(0.5 + confidence / 2, count - 1)))
    return tail, 1 - tail


def _bins(parameter: Parameter, values: Mapping[str, Any]) -> list[tuple[str, float | None, float | None, list[str]]]:
    """Label, ends and trials of each bin that has any."""
    if isinstance(parameter, Choice):
        groups = [(value, [trial for trial, own in values.items() if own == value]) for value in parameter.values]
        return [("none" if value is None else str(value), None, None, trials) for value, trials in groups if trials]
    distinct = np.unique(np.array(list(values.values()), dtype=float))
    cuts = np.unique(np.quantile(np.array(list(values.values()), dtype=float), np.arange(1, BINS) / BINS))
    numbers = np.searchsorted(cuts, distinct, side="left")
    found = []
    for number in np.unique(numbers):
        low, high = float(distinct[numbers == number].min()), float(distinct[numbers == number].max())
        trials = [trial for trial, value in values.items() if low <= value <= high]
        label = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        found.append((label, low, high, trials))
    return found


def _within_trials(
    table: Coordinates, parameter: Choice, scores: Sequence[str], generator: np.random.Generator
) -> tuple[Bin, ...]:
    names, of = np.unique(np.array([o.trial for o in table.observations]), return_inverse=True)
    level = np.array([parameter.values.index(row[parameter.name]) for row in table.rows])
    count, levels = len(names), len(parameter.values)
    found: dict[str, list[Mean]] = {}
    for score in scores:
        values = np.array([o.scores.get(score, math.nan) for o in table.observations])
        there = np.isfinite(values)
        sums, counts = np.zeros((count, levels)), np.zeros((count, levels))
        np.add.at(sums, (of[there], level[there]), values[there])
        np.add.at(counts, (of[there], level[there]), 1)
        cells = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        whole = _levels(cells, np.ones(count))
        weights = generator.multinomial(count, np.full(count, 1 / count), DRAWS)
        drawn = np.array([_levels(cells, each.astype(float)) for each in weights])
        found[score] = [_mean(whole[k], drawn[:, k], int((counts[:, k] > 0).sum())) for k in range(levels)]
    label = lambda value: str(value) if value != "" else "main"  # noqa: E731
    return tuple(
        Bin(label(value), *([float(value)] * 2 if parameter.name == STEPS else [None] * 2),
            len({names[i] for i in of[level == k]}), {score: found[score][k] for score in scores})
        for k, value in enumerate(parameter.values)
    )  # fmt: skip


def _mean(value: float, drawn: Floats, trials: int) -> Mean:
    drawn = drawn[np.isfinite(drawn)]
    if trials < LEAST_DRAWN or len(drawn) < DRAWS / 2:
        return Mean(float(value), None, None)
    low, high = np.quantile(drawn, expanded(trials))
    return Mean(float(value), float(low), float(high))


def _levels(cells: Floats, weights: Floats) -> Floats:
    """Least squares of trial + level for a table of trials x levels (NaN where there is none), a weight for each
    trial: the levels as if each had all the trials. NaN where no trial ties a level to the others.
    """
    there: NDArray[np.bool_] = np.isfinite(cells)
    weighted = there * weights[:, None]
    own, values = there.sum(axis=1), np.where(there, cells, 0.0)
    used = (own > 0) & (weights > 0)
    if not used.any():
        return np.full(cells.shape[1], np.nan)
    share = there[used] / own[used, None]
    normal = np.diag(weighted.sum(axis=0)) - (weighted[used].T @ share)
    right = (weighted * values).sum(axis=0) - weighted[used].T @ (values[used].sum(axis=1) / own[used])
    level = np.linalg.lstsq(normal, right, rcond=None)[0]
    seen = weighted.sum(axis=0) > 0
    trials = (values[used].sum(axis=1) - there[used] @ level) / own[used]
    return np.where(seen, level + np.average(trials, weights=weights[used]), np.nan)
