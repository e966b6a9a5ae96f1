"""The next recipe by what its whole curve is expected to add to the front."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from analysis.improvement import expected_improvement, free_boxes
from analysis.pareto import non_dominated, order_selection
from search.front import representative_of
from search.proposals.encoding import Encoding
from search.proposals.gaussian import Curves, Floats, Posterior, Rows
from spaces import REFERENCE_LOSS, Observation, Space, ranking_losses, to_losses

FIRST, GROWTH = 8, 1.25
"""The models' scales are learnt anew from so many checkpoints, and then whenever there are so many times as many."""
MOST, LEFT, BEST = 320, 240, 120
"""So many checkpoints are known at most; then so many of them stay, and of these so many are the best."""
MOST_FITTED = 160
"""Scales are learnt from so many at most."""
EVEN, NEAR = 200, 200
"""Candidates from the whole space, and around the recipes that are on the front."""
KEPT, CLOSER = 10, (0.1, 0.03, 0.01)
"""Of the candidates so many are moved by so much, one time after the other."""
IN_FRONT, IN_FRONT_OF_MANY = 60, 24
"""So much of a front is improved upon, for two and three objectives, and for more."""
CHANGED, WEIGHTED = 0.25, 0.5
"""Of the proposals so many are a recipe of the front that was changed, and of the rest so many go by random weights."""
LUCK = 0.05, 0.15
"""With so large a share of luck no proposals, and all, are the best in a draw of the posterior."""
HOPE, AUGMENTED = 0.3, 0.05
"""So many deviations better than expected; and the part of the sum of all objectives in the norm."""
FEW = 8
LIARS = 32
"""Of the trials that were not scored yet so many of the last are reckoned with."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """A checkpoint: a trial at a rung, drawn in the best way."""

    trial: int
    point: Floats
    """The recipe's place in the cube."""
    steps: int
    outputs: tuple[float, ...]
    """The m losses, and by how much each requirement is missed; 0 and less is met."""
    ranked: tuple[float, ...]
    """The m losses that it is ranked by."""


class Known:
    """The checkpoints of a sweep, as they come. Of very many the best stay, and of the rest an even sample.

    What a proposal is made from follows from the order of the checkpoints alone, not from when it was asked for:
    the models' scales belong to certain numbers of checkpoints.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed, self.encoding = space, seed, Encoding(space)
        self._trials: dict[str, int] = {}
        self._seen: list[Seen] = []
        self._count, self._next = 0, FIRST
        self._learnt: list[Curves] | None = None
        self._from: tuple[Seen, ...] = ()
        """What the scales are to be learnt from, or were."""

    @property
    def enough(self) -> bool:
        return bool(self._from)

    def observe(self, checkpoint: Sequence[Observation], values: Values) -> None:
        space = self._space
        best = representative_of(checkpoint, space.objectives, space.requirements)
        losses = to_losses(space.objectives, [best.scores])[0].tolist()
        missed = [each.excess(best.scores) for each in space.requirements]
        if not all(map(math.isfinite, [*losses, *missed])):
            return
        ranked = ranking_losses(space.objectives, space.requirements, [best.scores])[0].tolist()
        trial = self._trials.setdefault(best.trial, len(self._trials))
        self._seen.append(Seen(trial, self.encoding.point(values), best.steps, (*losses, *missed), tuple(ranked)))
        self._count += 1
        if len(self._seen) > MOST:
            self._thin_out()
        if self._count >= self._next:
            self._next = math.ceil(self._count * GROWTH)
            self._from, self._learnt = tuple(self._seen), None

    def foresight(self) -> Callable[[], "Foresight"]:
        """What is expected given the table as it is now; to be called later, by another thread too."""
        seen, learnt_from, learnt = tuple(self._seen), self._from, self._learnt

        def begin() -> Foresight:
            scales = learnt or _learnt(self.encoding, learnt_from, self._space.rungs)
            if self._from is learnt_from:
                self._learnt = scales
            return Foresight(self._space, scales, seen)

        return begin

    def _thin_out(self) -> None:
        order = order_selection(np.array([seen.ranked for seen in self._seen]), REFERENCE_LOSS)
        generator = np.random.default_rng([self._seed, self._count])
        rest = generator.choice(order[BEST:], LEFT - BEST, replace=False)
        self._seen = [self._seen[i] for i in np.sort(np.concatenate([order[:BEST], rest]))]


def places(steps: Sequence[int], rungs: Sequence[int]) -> Floats:
    """By the logarithm, the first rung at 0 and the last at 1. Earlier sweeps may have had other rungs."""
    first, last = math.log(rungs[0]), math.log(rungs[-1])
    return (np.log(np.asarray(steps, dtype=float)) - first) / max(last - first, 1e-9)


def _rows(encoding: Encoding, seen: Sequence[Seen], rungs: Sequence[int]) -> tuple[Rows, Floats]:
    rows = Rows(
        features=encoding.features(np.array([s.point for s in seen])),
        at=places([s.steps for s in seen], rungs),
        trials=np.array([s.trial for s in seen]),
        groups=encoding.groups,
    )
    return rows, np.array([s.outputs for s in seen])


def _standardised(outputs: Floats) -> tuple[Floats, Floats, Floats]:
    """Columns with mean 0 and deviation 1, and what they had."""
    mean, deviation = outputs.mean(axis=0), np.maximum(outputs.std(axis=0), 1e-6)
    return (outputs - mean) / deviation, mean, deviation


def _learnt(encoding: Encoding, seen: Sequence[Seen], rungs: Sequence[int]) -> list[Curves]:
    """A model for each objective and each requirement."""
    step = math.ceil(len(seen) / MOST_FITTED)
    rows, outputs = _rows(encoding, seen[::-1][::step], rungs)
    return [Curves.fitted(rows, column) for column in _standardised(outputs)[0].T]


class Foresight:
    """What is expected of recipes at each rung, given what was seen."""

    def __init__(self, space: Space, models: Sequence[Curves], seen: Sequence[Seen]) -> None:
        self._objectives, self.encoding = len(space.objectives), Encoding(space)
        self.points, self._places = np.array([s.point for s in seen]), places(space.rungs, space.rungs)
        rows, outputs = _rows(self.encoding, seen, space.rungs)
        outputs, self._mean, self._deviation = _standardised(outputs)
        self._of = [Posterior(model.scales, rows, column) for model, column in zip(models, outputs.T, strict=True)]

    def curves(self, points: Floats) -> tuple[Floats, Floats]:
        """Mean and deviation of k points at the rungs, k x r x (objectives and requirements)."""
        features = self.encoding.features(points)
        guesses = [model.at(features, self._places) for model in self._of]
        mean, deviation = (np.stack([guess[i] for guess in guesses], axis=-1) for i in (0, 1))
        return mean * self._deviation + self._mean, deviation * self._deviation

    def front(self, running: Floats) -> tuple[Floats, Floats]:
        """The losses on the front, without luck, and their recipes' points.

        What runs at these points and was not scored yet counts as if it scored what is expected of it.
        """
        points = np.concatenate([self.points, np.repeat(running, len(self._places), axis=0)])
        seen = np.column_stack([model.seen for model in self._of]) * self._deviation + self._mean
        expected = self.curves(running)[0].reshape(-1, seen.shape[1]) if len(running) else seen[:0]
        outputs, m = np.concatenate([seen, expected]), self._objectives
        met = np.flatnonzero((outputs[:, m:] <= 0).all(axis=1))
        on = met[non_dominated(outputs[met, :m])]
        if len(on) > (most := IN_FRONT if m <= 3 else IN_FRONT_OF_MANY):
            on = on[order_selection(outputs[on, :m], REFERENCE_LOSS)[:most]]
        return outputs[on, :m], points[on] if len(on) else self.points

    def gains(self, points: Floats, boxes: tuple[Floats, Floats]) -> Floats:
        """What the best rung of each of k points is expected to add, times the odds that requirements are met."""
        mean, deviation, odds = self._expected(points)
        gain = expected_improvement(mean.reshape(-1, mean.shape[2]), deviation.reshape(-1, mean.shape[2]), boxes)
        return (gain.reshape(odds.shape) * odds).max(axis=1)

    def weighted(self, points: Floats, weights: Floats) -> Floats:
        """How far before the nadir the best rung of each of k points is hoped to be, times the same odds.

        By the augmented Tchebycheff norm with these weights of the objectives (Knowles 2006), of what is a little
        better than expected.
        """
        mean, deviation, odds = self._expected(points)
        hoped = mean - HOPE * deviation
        norm = (weights * hoped).max(axis=2) + AUGMENTED * hoped.sum(axis=2)
        nadir = REFERENCE_LOSS * (weights.max() + AUGMENTED * len(weights))
        return (np.maximum(nadir - norm, 0.0) * odds).max(axis=1)

    @property
    def luck(self) -> float:
        """What of the variance between recipes is the luck of runs, the mean over the objectives."""
        return float(np.mean([model.luck for model in self._of[: self._objectives]]))

    def drawn(self, points: Floats, weights: Floats, generator: np.random.Generator) -> Floats:
        """The norm of `weighted` for k points, each at its best rung, in one world that may be: the more the better.

        The world is drawn from the posterior (Thompson 1933). Where it does not meet a requirement a point is last.
        """
        mean, m = self._expected(points)[0], self._objectives
        norm = (weights * mean).max(axis=2) + AUGMENTED * mean.sum(axis=2)
        features, at = self.encoding.features(points), self._places[norm.argmin(axis=1)]
        outputs = np.stack([model.drawn(features, at, generator) for model in self._of], axis=-1)
        outputs = outputs * self._deviation + self._mean
        norm = (weights * outputs[:, :m]).max(axis=1) + AUGMENTED * outputs[:, :m].sum(axis=1)
        return np.where((outputs[:, m:] > 0).any(axis=1), -np.inf, -norm)

    def met(self, points: Floats) -> Floats:
        """The odds that requirements are met at the best rung for it, k values."""
        return self._expected(points)[2].max(axis=1)

    def _expected(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Mean and deviation of the losses, k x r x m, and the odds that requirements are met, k x r."""
        mean, deviation = self.curves(points)
        m = self._objectives
        return mean[..., :m], deviation[..., :m], ndtr(-mean[..., m:] / deviation[..., m:]).prod(axis=2)


def next_recipes(
    foresight: Foresight, running: Sequence[Values], generator: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Recipes, the most wanted first. What was tried before comes after all that was not.

    Wanted is what the best rung is expected to add to the front's hypervolume. A model that errs where it knows little,
    and is sure of it, wants the same again and again though: so for some proposals it is the least norm with
    random weights, which leads to all parts of the front, and some begin with a recipe of the front in
    which one parameter is drawn anew, whatever the model thinks of that. Where the luck of runs is a large part of what
    recipes differ by, the best of the front was lucky, and wanted is what is best in a world that may be.
    """
    encoding = foresight.encoding
    at = np.array([encoding.point(values) for values in running[-LIARS:]]).reshape(-1, encoding.parameters)
    front, parents = foresight.front(at)
    first = changed(foresight, parents, generator) if generator.random() < CHANGED else parents[:0]
    weights = partial(generator.dirichlet, np.ones(front.shape[1]))
    lucky = np.interp(foresight.luck, LUCK, (0.0, 1.0))
    if lucky and generator.random() < lucky:
        points = candidates(parents, encoding.parameters, generator)
        points = points[np.argsort(-foresight.drawn(points, weights(), generator), kind="stable")]
    elif generator.random() < WEIGHTED:
        want = partial(foresight.weighted, weights=weights())
        points = most_wanted(want, parents, encoding.parameters, generator)
    else:
        want = partial(foresight.gains, boxes=free_boxes(front, REFERENCE_LOSS, ideal=0.0))
        points = most_wanted(want, parents, encoding.parameters, generator)
    points = np.concatenate([first, points])
    place = lambda point: tuple(np.round(point, 6).tolist())  # noqa: E731
    known, tried = {place(point) for point in np.concatenate([foresight.points, at])}, []
    for point in points:
        values = encoding.values(point)
        own = place(encoding.point(values))
        if own in known:
            tried.append(values)
        else:
            known.add(own)
            yield values
    yield from tried


def most_wanted(
    want: Callable[[Floats], Floats], parents: Floats, parameters: int, generator: np.random.Generator
) -> Floats:
    """Points in the order of what they are wanted, found among even ones and near the parents, and moved closer."""
    points = candidates(parents, parameters, generator)
    wanted = want(points)
    for by in CLOSER:
        best = np.argsort(-wanted, kind="stable")[:KEPT]
        closer = moved(np.repeat(points[best], 10, axis=0), by, generator)
        wanted = np.concatenate([wanted[best], want(closer)])
        points = np.concatenate([points[best], closer])
    return points[np.argsort(-wanted, kind="stable")]


def candidates(parents: Floats, parameters: int, generator: np.random.Generator) -> Floats:
    """Even points, and some near the parents."""
    near = parents[generator.integers(len(parents), size=NEAR)]
    return np.concatenate([generator.random((EVEN, parameters)), moved(near, 0.2, generator)])


def changed(foresight: Foresight, parents: Floats, generator: np.random.Generator) -> Floats:
    """A few parents with one parameter drawn anew, in random order; those that will hardly meet requirements last."""
    points = parents[generator.integers(len(parents), size=FEW)]
    points[np.arange(FEW), generator.integers(points.shape[1], size=FEW)] = generator.random(FEW)
    return points[np.argsort(foresight.met(points) < 0.5, kind="stable")]


def moved(points: Floats, by: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Some coordinates of each point moved, at least one; what would leave the cube stays at its end."""
    n, d = points.shape
    chosen = generator.random((n, d)) < 0.5
    chosen[np.arange(n), generator.integers(d, size=n)] = True
    return np.clip(points + chosen * generator.normal(0, by, (n, d)), 0.0, 1.0)
