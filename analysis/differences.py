"""Differences with their 95 % intervals, and what is said of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.pareto import Floats

LEAST = 3
"""Fewer values give no interval."""


@dataclass(frozen=True)
class Difference:
    """Of two figures."""

    value: float
    low: float | None
    """The 95 % interval; None where too little is known."""
    high: float | None

    @property
    def clear(self) -> bool:
        """Whether its interval is clear of 0."""
        return self.low is not None and (self.low > 0 or self.high < 0)

    @property
    def in_words(self) -> str:
        if self.low is None:
            return f"{signed(self.value)}"
        return f"{signed(self.value)} ({signed(self.low)} to {signed(self.high)})"


def signed(value: float, decimals: int = 3) -> str:
    """With its sign, unless it is nothing at all."""
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text


def welch(first: Floats, second: Floats) -> Difference:
    """Of the means of two independent groups, first less second, by Welch's (1947) t."""
    value = float(first.mean() - second.mean()) if len(first) and len(second) else math.nan
    if min(len(first), len(second)) < LEAST:
        return Difference(value, None, None)
    parts = np.array([group.var(ddof=1) / len(group) for group in (first, second)])
    if parts.sum() == 0:
        return Difference(value, value, value)
    freedom = parts.sum() ** 2 / (parts**2 / (np.array([len(first), len(second)]) - 1)).sum()
    half = float(stats.t.ppf(0.975, freedom) * math.sqrt(parts.sum()))
    return Difference(value, value - half, value + half)


def adjusted_for(others: Floats, group: NDArray[np.bool_], values: Floats) -> Difference:
    """Of the values in a group and not, with n x d other numbers held equal, by least squares (covariance analysis)."""
    design = np.column_stack([np.ones(len(values)), group, others - others.mean(axis=0)])
    fitted, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    freedom = len(values) - int(rank)
    if freedom < 1 or min(group.sum(), (~group).sum()) < LEAST:
        return Difference(float(fitted[1]), None, None)
    residual = float(((values - design @ fitted) ** 2).sum()) / freedom
    half = float(stats.t.ppf(0.975, freedom) * math.sqrt(residual * np.linalg.pinv(design.T @ design)[1, 1]))
    return Difference(float(fitted[1]), float(fitted[1]) - half, float(fitted[1]) + half)


def paired(differences: Floats) -> Difference:
    """Of n pairs' differences, by Student's t."""
    value = float(differences.mean()) if len(differences) else math.nan
    if len(differences) < LEAST:
        return Difference(value, None, None)
    half = float(stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / math.sqrt(len(differences)))
    return Difference(value, value - half, value + half)


def superiority(first: Floats, second: Floats) -> Difference:
    """How often a value of the first group is above one of the second, ties half, 0 to 1; less one half, so that 0 is
    no difference. The score-type interval of Newcombe (2006), which also holds for few values.
    """
    m, n = len(first), len(second)
    if min(m, n) == 0:
        return Difference(math.nan, None, None)
    above = float(((first[:, None] > second) + 0.5 * (first[:, None] == second)).mean())
    if min(m, n) < 2:
        return Difference(above - 0.5, None, None)
    share, other = np.linspace(0, 1, 4001), (m + n) / 2 - 1
    variance = share * (1 - share) * (1 + other * (1 - share) / (2 - share) + other * share / (1 + share)) / (m * n)
    inside = share[np.abs(share - above) <= stats.norm.ppf(0.975) * np.sqrt(variance) + 1e-12]
    return Difference(above - 0.5, float(inside.min()) - 0.5, float(inside.max()) - 0.5)


def to_json(differences: Mapping[str, Difference]) -> dict[str, dict[str, float | None]]:
    """Plain values; what is no number is null."""
    plain = lambda value: None if value is None or math.isnan(value) else value  # noqa: E731
    return {
        name: {"value": plain(d.value), "low": plain(d.low), "high": plain(d.high)} for name, d in differences.items()
    }
