"""Gaussian processes over recipes and steps: what a checkpoint that nobody made yet may score."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

Floats = NDArray[np.float64]
ITERATIONS = 40
_JITTER = 1e-8
_JITTER_DRAWN = 1e-5
"""Of candidates some are all but the same."""


@dataclass(frozen=True)
class Rows:
    """n scored checkpoints."""

    features: Floats
    """n x d, recipes as numbers between 0 and 1; what a feature's differences are worth is learnt."""
    at: Floats
    """n, the rung's place between the first, 0, and the last, 1."""
    trials: NDArray[np.int64]
    """n, whose checkpoint it is: one trial's luck is the same at all its rungs."""
    groups: NDArray[np.int64]
    """d, the parameter that a feature belongs to: a choice has a feature for each of its values."""


def matern(squared: Floats) -> tuple[Floats, Floats]:
    """Matern 5/2 of squared distances, and minus twice its derivative by them."""
    root = np.sqrt(5 * squared)
    decay = np.exp(-root)
    return (1 + root + root * root / 3) * decay, 5 / 3 * (1 + root) * decay


def decayed(squared: Floats) -> Floats:
    """Matern 5/2 of squared distances, without its derivative."""
    root = np.sqrt(5 * squared)
    value = squared * (5 / 3)
    value += root
    value += 1
    value *= np.exp(np.negative(root, out=root), out=root)
    return value


def distances(a: Floats, b: Floats, groups: NDArray[np.int64]) -> Floats:
    """Squared distances by parameter, p x n x k. Two values of a choice are 1 apart."""
    parts = np.zeros((int(groups.max()) + 1, len(a), len(b)))
    for k, group in enumerate(groups):
        parts[group] += (a[:, None, k] - b[None, :, k]) ** 2
    return parts


class Curves:
    """One objective: s^2 k(x, x') + (q^2 l(x, x') + a^2) h(t, t') + b^2 [same trial] + c^2 [same row].

    All Matern 5/2. The first part is how good a recipe is, the second the shape of its curve, the third what all
    curves have in common, the fourth a trial's luck, the last a checkpoint's. k and l have a length scale for each
    parameter: where the best number of steps jumps from recipe to recipe, what is good need not. Scales are those of
    the largest posterior density.
    """

    def __init__(self, scales: Floats) -> None:
        self.scales = scales

    @classmethod
    def fitted(cls, rows: Rows, losses: Floats) -> "Curves":
        """The scales for n losses with mean 0 and deviation 1."""
        known = _Known.of(rows)
        start, _ = _prior(len(known.parts))
        bounds = [(-3.0, 5.0)] * (2 * len(known.parts)) + [(-2.0, 3.0)] + [(-6.0, 3.0)] * 5
        found = minimize(_loss, start, (known, losses), jac=True, method="L-BFGS-B", bounds=bounds,
                         options={"maxiter": ITERATIONS})  # fmt: skip
        return cls(found.x)


@dataclass(frozen=True)
class _Known:
    """What the covariance of n rows is made of."""

    parts: Floats
    """p x n x n, squared distances by parameter."""
    gaps: Floats
    """n x n, squared distances of rungs."""
    same: Floats
    """n x n, 1 where both are of one trial."""

    @classmethod
    def of(cls, rows: Rows) -> "_Known":
        gaps = (rows.at[:, None] - rows.at[None, :]) ** 2
        same = (rows.trials[:, None] == rows.trials[None, :]).astype(float)
        return cls(distances(rows.features, rows.features, rows.groups), gaps, same)


class Posterior:
    """What is expected of other checkpoints, given some."""

    def __init__(self, scales: Floats, rows: Rows, losses: Floats) -> None:
        p = (len(scales) - 6) // 2
        self._good, self._shape = (np.exp(-each)[rows.groups] for each in (scales[:p], scales[p : 2 * p]))
        self._step = math.exp(-2 * scales[2 * p])
        self._s, self._q, self._a, b, c = np.exp(2 * scales[2 * p + 1 :])
        self._luck = b + c
        self._rows, (self._places, at) = rows, np.unique(rows.at, return_inverse=True)
        self._of_place = np.eye(len(self._places))[at]
        good, shape = self._parts(rows.features)
        luck = b * (rows.trials[:, None] == rows.trials[None, :])
        luck[np.diag_indices(len(luck))] += c + _JITTER
        covariance = good + shape * self._steps(self._places)[at][:, at] + luck
        self._inverse = _inverse(cholesky(covariance, lower=True, check_finite=False))
        self._weights = self._inverse @ losses
        self.seen = losses - luck @ self._weights
        """n, what is expected of the rows themselves, without luck."""

    def at(self, features: Floats, rungs: Floats) -> tuple[Floats, Floats]:
        """Mean and deviation of k recipes at each of r rungs, k x r both, without luck.

        `features`: the recipes', k x d. Their covariance with the rows is g + v h(r), where h has one value for all
        rows of a rung; so what is quadratic in it is put together from sums over the rows of each pair of rungs, and
        the k x n products with the n x n inverse are not made anew for each of the r.
        """
        (g, v), h, of_place = self._parts(features), self._steps(rungs), self._of_place
        mean = (g @ self._weights)[:, None] + (v * self._weights) @ of_place @ h.T
        along = g @ self._inverse
        quadratic = np.einsum("ij,ij->i", along, g)[:, None] + 2 * ((along * v) @ of_place) @ h.T
        for place, own in enumerate(of_place.T):
            rows = np.flatnonzero(own)
            of_pairs = ((v[:, rows] @ self._inverse[rows]) * v) @ of_place
            quadratic += (of_pairs @ h.T) * h[:, place]
        variance = self._s + self._q + self._a - quadratic
        return mean, np.sqrt(np.maximum(variance, 1e-12))

    @property
    def luck(self) -> float:
        """What of the variance between recipes at a rung is the luck of runs."""
        return self._luck / (self._s + self._q + self._luck)

    def drawn(self, features: Floats, at: Floats, generator: np.random.Generator) -> Floats:
        """k recipes, each at a rung of its own, as one function has them that is drawn from the posterior."""
        good, shape = self._parts(features)
        rows = good + shape * (self._steps(at) @ self._of_place.T)
        near, like = (decayed(_squared(features * each, features * each)) for each in (self._good, self._shape))
        between = self._s * near + (self._q * like + self._a) * decayed((at[:, None] - at) ** 2 * self._step)
        between -= rows @ self._inverse @ rows.T
        between[np.diag_indices(len(between))] += _JITTER_DRAWN
        return rows @ self._weights + cholesky(between, lower=True) @ generator.normal(size=len(at))

    def _parts(self, features: Floats) -> tuple[Floats, Floats]:
        """Of the covariance with the rows: what is the same at all rungs, and what is worth less the further apart."""
        good, shape = (
            decayed(_squared(features * each, self._rows.features * each)) for each in (self._good, self._shape)
        )
        good *= self._s
        shape *= self._q
        shape += self._a
        return good, shape

    def _steps(self, rungs: Floats) -> Floats:
        return decayed((rungs[:, None] - self._places[None, :]) ** 2 * self._step)


def _squared(a: Floats, b: Floats) -> Floats:
    """Squared distances of all rows of two, n x k."""
    apart = a @ (-2 * b.T)
    apart += (a * a).sum(axis=1)[:, None]
    apart += (b * b).sum(axis=1)
    return np.maximum(apart, 0.0, out=apart)


def _weighted(parts: Floats, scales: Floats) -> Floats:
    return np.tensordot(np.exp(-2 * scales), parts, axes=1)


def _inverse(factor: Floats) -> Floats:
    lower = np.tril(dpotri(factor, lower=1)[0])
    return lower + np.tril(lower, -1).T


def _covariance(scales: Floats, known: _Known) -> tuple[Floats, tuple[tuple[Floats, Floats], ...]]:
    p = len(known.parts)
    good, shape = matern(_weighted(known.parts, scales[:p])), matern(_weighted(known.parts, scales[p : 2 * p]))
    step = matern(known.gaps * math.exp(-2 * scales[2 * p]))
    s, q, a, b, c = np.exp(2 * scales[2 * p + 1 :])
    whole = s * good[0] + (q * shape[0] + a) * step[0] + b * known.same
    whole[np.diag_indices(len(whole))] += c + _JITTER
    return whole, (good, shape, step)


def _loss(scales: Floats, known: _Known, losses: Floats) -> tuple[float, Floats]:
    """Minus the logarithm of the posterior density of the scales, and its gradient."""
    p = len(known.parts)
    covariance, ((good, good_slope), (shape, shape_slope), (step, step_slope)) = _covariance(scales, known)
    try:
        factor = cholesky(covariance, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(scales)
    weights = cho_solve((factor, True), losses, check_finite=False)
    by = 0.5 * (_inverse(factor) - np.outer(weights, weights))  # the derivative by the covariance
    s, q, a, b, c = np.exp(2 * scales[2 * p + 1 :])
    stepped, lengths = by * step, np.exp(-2 * scales[: 2 * p])
    gradient = np.empty_like(scales)
    gradient[:p] = s * lengths[:p] * np.tensordot(known.parts, by * good_slope, axes=2)
    gradient[p : 2 * p] = q * lengths[p:] * np.tensordot(known.parts, stepped * shape_slope, axes=2)
    gradient[2 * p] = math.exp(-2 * scales[2 * p]) * float((by * step_slope * (q * shape + a) * known.gaps).sum())
    gradient[2 * p + 1] = 2 * s * float((by * good).sum())
    gradient[2 * p + 2] = 2 * q * float((stepped * shape).sum())
    gradient[2 * p + 3] = 2 * a * float(stepped.sum())
    gradient[2 * p + 4] = 2 * b * float((by * known.same).sum())
    gradient[2 * p + 5] = 2 * c * float(np.trace(by))
    mean, spread = _prior(p)
    off = (scales - mean) / spread
    value = 0.5 * losses @ weights + np.log(np.diag(factor)).sum() + 0.5 * off @ off
    return float(value), gradient + off / spread


def _prior(p: int) -> tuple[Floats, Floats]:
    """Normal, of the logarithms: mean and deviation. Few checkpoints are no proof that a parameter does not matter."""
    mean = np.array([0.7] * (2 * p) + [0.0, 0.0, -1.0, -1.0, -2.5, -2.5])
    return mean, np.ones(2 * p + 6)
