"""Attainment, coverage and the tests between sweeps: by definition, and against moocore."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moocore import eaf

from analysis.against import coverage, repeats, versus
from analysis.attainment import band, surface
from analysis.pareto import non_dominated

POINTS = st.lists(st.tuples(*[st.integers(0, 5).map(float)] * 2), min_size=1, max_size=7).map(np.array)
FRONTS = st.lists(POINTS, min_size=1, max_size=6)


def attained(point, front):
    return bool((front <= point).all(axis=1).any())


@settings(deadline=None, max_examples=30)
@given(FRONTS)
def test_a_surface_is_what_so_many_fronts_attain(fronts):
    grid = np.array([[x, y] for x in range(-1, 6) for y in range(-1, 6)])
    for least in range(1, len(fronts) + 1):
        corners = surface(fronts, least)
        assert non_dominated(corners).all() and (np.diff(corners[:, 0]) > 0).all()
        for point in grid:
            assert attained(point, corners) == (sum(attained(point, front) for front in fronts) >= least)


@settings(deadline=None, max_examples=40)
@given(FRONTS)
def test_surfaces_agree_with_moocore(fronts):
    sets = np.repeat(np.arange(1, len(fronts) + 1), [len(front) for front in fronts])
    levels = [100 * least / len(fronts) for least in range(1, len(fronts) + 1)]
    found = eaf(np.vstack(fronts), sets, percentiles=levels)
    for least, level in enumerate(levels, start=1):
        assert surface(fronts, least).tolist() == found[np.isclose(found[:, 2], level), :2].tolist()


def test_a_band_of_one_front_is_that_front_and_of_none_of_numbers_nothing():
    front = np.array([[0.0, 1.0], [0.5, 0.5], [0.6, 0.6], [np.nan, 0.0]])
    only = band([front])
    assert only.best.tolist() == only.median.tolist() == only.worst.tolist() == [[0.0, 1.0], [0.5, 0.5]]
    assert surface([front, np.zeros((0, 2))], 2).shape == (0, 2)
    with pytest.raises(ValueError, match="1 to 1"):
        surface([front], 2)


@settings(deadline=None, max_examples=40)
@given(POINTS, POINTS)
def test_coverage_by_definition(first, second):
    assert coverage(first, second) == np.mean([attained(point, first) for point in second])
    assert coverage(first, first) == 1.0


def test_coverage_of_nothing():
    assert np.isnan(coverage(np.ones((1, 2)), np.zeros((0, 2))))
    assert coverage(np.full((1, 2), np.nan), np.ones((2, 2))) == 0.0


def trials(generator, count, shift=0.0):
    return [generator.uniform(0.3, 1.0, (1 + k % 3, 2)) - shift for k in range(count)]


def test_sweeps_of_one_kind_differ_as_often_as_chance_allows_and_better_ones_are_seen():
    generator = np.random.default_rng(0)
    ps = [versus(trials(generator, 12), trials(generator, 12), 1.0, 100, k).p for k in range(30)]
    assert np.mean(np.array(ps) <= 0.05) <= 0.15 and np.mean(np.array(ps) <= 0.5) == pytest.approx(0.5, abs=0.25)
    better = versus(trials(generator, 30, 0.3), trials(generator, 40), 1.0)
    assert better.trials == 30 and better.p < 0.05 and better.difference > 0.1 and "p " in better.in_words


def test_a_sweep_against_itself_and_against_nothing():
    own = trials(np.random.default_rng(1), 5)
    assert versus(own, own, 1.0).p == 1.0 and versus(own, own, 1.0).difference == 0
    assert versus(own, [], 1.0).p is None and "no trials" in versus(own, [], 1.0).in_words


def test_repeated_sweeps_are_compared_in_pairs():
    found = repeats([0.6, 0.7, 0.8, 0.65, 0.9], [0.5, 0.6, 0.7, 0.55, 0.8])
    assert found.p == pytest.approx(2 / 32) and found.low == pytest.approx(0.1) == pytest.approx(found.high)
    assert repeats([0.6, 0.7], [0.5, 0.4]).p is None
    assert repeats(np.arange(12) / 12 + 0.1, np.arange(12) / 12).p < 0.01
