"""What grows point by point against the batch functions, and against Optuna's, on the same points."""

import itertools
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume
from optuna.study._multi_objective import _fast_non_domination_rank, _is_pareto_front

from analysis import selection
from analysis.growing import GrowingFront, GrowingLayers
from analysis.pareto import hypervolume, non_dominated, order_selection, rank_layers
from tests.analysis.test_pareto import point_sets

planes = point_sets(most=40, nan=True, objectives=st.just(2))


def grown_front(points: np.ndarray, reference: float) -> GrowingFront:
    front = GrowingFront([reference] * points.shape[1])
    for i, point in enumerate(points):
        front.add(point, i)
    return front


def grown_layers(points: np.ndarray) -> GrowingLayers:
    layers = GrowingLayers((1.0, 1.0))
    for i, point in enumerate(points):
        layers.add(point, i)
    return layers


@given(point_sets(most=25, nan=True))
def test_the_front_and_its_volume_are_those_of_all_points_after_each(points):
    front = GrowingFront(np.ones(points.shape[1]))
    for i, point in enumerate(points):
        before, gone = set(front.keys), front.add(point, i)
        seen = points[: i + 1]
        expected = set(np.flatnonzero(non_dominated(seen)).tolist())
        assert set(front.keys) == expected and len(front) == len(expected)
        assert (gone is not None) == (i in expected) and set(gone or ()) == before - expected
        assert front.volume == pytest.approx(hypervolume(seen, 1.0), abs=1e-9)


@settings(deadline=None)
@given(point_sets(most=60))
def test_front_and_volume_agree_with_optuna(points):
    front = grown_front(points, 1.1)
    inside = points[(points < 1.1).all(axis=1)]
    if len(points):
        assert set(front.keys) == set(np.flatnonzero(_is_pareto_front(points, assume_unique_lexsorted=False)).tolist())
    expected = compute_hypervolume(inside, np.full(points.shape[1], 1.1)) if len(inside) else 0.0
    assert front.volume == pytest.approx(expected, abs=1e-9)


@given(planes)
def test_layers_are_those_of_all_points_after_each(points):
    layers = GrowingLayers((1.0, 1.0))
    for i, point in enumerate(points):
        layers.add(point, i)
        ranks = rank_layers(points[: i + 1])
        complete = np.flatnonzero(~np.isnan(points[: i + 1]).any(axis=1))
        assert [layers.rank(k) for k in complete] == ranks[complete].tolist() and len(layers) == len(complete)
        for layer in range(max(ranks[complete], default=-1) + 1):
            assert set(layers.on(layer)) == set(complete[ranks[complete] == layer].tolist())
            assert layers.before(layer) == (ranks[complete] < layer).sum()


@given(point_sets(most=60, objectives=st.just(2)))
def test_layers_agree_with_optuna(points):
    layers = grown_layers(points)
    if len(points):
        assert [layers.rank(k) for k in range(len(points))] == _fast_non_domination_rank(points).tolist()


@given(planes)
def test_the_order_within_layers_is_that_of_the_selection(points):
    layers, whole = grown_layers(points), order_selection(points, 1.0)
    found: list = []
    while len(found) < len(layers):
        found += layers.order(layers.rank(int(whole[len(found)])))
    assert found == whole[: len(found)].tolist()


@st.composite
def crowded(draw):
    """Points that mostly are of one layer, many of them so near one another that what they add is the same but for the
    last bits, or exactly; some beyond 1."""
    near = st.integers(0, 8).map(lambda k: 0.5 + k * 2.0**-53)
    place = draw(st.sampled_from([near, st.integers(0, 20).map(lambda k: k / 16), st.floats(-0.2, 1.2)]))
    off = st.sampled_from([0.0, 0.0, 0.0, 2.0**-53, 1 / 16])
    return [(x, 1.0 - x + draw(off)) for x in draw(st.lists(place, max_size=50))]


@settings(deadline=None, max_examples=100)
@given(st.one_of(crowded(), planes), st.integers(1, 3), st.sampled_from([2, 12]), st.randoms(use_true_random=False))
def test_orders_that_are_kept_up_are_those_of_the_selection(points, every, small, shuffler: random.Random):
    """Whichever layers were asked for before, however much came since, and how large they are; keys decide between
    equal points."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_SMALL", small)
        kept_up(points, every, shuffler)


def kept_up(points: list[tuple[float, float]], every: int, shuffler: random.Random) -> None:
    layers, keys = GrowingLayers((1.0, 1.0)), shuffler.sample(range(len(points)), len(points))
    for i, point in enumerate(points):
        layers.add(point, keys[i])
        if shuffler.randrange(every):
            continue
        seen = np.array([points[j] for j in np.argsort(keys[: i + 1])]).reshape(-1, 2)
        names = np.sort(keys[: i + 1])
        ranks = rank_layers(seen)
        complete = ~np.isnan(seen).any(axis=1)
        for layer in shuffler.sample(range(layers.depth), (layers.depth + 1) // 2):
            on = np.flatnonzero((ranks == layer) & complete)
            expected = names[on[order_selection(seen[on], 1.0)]].tolist()
            assert list(layers.order(layer)) == expected
            assert [layers.ahead(key) for key in expected] == list(range(len(expected)))


def test_a_key_that_is_there_and_one_that_is_not():
    layers = grown_layers(np.array([[0.5, 0.5]]))
    with pytest.raises(ValueError, match="already"):
        layers.add([0.4, 0.4], 0)
    with pytest.raises(KeyError):
        layers.rank(1)
    assert 0 in layers and 1 not in layers


def fronts(points: int) -> np.ndarray:
    """Points of which none dominates another."""
    first = np.random.default_rng(0).permutation(np.linspace(0, 1, points))
    return np.column_stack([first, 1 - first])


def seconds(points: np.ndarray) -> float:
    start = time.process_time()
    grown_front(points, 1.0)
    return time.process_time() - start


def test_ten_times_the_points_take_little_more_for_each():
    """Even when all of them stay on the front."""
    few, many = (min(seconds(fronts(n)) / n for _ in range(3)) for n in (2_000, 20_000))
    assert many < 4 * few


def test_all_orders_of_the_same_points_end_in_the_same_layers():
    points = np.array([[0, 2], [1, 1], [2, 0], [1, 2], [2, 2]], dtype=float)
    for order in itertools.permutations(range(len(points))):
        layers = GrowingLayers((1.0, 1.0))
        for i in order:
            layers.add(points[i], i)
        assert [layers.rank(i) for i in range(len(points))] == [0, 0, 0, 1, 2]
