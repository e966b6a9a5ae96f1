"""What a table of fine-tunes says about the recipes in between: the curves of the mean, and the noise of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.surrogate import fitted, numbers
from spaces import Space

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """The measured curves of a table: each recipe with each seed is one of n."""

    recipes: NDArray[np.int64]
    """n, which recipe of the table."""
    values: list[dict[str, Any]]
    """n points of the space."""
    steps: NDArray[np.int64]
    """r rungs, increasing."""
    scores: Floats
    """n x r x m."""
    seconds: Floats
    """n x r, of the processor: training from the rung before, and scoring."""

    @classmethod
    def of(cls, table: pd.DataFrame, objectives: Sequence[str]) -> "Curves":
        """From a packed table; fine-tunes that lack a rung are left out."""
        steps = np.sort(table["steps"].unique())
        groups = [group for _, group in table.groupby(["recipe", "seed"]) if len(group) == len(steps)]
        fields = [name for name in table.columns if name.startswith("field.")]
        return cls(
            recipes=np.array([group["recipe"].iloc[0] for group in groups]),
            values=[_point(group[fields].iloc[0]) for group in groups],
            steps=steps.astype(np.int64),
            scores=np.array([group[[f"score.{name}" for name in objectives]].to_numpy(float) for group in groups]),
            seconds=np.array([(group["seconds.train"] + group["seconds.score"]).to_numpy(float) for group in groups]),
        )

    def only(self, chosen: NDArray[np.bool_]) -> "Curves":
        """Those of some of the n."""
        values = [value for value, kept in zip(self.values, chosen, strict=True) if kept]
        return Curves(self.recipes[chosen], values, self.steps, self.scores[chosen], self.seconds[chosen])

    def means(self) -> "Curves":
        """One curve for each recipe, the mean over its seeds."""
        known, first, where = np.unique(self.recipes, return_index=True, return_inverse=True)
        mean = lambda of: np.array([of[where == k].mean(axis=0) for k in range(len(known))])  # noqa: E731
        return Curves(known, [self.values[i] for i in first], self.steps, mean(self.scores), mean(self.seconds))

    def residuals(self) -> Floats:
        """How runs differ from their recipe's mean, at the size that single runs do, k x r x m.

        ValueError where no recipe has two seeds: such a table says nothing of noise.
        """
        found = []
        for recipe in np.unique(self.recipes):
            own = self.scores[self.recipes == recipe]
            if len(own) > 1:
                found.append((own - own.mean(axis=0)) * np.sqrt(len(own) / (len(own) - 1)))
        if not found:
            raise ValueError("the table has one seed for every recipe, which says nothing of noise")
        return np.concatenate(found)


def _point(row: pd.Series) -> dict[str, Any]:
    """A recipe's values as the space has them. Parquet knows no column of numbers and None, and makes None NaN."""
    plain = {name.removeprefix("field."): value for name, value in row.items()}
    return {name: value for name, value in plain.items() if not (isinstance(value, float) and np.isnan(value))}


class Surrogate:
    """Gaussian processes (Matern 5/2, a length scale of its own for every input) over recipe and log steps.

    One for each objective, fitted to the means over seeds; the mean is what a search is to find. Noise is drawn from
    the measured curves: how those of one recipe differ from their own mean, over all rungs and objectives at once, so
    that a lucky run is lucky at every rung, as it is in truth.
    """

    def __init__(self, space: Space, curves: Curves, like: "Surrogate | None" = None) -> None:
        """`like`: has the length scales already, which are then not fitted."""
        self.space, self.steps = space, curves.steps
        means, objectives = curves.means(), curves.scores.shape[2]
        inputs = self._inputs(means.values)
        self._offset, self._scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-9)
        known = like._models if like else [None] * (objectives + 1)
        targets = [*np.moveaxis(means.scores, -1, 0), np.log(means.seconds)]
        self._models = [
            fitted(self._scaled(inputs), target.ravel(), model) for target, model in zip(targets, known, strict=True)
        ]
        self._residuals = curves.residuals()

    def mean(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        """n points of the space to n x r x m: the curves without noise."""
        inputs = self._scaled(self._inputs(points))  # (n r) x d
        curves = np.stack([model.predict(inputs) for model in self._models[:-1]], axis=-1)
        return curves.reshape(len(points), len(self.steps), -1)

    def seconds(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        """n points to n x r: what each rung costs."""
        return np.exp(self._models[-1].predict(self._scaled(self._inputs(points)))).reshape(len(points), -1)

    def noise(self, generator: np.random.Generator) -> Floats:
        """One run's difference from the mean, r x m."""
        return self._residuals[generator.integers(len(self._residuals))] * generator.choice([-1.0, 1.0])

    def _inputs(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        """(n r) x d: the recipe's numbers on the scale that they are drawn on, and the logarithm of the steps."""
        recipes = np.array([numbers(self.space, point) for point in points])
        steps = np.log(self.steps.astype(float))
        return np.column_stack([np.repeat(recipes, len(steps), axis=0), np.tile(steps, len(recipes))])

    def _scaled(self, inputs: Floats) -> Floats:
        return (inputs - self._offset) / self._scale


@dataclass(frozen=True)
class Error:
    """How well recipes that a surrogate never saw are predicted, for one objective."""

    rmse: float
    """Of the prediction against single runs."""
    noise: float
    """Deviation of a single run from its recipe's mean: no prediction is nearer than that."""
    explained: float
    """Share of the variance of single runs that is predicted (R squared)."""


def held_out(space: Space, curves: Curves, folds: int = 8, seed: int = 0) -> list[Error]:
    """Cross-validated over recipes, all seeds and rungs of one in the same fold; length scales are those of all."""
    known = np.unique(curves.recipes)
    fold = dict(zip(known, np.random.default_rng(seed).permutation(len(known)) % folds, strict=True))
    of, whole = np.array([fold[recipe] for recipe in curves.recipes]), Surrogate(space, curves)
    predicted = np.zeros_like(curves.scores)
    for k in range(folds):
        predicted[of == k] = Surrogate(space, curves.only(of != k), whole).mean(curves.only(of == k).values)
    rest, noise = predicted - curves.scores, curves.residuals()
    return [
        Error(
            rmse=float(np.sqrt(np.mean(rest[:, :, k] ** 2))),
            noise=float(np.sqrt(np.mean(noise[:, :, k] ** 2))),
            explained=float(1 - np.mean(rest[:, :, k] ** 2) / np.var(curves.scores[:, :, k])),
        )
        for k in range(curves.scores.shape[2])
    ]
