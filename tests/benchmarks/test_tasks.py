"""The problems: their fronts are where they are said to be, and their curves rise and fall as described."""

import numpy as np
import pytest

from analysis.pareto import hypervolume
from benchmarks.tasks import CLOSED, RUNGS


@pytest.mark.parametrize("name", CLOSED)
def test_no_checkpoint_lies_beyond_the_front_and_some_lie_near(name):
    task, generator = CLOSED[name], np.random.default_rng(0)
    losses = task.curves([task.space.sample(generator) for _ in range(4000)]).reshape(-1, len(task.objectives))
    beyond = (losses[:, None] < task.front[None, :: max(1, len(task.front) // 200)] - 1e-9).all(axis=2).any(axis=1)
    assert not beyond.any()
    share = hypervolume(losses, np.ones(len(task.objectives))) / task.best
    assert 0.7 < share < 1.0


def test_the_fronts_volumes_are_those_of_the_formulas():
    assert CLOSED["zdt1"].best == pytest.approx(1 - (1 - 2 / 3) / 10, abs=1e-4)
    assert CLOSED["zdt2"].best == pytest.approx(1 - (2 / 3) / 10, abs=1e-4)
    assert CLOSED["dtlz2"].best == pytest.approx(1 - np.pi / 6 / 8, rel=0.01)


@pytest.mark.parametrize("name", CLOSED)
def test_each_point_has_a_best_number_of_steps_and_they_differ(name):
    task, generator = CLOSED[name], np.random.default_rng(1)
    curves = task.curves([task.space.sample(generator) for _ in range(300)])
    best = curves.mean(axis=2).argmin(axis=1)
    assert set(best) == {2, 3, 4}
    for curve, at in zip(curves, best, strict=True):
        assert (np.diff(curve[: at + 1], axis=0) <= 1e-12).all() and (np.diff(curve[at:], axis=0) >= -1e-12).all()


def test_noise_is_partly_the_same_at_all_rungs():
    task, generator = CLOSED["zdt1"], np.random.default_rng(2)
    drawn = np.array([task.noise(generator) for _ in range(4000)])
    assert drawn.shape == (4000, len(RUNGS), 2)
    np.testing.assert_allclose(drawn.std(axis=0), task.sigma, rtol=0.1)
    assert np.corrcoef(drawn[:, 0, 0], drawn[:, 4, 0])[0, 1] == pytest.approx(0.5, abs=0.05)
