"""Problems that searches are compared on: known fronts with learning curves, and the puppets' table.

A task knows the true, noise-free curve of every point of its space, so that what a search found is judged by what it is
worth and not by the luck of a run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from analysis.pareto import hypervolume, non_dominated
from spaces import OBJECTIVES, REFERENCE_LOSS, Choice, Range, Space, load_space

Floats = NDArray[np.float64]
RUNGS = (25, 50, 100, 200, 400)


class Task(Protocol):
    """What is searched, and what the truth is."""

    name: str
    space: Space

    def curves(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        """True losses of n points at the r rungs, n x r x m; 0 is the ideal, 1 the nadir."""

    def seconds(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        """What each rung costs: training from the one before, and scoring, n x r."""

    @property
    def scoring(self) -> float:
        """What of that is scoring."""

    def noise(self, generator: np.random.Generator) -> Floats:
        """What one run sees on top of the truth, r x m."""

    @property
    def best(self) -> float:
        """The hypervolume of the true front, to the corner of all nadirs."""


Form = Callable[[Floats], Floats]
"""n x d numbers in [0, 1] to n x m losses whose front is known."""


def zdt1(x: Floats) -> Floats:
    """Convex front (Zitzler, Deb and Thiele 2000), its second loss by 10 so that a random point is near 0.4."""
    g = 1 + 9 * x[:, 1:].mean(axis=1)
    return np.column_stack([x[:, 0], g * (1 - np.sqrt(x[:, 0] / g)) / 10])


def zdt2(x: Floats) -> Floats:
    """Concave front (as above)."""
    g = 1 + 9 * x[:, 1:].mean(axis=1)
    return np.column_stack([x[:, 0], g * (1 - (x[:, 0] / g) ** 2) / 10])


def zdt3(x: Floats) -> Floats:
    """Front in five pieces (as above); shifted by 1 before the division, to be positive."""
    g = 1 + 9 * x[:, 1:].mean(axis=1)
    f = g * (1 - np.sqrt(x[:, 0] / g) - x[:, 0] / g * np.sin(10 * math.pi * x[:, 0]))
    return np.column_stack([x[:, 0], (f + 1) / 11])


def dtlz2(x: Floats) -> Floats:
    """An eighth of the unit sphere, three objectives (Deb, Thiele, Laumanns and Zitzler 2005), by 2."""
    g = ((x[:, 2:] - 0.5) ** 2).sum(axis=1)
    a, b = x[:, 0] * math.pi / 2, x[:, 1] * math.pi / 2
    f = np.column_stack([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)])
    return (1 + g)[:, None] * f / 2


def _front_of(form: Form, dimensions: int, free: int, rest: float, per_axis: int) -> Floats:
    """Losses on the front: the first `free` numbers range over a grid, the others have the value that is best."""
    axes = np.meshgrid(*[np.linspace(0, 1, per_axis)] * free, indexing="ij")
    x = np.full((axes[0].size, dimensions), rest)
    x[:, :free] = np.column_stack([axis.ravel() for axis in axes])
    losses = form(x)
    return losses[non_dominated(losses)]


_FIELDS = (
    Range("dropout", 0.0, 0.9),
    Range("caption_dropout", 0.0, 1.0),
    Range("mask_weight", 0.0, 1.0),
    Range("learning_rate", 1e-5, 1e-2, log=True),
    Range("min_snr_gamma", 1.0, 20.0, log=True),
    Range("prior_weight", 0.01, 1.0, log=True),
)
"""Fields of a recipe that can have any value in a range: each is one number of a closed form, by its quantile."""


@dataclass(frozen=True)
class ClosedForm:
    """A test function of the literature whose losses are reached by training.

    A point's losses fall towards their values with the steps, at a pace of its own, and rise again once it is trained
    for too long: the best number of steps, s*, is another rung for every point, so that the front is made of many
    numbers of steps, as that of fine-tunes is. At s* the losses are those of the test function: the front is known.
    """

    name: str
    form: Form
    front: Floats
    """Losses on the true front, dense."""
    sigma: float = 0.02
    """Deviation of a run's noise, half of it the same at all rungs."""
    objectives: tuple[str, ...] = ("identity", "pose")
    scoring: float = 3.0
    best: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "best", hypervolume(self.front, np.full(len(self.objectives), REFERENCE_LOSS)))

    @cached_property
    def space(self) -> Space:
        return Space(
            name=self.name, about=self.form.__doc__ or "", base="puppets", controlnet=None, subject="puppets/robot",
            rungs=RUNGS, eta=3.0, objectives=tuple(OBJECTIVES[name] for name in self.objectives), parameters=_FIELDS,
            fixed=(("prior", "images"),),
        )  # fmt: skip

    def curves(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        x = self._numbers(points)
        final, at = self.form(x)[:, None, :], np.log2(np.array(RUNGS) / RUNGS[0])[None, :, None]
        peak = self._peaks(x)[:, None, None]
        under = (
            0.5 * (1 - final) * (1 - 0.5 ** np.maximum(peak - at, 0))
        )  # half way from the nadir, each rung half of it
        over = 0.08 * np.maximum(at - peak, 0)
        return final + under + over

    def seconds(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        """A tenth of a second a step, and the panel."""
        return np.tile(np.diff((0, *RUNGS)) * 0.1 + self.scoring, (len(points), 1))

    def noise(self, generator: np.random.Generator) -> Floats:
        shape = len(RUNGS), len(self.objectives)
        return self.sigma * math.sqrt(0.5) * (generator.normal(size=(1, shape[1])) + generator.normal(size=shape))

    def _numbers(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        return np.array([[_quantile(parameter, point[parameter.name]) for parameter in _FIELDS] for point in points])

    def _peaks(self, x: Floats) -> Floats:
        """The index of the best rung: one of the last three, by where the point is on the front and how far off it."""
        return 2 + (np.floor(7 * x[:, 0]) % 3)


def _quantile(parameter: Range, value: float) -> float:
    scale = math.log if parameter.log else float
    low, high = scale(parameter.low), scale(parameter.high)
    return min(max((scale(value) - low) / (high - low), 0.0), 1.0)


THREE = ("identity", "pose", "drift")
CLOSED = {
    task.name: task
    for task in (
        ClosedForm("zdt1", zdt1, _front_of(zdt1, 6, 1, 0.0, 2001)),
        ClosedForm("zdt2", zdt2, _front_of(zdt2, 6, 1, 0.0, 2001)),
        ClosedForm("zdt3", zdt3, _front_of(zdt3, 6, 1, 0.0, 2001)),
        ClosedForm("dtlz2", dtlz2, _front_of(dtlz2, 6, 2, 0.5, 41), objectives=THREE),
    )
}


class PuppetsTable:
    """The shipped table of fine-tunes, with what its surrogate says of the recipes in between.

    It is searched as the space is shipped: a rung that the table has beside the space's is neither scored nor paid for.
    """

    name = "puppets"

    def __init__(self, table: Path) -> None:
        import pandas as pd

        from benchmarks.surrogate import Curves, Surrogate

        space, measured = load_space("puppets"), pd.read_parquet(table)
        curves = Curves.of(measured, [objective.name for objective in space.objectives])
        self.scoring = float(measured["seconds.score"].median())
        self.space, self._rungs = space, [curves.steps.tolist().index(rung) for rung in space.rungs]
        self._surrogate, self._lucky = Surrogate(space, curves), 1.0

    def exact(self) -> "PuppetsTable":
        """The same, but that a run scores what its recipe is worth, without luck."""
        made = copy(self)
        made.name, made._lucky = f"{self.name}-exact", 0.0
        return made

    def curves(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        scores = self._surrogate.mean(points)[:, self._rungs]
        ideal, nadir = (np.array([getattr(o, end) for o in self.space.objectives]) for end in ("ideal", "nadir"))
        return (scores - ideal) / (nadir - ideal)

    def seconds(self, points: Sequence[Mapping[str, Any]]) -> Floats:
        training = np.maximum(self._surrogate.seconds(points) - self.scoring, 0.0).cumsum(axis=1)[:, self._rungs]
        return np.diff(training, prepend=0.0, axis=1) + self.scoring

    def noise(self, generator: np.random.Generator) -> Floats:
        ideal, nadir = (np.array([getattr(o, end) for o in self.space.objectives]) for end in ("ideal", "nadir"))
        return self._lucky * self._surrogate.noise(generator)[self._rungs] / (nadir - ideal)

    @cached_property
    def best(self) -> float:
        """Of many even points, and of many more around the best of these."""
        return _searched(self, np.random.default_rng(0))


def _searched(task: PuppetsTable, generator: np.random.Generator, points: int = 8192, rounds: int = 12) -> float:
    """The hypervolume of the front that a search reaches which knows the truth and pays nothing."""
    corner = np.full(len(task.space.objectives), REFERENCE_LOSS)
    known = [task.space.sample(generator) for _ in range(points)]
    losses = task.curves(known)
    for _ in range(rounds):
        flat = losses.reshape(-1, losses.shape[-1])
        owners = np.unique(np.flatnonzero(non_dominated(flat)) // losses.shape[1])
        parents = [known[i] for i in owners]
        children = [_near(task.space, parents[i], generator) for i in generator.integers(len(parents), size=1024)]
        known = parents + children
        losses = np.concatenate([losses[owners], task.curves(children)])
    return hypervolume(losses.reshape(-1, losses.shape[-1]), corner)


def _near(space: Space, point: Mapping[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    """A point with some values drawn anew, or moved by a little where they are numbers."""
    fresh, values = space.sample(generator), {}
    for parameter in space.parameters:
        if not space.active(parameter, values):
            continue
        own = point.get(parameter.name, fresh.get(parameter.name))
        if own is None and not isinstance(parameter, Choice):
            own = parameter.sample(generator)
        moved = generator.random() < 0.3
        if moved and isinstance(parameter, Range):
            own = parameter.at(float(np.clip(_quantile(parameter, own) + generator.normal(0, 0.1), 0, 1 - 1e-9)))
        elif moved:
            own = parameter.sample(generator)
        values[parameter.name] = own
    return values
