"""Boxes fill what a front leaves, and the expected gain is what drawn points gain on average."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.improvement import expected_improvement, free_boxes
from analysis.pareto import hypervolume

fronts = st.integers(2, 4).flatmap(
    lambda m: st.lists(st.lists(st.integers(0, 5).map(lambda k: k / 4), min_size=m, max_size=m), min_size=1, max_size=6)
)


@given(fronts)
def test_boxes_are_disjoint_and_have_all_the_volume_that_is_not_dominated(points):
    m = len(points[0])
    lower, upper = free_boxes(points, 1.0)
    assert np.prod(upper - np.maximum(lower, 0.0), axis=1).sum() == pytest.approx(1 - hypervolume(points, 1.0))
    above = free_boxes(points, 1.0, ideal=0.5)
    assert (above[0] >= 0.5).all() and (above[1] > above[0]).all()
    half = hypervolume(np.maximum(points, 0.5), 1.0)
    assert np.prod(above[1] - above[0], axis=1).sum() == pytest.approx(0.5**m - half)
    centres = np.random.default_rng(0).random((50, m))
    inside = ((centres[:, None] > lower) & (centres[:, None] < upper)).all(axis=2).sum(axis=1)
    dominated = (np.array(points)[None] <= centres[:, None]).all(axis=2).any(axis=1)
    assert (inside == np.where(dominated, 0, 1)).all()


@pytest.mark.parametrize("m", [2, 3])
def test_the_expected_gain_is_the_mean_gain_of_draws(m):
    generator = np.random.default_rng(m)
    front, reference = generator.random((5, m)), np.ones(m)
    mean, deviation = generator.random((3, m)) * 0.6, 0.05 + 0.2 * generator.random((3, m))
    expected = expected_improvement(mean, deviation, free_boxes(front, reference))
    had = hypervolume(front, reference)
    for i in range(3):
        drawn = mean[i] + deviation[i] * generator.normal(size=(1500, m))
        gains = [hypervolume(np.vstack([front, row]), reference) - had for row in drawn]
        assert expected[i] == pytest.approx(np.mean(gains), abs=4 * np.std(gains) / np.sqrt(1500) + 1e-6)


def test_a_sure_point_gains_what_it_adds_and_a_dominated_one_nothing():
    boxes = free_boxes([[0.5, 0.5]], 1.0)
    gain = expected_improvement([[0.25, 0.25], [0.75, 0.75]], np.full((2, 2), 1e-9), boxes)
    assert gain == pytest.approx([0.75**2 - 0.5**2, 0.0])
