"""What one field of a recipe may be, and how it is drawn: evenly, or as an expert would."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Conditions = tuple[tuple[str, tuple[Any, ...]], ...]
"""(field, values) pairs: each field must have one of its values for the parameter to exist."""


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    name: str
    values: tuple[Any, ...]
    when: Conditions = ()
    weights: tuple[float, ...] | None = None
    """The expert's, one for each value, in no particular unit."""

    def has(self, value: Any) -> bool:
        """Whether it may be this."""
        return any(value == known and type(value) is type(known) for known in self.values)

    def at(self, quantile: float) -> Any:
        """The value at a quantile in [0, 1) of the even draw."""
        return self.values[int(quantile * len(self.values))]

    def quantile(self, value: Any) -> float:
        """The middle of the quantiles that `at` makes this value of. ValueError for a value that is none of them."""
        return (self.values.index(value) + 0.5) / len(self.values)

    def sample(self, generator: np.random.Generator) -> Any:
        return self.values[int(generator.integers(len(self.values)))]

    def sample_prior(self, generator: np.random.Generator) -> Any:
        """By the weights; evenly without any."""
        if self.weights is None:
            return self.sample(generator)
        shares = np.array(self.weights) / sum(self.weights)
        return self.values[int(generator.choice(len(self.values), p=shares))]


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; `log` draws its logarithm evenly."""

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False
    when: Conditions = ()
    prior: float | None = None
    """What the expert takes for best."""
    spread: float | None = None
    """How sure: the deviation around `prior`, a factor above 1 where `log`; None is a quarter of the range."""

    def has(self, value: Any) -> bool:
        """Whether it may be this."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        number = whole if self.integer else whole or isinstance(value, float)
        return number and self.low <= value <= self.high

    def at(self, quantile: float) -> Any:
        """The value at a quantile in [0, 1) of the even draw."""
        low, high = self._ends()
        return self._value(low + quantile * (high - low))

    def quantile(self, value: float) -> float:
        """The quantile that `at` makes this value of: 0 to 1, within a bin where only integers count."""
        low, high = self._ends()
        place = math.log(value) if self.log else float(value)
        return min(max((place - low) / (high - low), 0.0), 1.0)

    def settled(self, quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
        """The `quantile` of what is `at` each of n quantiles, as arrays are reckoned: to the last bits."""
        low, high = self._ends()
        drawn = low + quantiles * (high - low)
        values = np.exp(drawn) if self.log else drawn
        values = np.clip(np.rint(values) if self.integer else values, self.low, self.high)
        return np.clip(((np.log(values) if self.log else values) - low) / (high - low), 0.0, 1.0)

    def sample(self, generator: np.random.Generator) -> Any:
        return self.at(generator.random())

    def sample_prior(self, generator: np.random.Generator) -> Any:
        """Normal around `prior` in the range's own scale, cut off at both ends; evenly without one."""
        if self.prior is None:
            return self.sample(generator)
        low, high = self._ends()
        scale = math.log if self.log else float
        bell = NormalDist(scale(self.prior), (high - low) / 4 if self.spread is None else scale(self.spread))
        quantile = generator.uniform(bell.cdf(low), bell.cdf(high))
        return self._value(bell.inv_cdf(float(np.clip(quantile, 1e-15, 1 - 1e-15))))

    def _ends(self) -> tuple[float, float]:
        """In the scale that is drawn in; an integer range gives both ends a whole bin."""
        half = 0.5 if self.integer else 0.0
        low, high = self.low - half, self.high + half
        return (math.log(low), math.log(high)) if self.log else (low, high)

    def _value(self, drawn: float) -> Any:
        value = math.exp(drawn) if self.log else drawn
        kept = min(max(round(value) if self.integer else value, self.low), self.high)  # exp(log(low)) may be below it
        return int(kept) if self.integer else float(kept)


Parameter = Choice | Range
