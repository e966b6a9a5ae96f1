"""One sweep against another: coverage, and hypervolume at the same number of trials with a paired test.

Everything minimises. Scores have to be of the same subject, panel and judges. A sweep is given as its trials in the
order in which they were proposed, each with the losses of all that was scored of it (k_i x m, NaN rows add nothing).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.pareto import Floats, hypervolume, non_dominated

DRAWS = 1000
EXACT = 10
"""Up to so many pairs all ways to swap them are tried."""


@dataclass(frozen=True)
class Versus:
    """A sweep's hypervolume against another's."""

    trials: int
    """In common: of both the first so many count."""
    first: float
    second: float
    difference: float
    """The first less the second."""
    p: float | None
    """How often chance makes it as large, if each pair of trials had been swapped or not; None without a trial."""

    @property
    def in_words(self) -> str:
        if self.p is None:
            return "no trials in common"
        said = f"{self.first:.3f} against {self.second:.3f} after {self.trials} trials each ({self.difference:+.3f}"
        return f"{said}, p {self.p:.2g})" if self.p < 0.05 else f"{said}, no significant difference: p {self.p:.2g})"


@dataclass(frozen=True)
class Repeats:
    """The differences of repeated sweeps, each with its partner (the same seed, or the same place in order)."""

    pairs: int
    difference: float
    low: float | None
    """The 95 % interval by Student's t; None with fewer than three pairs."""
    high: float | None
    p: float | None
    """Of the sign-flip test; None with fewer than three pairs, which cannot tell."""


def coverage(first: Floats, second: Floats) -> float:
    """The share of the second set's members that one of the first is at least as good as in all objectives (C-metric,
    Zitzler and Thiele 1998); NaN for an empty second set. It is not one less the other way round.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    first, second = (points[~np.isnan(points).any(axis=1)] for points in (first, second))
    if len(second) == 0:
        return float("nan")
    front = first[non_dominated(first)]
    return float(np.mean([(front <= point).all(axis=1).any() for point in second])) if len(front) else 0.0


def versus(
    first: Sequence[Floats], second: Sequence[Floats], reference: float | Floats, draws: int = DRAWS, seed: int = 0
) -> Versus:
    """Two sweeps' hypervolumes after as many trials as both have, with a paired permutation test.

    Trial k of one and trial k of the other are a pair: both had k - 1 before. If it made no difference which sweep a
    trial is of, swapping pairs would leave the distribution of the difference as it is (Good 2005), so it is compared
    with what random swaps give. It says whether these two sweeps differ. How much sweeps of the same settings differ
    among themselves it does not know: for that they have to be repeated (`repeats`).
    """
    common = min(len(first), len(second))
    pairs = [[np.atleast_2d(sweep[k]) for k in range(common)] for sweep in (first, second)]
    if common == 0:
        return Versus(0, 0.0, 0.0, 0.0, None)
    volumes = [hypervolume(np.vstack(trials), reference) for trials in pairs]
    difference, generator = volumes[0] - volumes[1], np.random.default_rng(seed)
    if common <= EXACT:
        swaps = np.array([[bool(number >> k & 1) for k in range(common)] for number in range(2**common)])
    else:
        swaps = generator.random((draws, common)) < 0.5
        swaps[0] = False  # as it is: a test by random swaps is only valid with it
    fronts = [[trial[non_dominated(trial)] for trial in trials] for trials in pairs]
    as_large = 0
    for swap in swaps:
        mixed = [
            hypervolume(np.vstack([fronts[int(other) ^ side][k] for k, other in enumerate(swap)]), reference)
            for side in (0, 1)
        ]
        as_large += abs(mixed[0] - mixed[1]) >= abs(difference) - 1e-12
    return Versus(common, volumes[0], volumes[1], difference, as_large / len(swaps))


def repeats(first: Sequence[float], second: Sequence[float], draws: int = 10_000, seed: int = 0) -> Repeats:
    """Hypervolumes (or any figure) of repeated sweeps, paired by their places; exact up to 10 pairs."""
    differences = np.array(first, dtype=float) - np.array(second, dtype=float)
    count = len(differences)
    mean = float(differences.mean()) if count else float("nan")
    if count < 3:
        return Repeats(count, mean, None, None, None)
    if count <= EXACT:
        signs = np.array([[1 if number >> k & 1 else -1 for k in range(count)] for number in range(2**count)])
    else:
        signs = np.random.default_rng(seed).choice([-1, 1], (draws, count))
        signs[0] = 1
    p = float((np.abs((signs * differences).mean(axis=1)) >= abs(mean) - 1e-12).mean())
    half = float(stats.t.ppf(0.975, count - 1) * differences.std(ddof=1) / np.sqrt(count))
    return Repeats(count, mean, mean - half, mean + half, p)
