"""What observations say about the recipes in between: curves of the mean over steps, the noise of a run, its costs."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from spaces import Choice, Space

Floats = NDArray[np.float64]
MOST = 600
"""So many observations at most are fitted: the time grows with their third power."""
FOLDS = 5


@dataclass(frozen=True)
class Scored:
    """n scored checkpoints of runs; a run is one recipe with one seed, at as many steps as it came to."""

    runs: NDArray[np.int64]
    """n, which run."""
    values: list[dict[str, Any]]
    """n points of the space."""
    steps: NDArray[np.int64]
    """n."""
    scores: Floats
    """n x m."""
    training: Floats
    """n, seconds for each step."""
    scoring: Floats
    """n, seconds."""
    loading: float
    """Seconds of a run, in the mean."""

    def only(self, chosen: NDArray[np.bool_]) -> "Scored":
        """Some of the n."""
        values = [value for value, kept in zip(self.values, chosen, strict=True) if kept]
        return Scored(self.runs[chosen], values, self.steps[chosen], self.scores[chosen], self.training[chosen],
                      self.scoring[chosen], self.loading)  # fmt: skip

    def thinned(self, most: int = MOST) -> "Scored":
        """At most so many, evenly chosen."""
        if len(self.steps) <= most:
            return self
        chosen = np.zeros(len(self.steps), dtype=bool)
        chosen[np.random.default_rng(0).choice(len(chosen), most, replace=False)] = True
        return self.only(chosen)


class Surrogate:
    """Gaussian processes (Matern 5/2, a length scale of its own for every input) over recipe and log steps.

    One for each score and one for the seconds of a step. What of a score no smooth curve explains is a run's noise;
    half of its variance is taken to be the same at all steps of a run, so that a lucky run is lucky at every rung.
    """

    def __init__(self, space: Space, scored: Scored, like: "Surrogate | None" = None) -> None:
        """`like`: has the length scales already, which are then not fitted."""
        self.space = space
        scored = scored.thinned()
        inputs = self._inputs(scored.values, scored.steps)
        self._offset, self._scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-9)
        targets = [*scored.scores.T, np.log(np.maximum(scored.training, 1e-9))]
        known = like._models if like else [None] * len(targets)
        self._models = [
            fitted(self._scaled(inputs), target, model) for target, model in zip(targets, known, strict=True)
        ]
        self.noise = np.array([deviation(model) for model in self._models[:-1]])
        """m, of a run's scores."""
        self.scoring, self.loading = float(np.median(scored.scoring)), scored.loading

    def mean(self, points: Sequence[Mapping[str, Any]], steps: Sequence[int]) -> Floats:
        """n points of the space, each at r steps, to n x r x m: the curves without noise."""
        inputs = self._scaled(self._grid(points, steps))
        curves = np.stack([model.predict(inputs) for model in self._models[:-1]], axis=-1)
        return curves.reshape(len(points), len(steps), -1)

    def training(self, points: Sequence[Mapping[str, Any]], steps: Sequence[int]) -> Floats:
        """n x r, the seconds that it takes to train from one of the r steps to the next, the first from 0."""
        pace = np.exp(self._models[-1].predict(self._scaled(self._grid(points, steps)))).reshape(len(points), -1)
        return pace * np.diff((0, *steps))

    def draw(self, generator: np.random.Generator, rungs: int) -> Floats:
        """One run's difference from the mean, r x m."""
        m = len(self.noise)
        return self.noise * np.sqrt(0.5) * (generator.normal(size=(1, m)) + generator.normal(size=(rungs, m)))

    def predicted(self, values: Sequence[Mapping[str, Any]], steps: NDArray[np.int64]) -> Floats:
        """n checkpoints to n x m."""
        inputs = self._scaled(self._inputs(values, steps))
        return np.stack([model.predict(inputs) for model in self._models[:-1]], axis=-1)

    def _inputs(self, values: Sequence[Mapping[str, Any]], steps: NDArray[np.int64]) -> Floats:
        """n x d: the recipe's numbers on the scale that they are drawn on, and the logarithm of the steps."""
        return np.column_stack([[numbers(self.space, value) for value in values], np.log(steps.astype(float))])

    def _grid(self, points: Sequence[Mapping[str, Any]], steps: Sequence[int]) -> Floats:
        return self._inputs([point for point in points for _ in steps], np.tile(np.array(steps), len(points)))

    def _scaled(self, inputs: Floats) -> Floats:
        return (inputs - self._offset) / self._scale


@dataclass(frozen=True)
class Error:
    """How well runs of recipes that a surrogate never saw are predicted, for one score."""

    rmse: float
    noise: float
    """Of a run, as the surrogate has it: no prediction is nearer than that."""
    explained: float
    """Share of the variance that is predicted (R squared)."""


def held_out(space: Space, scored: Scored, whole: Surrogate) -> list[Error]:
    """Cross-validated over runs, with the length scales of all; for each of the m scores."""
    scored = scored.thinned()
    known = np.unique(scored.runs)
    fold = dict(zip(known, np.random.default_rng(0).permutation(len(known)) % FOLDS, strict=True))
    of, predicted = np.array([fold[run] for run in scored.runs]), np.zeros_like(scored.scores)
    for k in np.unique(of):
        there = scored.only(of == k)
        predicted[of == k] = Surrogate(space, scored.only(of != k), whole).predicted(there.values, there.steps)
    rest = ((predicted - scored.scores) ** 2).mean(axis=0)
    explained = 1 - rest / np.maximum(scored.scores.var(axis=0), 1e-12)
    return [Error(*map(float, row)) for row in zip(np.sqrt(rest), whole.noise, explained, strict=True)]


def numbers(space: Space, point: Mapping[str, Any]) -> list[float]:
    """One number for a range, one for each value of a choice; what a recipe does not have is at the range's middle."""
    found: list[float] = []
    for parameter in space.parameters:
        value = point.get(parameter.name)
        if isinstance(parameter, Choice):
            found += [float(value == known) for known in parameter.values]
        else:
            scale = np.log if parameter.log else float
            middle = (scale(parameter.low) + scale(parameter.high)) / 2
            found.append(float(middle if value is None else scale(value)))
    return found


def fitted(inputs: Floats, targets: Floats, like: GaussianProcessRegressor | None = None) -> GaussianProcessRegressor:
    """A process through n x d inputs, with the length scales of another where one is given."""
    if like is not None:
        kernel, optimizer = like.kernel_, None
    else:
        lengths = Matern(np.full(inputs.shape[1], 3.0), (0.3, 1e3), nu=2.5)
        kernel, optimizer = ConstantKernel(1.0, (1e-2, 1e2)) * lengths + WhiteKernel(0.1, (1e-4, 1.0)), "fmin_l_bfgs_b"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an input that says nothing has a length at its bound
        return GaussianProcessRegressor(kernel, optimizer=optimizer, normalize_y=True, random_state=0).fit(
            inputs, targets
        )


def deviation(model: GaussianProcessRegressor) -> float:
    """Of the noise that a fitted process found, in the targets' unit."""
    return float(np.sqrt(model.kernel_.k2.noise_level) * model._y_train_std)
