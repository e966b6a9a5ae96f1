"""Which of several candidates are on the front, from repeated noisy scores: the odds, and when they are enough.

Everything minimises. `losses` is B x K x m: B repetitions (a seed each, the same for all candidates), K candidates, m
objectives; NaN where a candidate was not repeated. Candidates of one repetition share its seed and the panel, so what
these do to all of them is no part of the comparison: candidates are compared in pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Verdict = Literal["on", "off", "open"]

_TINY = 1e-18
"""Variance of scores that do not vary at all."""
_FEW = 4
"""Fewer candidates say too little of how candidates are spread."""
_AT_ONCE = 2_000_000
"""Comparisons that are held in memory."""


@dataclass(frozen=True)
class Odds:
    """What the repetitions say of each candidate."""

    means: Floats
    """K x m; of those with fewer repetitions as if they had all. NaN without any."""
    halves: Floats
    """K x m: half the width of the mean's interval, over seeds; NaN without two repetitions of anything."""
    chances: Floats
    """K: the probability of being on the front of all candidates; NaN where nothing is known of the noise."""
    beaten: Floats
    """K: the probability that one certain other candidate dominates it, of the one where that is the highest."""


def verdicts(before: Sequence[Verdict], odds: Odds, alpha: float) -> list[Verdict]:
    """Racing: who is off the front or on it with a probability of at least 1 - alpha. What is decided stays so.

    To be off it there must be a candidate that more likely than not dominates it: many that might, each a little, are
    no reason to drop it.

    As in F-race (Birattari, Stuetzle, Paquete and Varrentrapp 2002) a candidate is repeated only until it is decided;
    with the joint posterior in the place of the rank test, since one test has to ask for all objectives and all rivals
    at once. A posterior probability is a martingale: that of a member ever falls to alpha with a probability of at
    most alpha times the odds of being no member (Ville 1939), so looking after every repetition needs no correction.
    That holds as far as the posterior's model does; tests/analysis/test_racing.py measures it where it does not.
    """
    return [
        old if old != "open" else "off" if chance <= alpha and beaten >= 0.5 else "on" if chance >= 1 - alpha else old
        for old, chance, beaten in zip(before, odds.chances, odds.beaten, strict=True)
    ]


def odds(losses: Floats, confidence: float = 0.95, draws: int = 4000, seed: int = 0) -> Odds:
    """Means with intervals, and in how many draws of the joint posterior each candidate is on the front.

    The model is score = candidate + repetition + noise. The noise is normal, its variance each candidate's own and
    moderated, its correlation between objectives what all have in common. The candidates' true losses are normal
    around the mean of all (empirical Bayes, Efron and Morris 1972): without that the noise would count twice, and
    the front of a draw be wider than the true one. With fewer than four candidates their prior is flat.
    """
    repeated, count, m = losses.shape
    there = np.isfinite(losses).all(axis=2)
    seen = np.flatnonzero(there.any(axis=0)) if repeated else np.zeros(0, dtype=int)
    means, halves = np.full((count, m), np.nan), np.full((count, m), np.nan)
    chances, beaten = np.full(count, np.nan), np.full(count, np.nan)
    if len(seen) == 0:
        return Odds(means, halves, chances, beaten)
    losses, there = np.where(there[:, :, None], losses, np.nan)[:, seen], there[:, seen]
    own = there.sum(axis=0)
    means[seen], residuals, freedom = _additive(losses, there)
    halves[seen] = _halves(losses, own, confidence)
    if freedom > 0:
        chances[seen], beaten[seen] = _share_on_front(*_model(means[seen], residuals, own, freedom), draws, seed)
    elif len(seen) == 1:
        chances[seen], beaten[seen] = 1.0, 0.0
    return Odds(means, halves, chances, beaten)


def posterior(losses: Floats, draws: int, seed: int = 0) -> Floats:
    """Draws of the candidates' true losses, draws x K x m, from the model of `odds`; NaN for candidates that were never
    repeated, and for all where nothing is known of the noise.
    """
    there = np.isfinite(losses).all(axis=2)
    seen = np.flatnonzero(there.any(axis=0)) if len(losses) else np.zeros(0, dtype=int)
    found = np.full((draws, *losses.shape[1:]), np.nan)
    if len(seen):
        kept, there = np.where(there[:, :, None], losses, np.nan)[:, seen], there[:, seen]
        means, residuals, freedom = _additive(kept, there)
        if freedom > 0:
            model = _model(means, residuals, there.sum(axis=0), freedom)
            found[:, seen] = _drawn(*model, draws, np.random.default_rng(seed))
    return found


def moderated(variances: Floats, freedoms: Floats, most: float) -> tuple[Floats, Floats]:
    """Variances and degrees of freedom that lend each other what few repetitions lack (Smyth 2004).

    The variances are taken for draws of a scaled inverse chi-squared, whose two numbers are fitted to their logarithms.
    `most`: the degrees of freedom of all of it together, which none may exceed.
    """
    variances, usable = np.maximum(variances, _TINY), freedoms > 0
    if usable.sum() < 2:
        return np.full(len(variances), variances[usable][0] if usable.any() else np.nan), np.full(len(variances), most)
    half = freedoms[usable] / 2
    logs = np.log(variances[usable]) - special.digamma(half) + np.log(half)
    spread = logs.var(ddof=1) - special.polygamma(1, half).mean()
    prior = min(2 * _inverse_trigamma(spread), most) if spread > 0 else most
    centre = np.exp(logs.mean() + special.digamma(prior / 2) - np.log(prior / 2))
    shared = (prior * centre + freedoms * np.where(usable, variances, 0.0)) / (prior + freedoms)
    return np.maximum(shared, _TINY), np.minimum(prior + freedoms, most)


def _inverse_trigamma(value: float) -> float:
    """x with trigamma(x) = value, by Newton's steps on 1 / trigamma, which is nearly straight (Smyth 2004)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = special.polygamma(1, x)
        step = trigamma * (1 - trigamma / value) / special.polygamma(2, x)
        x += step
        if -step / x < 1e-10:
            break
    return float(x)


def _additive(losses: Floats, there: Booleans) -> tuple[Floats, Floats, int]:
    """Least squares for candidate + repetition: means (K x m), residuals (B x K x m, NaN where absent), freedom."""
    rows, columns = np.nonzero(there)
    repeated, count = there.shape
    design = np.zeros((len(rows), count + repeated))
    design[np.arange(len(rows)), columns] = 1.0
    design[np.arange(len(rows)), count + rows] = 1.0
    effects, _, rank, _ = np.linalg.lstsq(design, losses[rows, columns], rcond=None)
    residuals = np.full(losses.shape, np.nan)
    residuals[rows, columns] = losses[rows, columns] - design @ effects
    used = there.any(axis=1)
    return effects[:count] + effects[count:][used].mean(axis=0), residuals, len(rows) - int(rank)


def _halves(losses: Floats, own: NDArray[np.int64], confidence: float) -> Floats:
    """Half the width of each mean's t-interval, K x m: what a repetition does to all is a part of it."""
    if own.max() < 2:
        return np.full(losses.shape[1:], np.nan)
    halves = np.empty(losses.shape[1:])
    for k in range(losses.shape[2]):
        squares = np.nansum((losses[:, :, k] - np.nanmean(losses[:, :, k], axis=0)) ** 2, axis=0)
        variances, freedoms = moderated(squares / np.maximum(own - 1, 1), own - 1.0, float(own.sum() - len(own)))
        halves[:, k] = stats.t.ppf(0.5 + confidence / 2, freedoms) * np.sqrt(variances / own)
    return halves


def _model(means: Floats, residuals: Floats, own: NDArray[np.int64], freedom: int) -> tuple[Floats, Floats, Floats]:
    """The posterior: centres (K x m), factors of the covariances (K x m x m), degrees of freedom (K)."""
    count, m = means.shape
    share = own * freedom / own.sum()  # of the freedom, a candidate's
    variances, freedoms = np.empty((count, m)), np.empty((count, m))
    for k in range(m):
        squares = np.nansum(residuals[:, :, k] ** 2, axis=0)
        variances[:, k], freedoms[:, k] = moderated(squares / share, share, float(freedom))
    scale = np.sqrt(variances / own[:, None])
    noise = scale[:, :, None] * scale[:, None, :] * _correlation(residuals)
    return *_posterior(means, noise), freedoms.min(axis=1)


def _correlation(residuals: Floats) -> Floats:
    """m x m, of all residuals together."""
    rows = residuals[np.isfinite(residuals).all(axis=2)]
    covariance = rows.T @ rows + _TINY * np.eye(rows.shape[1])
    deviations = np.sqrt(np.diag(covariance))
    return covariance / np.outer(deviations, deviations)


def _posterior(means: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """Centres (K x m) and factors of the covariances (K x m x m), of means with a noise of K x m x m."""
    count, m = means.shape
    if count < _FEW:
        return means, np.linalg.cholesky(noise + _TINY * np.eye(m))
    mean_noise = noise.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(means.T) - mean_noise)
    floor = 0.05 * np.diag(mean_noise).mean() + _TINY  # few means may well lie closer together than what they stand for
    between = (vectors * np.maximum(values, floor)) @ vectors.T
    centre = means.mean(axis=0)
    gains = between @ np.linalg.inv(between + noise)  # K x m x m
    left = gains @ noise
    left = (left + left.transpose(0, 2, 1)) / 2
    factors = np.linalg.cholesky(left + (_TINY + 1e-9 * np.trace(left, axis1=1, axis2=2)[:, None, None]) * np.eye(m))
    return centre + np.einsum("kij,kj->ki", gains, means - centre), factors


def _share_on_front(centres: Floats, factors: Floats, freedoms: Floats, draws: int, seed: int) -> tuple[Floats, Floats]:
    """In how many draws each is on the front, and dominated by the one that most often does."""
    generator = np.random.default_rng(seed)
    count, m = centres.shape
    on, pairs, left = np.zeros(count), np.zeros((count, count)), draws
    while left:
        size = min(left, max(1, _AT_ONCE // (count * count)))
        drawn = _drawn(centres, factors, freedoms, size, generator)
        total = drawn.sum(axis=2)
        beaten = total[:, :, None] > total[:, None]  # where no objective is better, one is worse
        for k in range(m):
            beaten &= drawn[:, :, None, k] >= drawn[:, None, :, k]
        on += (~beaten.any(axis=2)).sum(axis=0)
        pairs += beaten.sum(axis=0)
        left -= size
    return on / draws, pairs.max(axis=1) / draws


def _drawn(centres: Floats, factors: Floats, freedoms: Floats, size: int, generator: np.random.Generator) -> Floats:
    """Draws of K candidates' losses, size x K x m. One chi-squared scales a candidate's objectives: they are
    t-distributed."""
    normal = np.einsum("kij,nkj->nki", factors, generator.standard_normal((size, *centres.shape)))
    scale = np.sqrt(generator.chisquare(np.broadcast_to(freedoms, (size, len(centres)))) / freedoms)
    return centres + normal / scale[:, :, None]
