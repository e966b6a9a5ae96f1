"""The odds of being on the front, against truths that are known; the errors of racing, by simulation."""

import numpy as np
import pytest
from scipy import stats

from analysis.pareto import non_dominated
from analysis.racing import moderated, odds, verdicts

ALPHA, SEEDS = 0.05, 8


def true_losses(generator: np.random.Generator, kind: str) -> np.ndarray:
    """Twelve candidates along a convex front: half of them on it, or all, or all within two noises of each other."""
    x = generator.random(12)
    behind = np.where(generator.random(12) < 0.5, 0.0, generator.exponential(0.06, 12)) * (kind != "all")
    curve = np.column_stack([x, 1 - np.sqrt(x)]) + behind[:, None]
    return np.column_stack([x, 1 - x]) * 0.1 if kind == "near" else curve


def raced(generator: np.random.Generator, kind: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Who is on the true front, the verdicts, and how many repetitions it took."""
    means = true_losses(generator, kind)
    own = 0.03 * np.exp(generator.normal(0, 0.5 * (kind == "uneven"), len(means)))
    losses, seen, used = np.full((SEEDS, *means.shape), np.nan), ["open"] * len(means), 0
    for repetition in range(SEEDS):
        left = np.array([verdict == "open" for verdict in seen])
        noise = generator.standard_t(3, means.shape) / np.sqrt(3) if kind == "heavy" else None
        noise = generator.normal(size=means.shape) if noise is None else noise
        shared = generator.normal(0, 0.05, 2)  # of the seed: cancels
        losses[repetition, left] = (means + shared + own[:, None] * noise)[left]
        used += int(left.sum())
        if repetition:
            seen = verdicts(seen, odds(losses[: repetition + 1], draws=500), ALPHA)
    return non_dominated(means), np.array(seen), used


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("plain", "heavy", "all")]


@pytest.mark.parametrize("kind", ["uneven", "near", *SLOW])
def test_of_the_true_front_less_than_alpha_is_lost_and_racing_saves_runs(kind):
    generator = np.random.default_rng(1)
    runs = [raced(generator, kind) for _ in range(12)]
    truth, seen = (np.concatenate([run[part] for run in runs]) for part in (0, 1))
    assert (seen[truth] == "off").mean() < ALPHA
    if kind != "all" and kind != "near":
        assert (seen[~truth] == "on").mean() < 2 * ALPHA  # of few: some 40
        assert (seen != "open").mean() > 0.5
    assert sum(run[2] for run in runs) < (0.8 if kind != "near" else 1.0) * len(runs) * SEEDS * 12


def test_what_a_seed_does_to_all_is_in_the_intervals_and_not_in_the_comparison():
    generator = np.random.default_rng(2)
    means = np.array([[0.2, 0.6], [0.6, 0.2], [0.65, 0.65]])
    quiet = means + generator.normal(0, 0.01, (6, 3, 2))
    loud = quiet + generator.normal(0, 0.5, (6, 1, 2))
    assert odds(loud).chances == pytest.approx(odds(quiet).chances, abs=0.02)
    assert (odds(loud).halves > 5 * odds(quiet).halves).all()
    assert odds(quiet).chances[:2] == pytest.approx([1, 1], abs=0.01) and odds(quiet).chances[2] < 0.01


def test_one_alone_has_the_interval_of_the_t_test_and_what_dropped_out_is_compared_fairly():
    column = np.array([0.3, 0.5, 0.46, 0.41])
    seen = odds(column[:, None, None] * np.ones((1, 1, 2)))
    expected = stats.t.interval(0.95, 3, column.mean(), stats.sem(column))
    assert (seen.means[0, 0] - seen.halves[0, 0], seen.means[0, 0] + seen.halves[0, 0]) == pytest.approx(expected)
    generator = np.random.default_rng(3)
    shared = generator.normal(0, 1, (8, 1, 2))
    losses = np.array([[0.2, 0.6], [0.6, 0.2], [0.7, 0.7], [0.1, 0.9]]) + shared + generator.normal(0, 0.01, (8, 4, 2))
    losses[2:, 2] = np.nan  # its own mean would be of other seeds than the others'
    assert odds(losses).means[2] - odds(losses).means[0] == pytest.approx([0.5, 0.1], abs=0.03)
    assert odds(losses).chances[2] < 0.01


def test_too_little_says_so_and_scores_that_never_vary_are_certain():
    once = odds(np.array([[[0.2, 0.6], [0.6, 0.2]]]))
    assert np.isnan(once.halves).all() and np.isnan(once.chances).all() and once.means[0, 0] == pytest.approx(0.2)
    assert verdicts(["open", "off"], once, ALPHA) == ["open", "off"]
    empty = odds(np.full((2, 3, 2), np.nan))
    assert np.isnan(empty.means).all() and np.isnan(empty.chances).all()
    flat = odds(np.repeat([[[0.2, 0.6], [0.6, 0.2], [0.7, 0.7], [0.2, 0.6], [0.9, 0.9]]], 2, axis=0))
    assert flat.chances[[1, 2, 4]] == pytest.approx([1, 0, 0]) and (flat.halves < 1e-6).all()


def test_moderated_variances_lie_between_their_own_and_what_all_have():
    generator = np.random.default_rng(4)
    truth = 0.04 / generator.chisquare(8, 400) * 8
    own = truth * generator.chisquare(3, 400) / 3
    lent, freedoms = moderated(own, np.full(400, 3.0), 1e9)
    assert np.abs(np.log(lent / truth)).mean() < 0.6 * np.abs(np.log(own / truth)).mean()
    assert freedoms[0] == pytest.approx(3 + 8, rel=0.35)
