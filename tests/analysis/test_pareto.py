"""The Pareto maths against its definitions, by brute force, and against another implementation."""

import itertools
import time

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume
from optuna.study._multi_objective import _fast_non_domination_rank

from analysis.pareto import (
    hypervolume,
    hypervolume_contributions,
    knee,
    non_dominated,
    order_selection,
    rank_layers,
)


@st.composite
def point_sets(draw, most=12, nan=False, objectives=st.integers(1, 4)):  # noqa: B008
    """n x m losses: from a coarse grid (ties and duplicates abound) or from the continuum, some beyond 1."""
    m, n = draw(objectives), draw(st.integers(0, most))
    values = draw(st.sampled_from([st.integers(0, 5).map(lambda k: k / 4), st.floats(-0.5, 1.5)]))
    if nan:
        values = st.one_of(values, values, values, st.just(float("nan")))
    rows = draw(st.lists(st.lists(values, min_size=m, max_size=m), min_size=n, max_size=n))
    return np.array(rows, dtype=float).reshape(n, m)


def dominates(a, b):
    return bool((a <= b).all() and (a < b).any())


def front_by_definition(points):
    complete = points[~np.isnan(points).any(axis=1)]
    return np.array([not np.isnan(p).any() and not any(dominates(q, p) for q in complete) for p in points], dtype=bool)


def volume_by_definition(points, reference):
    """Every cell of the grid that the coordinates span counts if a point is at its lower corner or below."""
    points = [p for p in points if not np.isnan(p).any() and (p < reference).all()]
    axes = [sorted({*(p[j] for p in points), reference[j]}) for j in range(len(reference))]
    total = 0.0
    for corner in itertools.product(*(range(len(axis) - 1) for axis in axes)):
        low = np.array([axis[i] for axis, i in zip(axes, corner, strict=True)])
        high = np.array([axis[i + 1] for axis, i in zip(axes, corner, strict=True)])
        total += np.prod(high - low) if any((p <= low).all() for p in points) else 0.0
    return total


@given(point_sets(nan=True))
def test_front_is_what_none_dominates(points):
    assert (non_dominated(points) == front_by_definition(points)).all()


@given(point_sets(nan=True))
def test_layers_are_fronts_of_what_is_left(points):
    ranks = rank_layers(points)
    left = np.flatnonzero(~np.isnan(points).any(axis=1))
    layer = 0
    while len(left):
        front = front_by_definition(points[left])
        assert (ranks[left[front]] == layer).all()
        left, layer = left[~front], layer + 1
    assert (ranks[np.isnan(points).any(axis=1)] == layer).all()


@given(point_sets(most=30))
def test_layers_agree_with_optuna(points):
    if len(points):
        assert (rank_layers(points) == _fast_non_domination_rank(points)).all()


@given(point_sets(most=5, nan=True))
def test_hypervolume_by_definition(points):
    reference = np.ones(points.shape[1])
    assert hypervolume(points, reference) == pytest.approx(volume_by_definition(points, reference), abs=1e-9)


@settings(deadline=None)
@given(point_sets(most=40))
def test_hypervolume_agrees_with_optuna(points):
    reference = np.full(points.shape[1], 1.1)
    inside = points[(points < reference).all(axis=1)]
    expected = compute_hypervolume(inside, reference) if len(inside) else 0.0
    assert hypervolume(points, reference) == pytest.approx(expected, abs=1e-9)


@given(point_sets(nan=True))
def test_contribution_is_what_is_lost_without_the_point(points):
    reference = np.ones(points.shape[1])
    whole = hypervolume(points, reference)
    lost = [whole - hypervolume(np.delete(points, i, axis=0), reference) for i in range(len(points))]
    assert hypervolume_contributions(points, reference) == pytest.approx(np.array(lost), abs=1e-9)


@given(point_sets(nan=True))
def test_selection_goes_by_layer_then_by_the_largest_gain(points):
    reference = np.ones(points.shape[1])
    order, ranks = order_selection(points, reference), rank_layers(points)
    assert sorted(order) == list(range(len(points)))
    assert (np.diff(ranks[order]) >= 0).all()
    complete = ~np.isnan(points).any(axis=1)
    for layer in set(ranks[complete]):
        taken: list[int] = []
        members = [i for i in order if ranks[i] == layer and complete[i]]
        for k, chosen in enumerate(members):
            gains = [hypervolume(points[[*taken, i]], reference) for i in members[k:]]
            assert gains[0] == pytest.approx(max(gains), abs=1e-9)
            taken.append(chosen)


@given(point_sets(), st.randoms(use_true_random=False))
def test_selection_does_not_depend_on_the_order_of_rows(points, random):
    shuffled = list(range(len(points)))
    random.shuffle(shuffled)
    reference = np.ones(points.shape[1])
    chosen, again = order_selection(points, reference), order_selection(points[shuffled], reference)
    assert (points[chosen] == points[shuffled][again]).all()


@given(point_sets(nan=True), st.randoms(use_true_random=False))
def test_knee_is_on_the_front_and_does_not_depend_on_the_order_of_rows(points, random):
    found, front = knee(points), non_dominated(points)
    assert (found is None) == (not front.any())
    if found is not None:
        shuffled = list(range(len(points)))
        random.shuffle(shuffled)
        assert front[found]
        assert (points[found] == points[shuffled][knee(points[shuffled])]).all()


def test_layers_of_known_points():
    points = [[0, 2], [1, 1], [2, 0], [1, 2], [2, 2], [np.nan, 0], [1, 1]]
    assert rank_layers(points).tolist() == [0, 0, 0, 1, 2, 3, 0]


def test_volumes_of_known_points():
    assert hypervolume([[0.5, 0.5]], [1, 1]) == 0.25
    assert hypervolume([[0.0, 0.5], [0.5, 0.0]], [1, 1]) == 0.75
    assert hypervolume([[0.2]], [1]) == pytest.approx(0.8)
    assert hypervolume([[1.0, 0.0], [0.0, 2.0]], [1, 1]) == 0.0
    assert hypervolume([[0.5, 0.5]], 1.0) == 0.25


def test_a_dominated_point_lessens_the_contribution_of_the_one_before_it():
    assert hypervolume_contributions([[0.0, 0.0], [0.5, 0.5]], [1, 1]).tolist() == [0.75, 0.0]
    assert hypervolume_contributions([[0.0, 0.0], [0.0, 0.0]], [1, 1]).tolist() == [0.0, 0.0]


def test_selection_takes_the_middle_before_the_crowded_ends():
    points = [[0.0, 0.95], [0.01, 0.94], [0.3, 0.3], [0.94, 0.01], [0.95, 0.0]]
    assert order_selection(points, [1, 1])[0] == 2


def test_selection_beyond_the_reference_goes_by_the_sum_of_losses():
    assert order_selection([[0.0, 3.0], [2.0, 0.0], [1.5, 1.2]], [1, 1]).tolist() == [1, 2, 0]


def test_knee_is_furthest_from_the_line_between_the_extremes():
    assert knee([[0.0, 1.0], [0.15, 0.3], [0.5, 0.2], [1.0, 0.0]]) == 1
    assert knee([[0.0, 100.0], [0.15, 30.0], [0.5, 20.0], [1.0, 0.0]]) == 1, "units must not matter"


def test_knee_of_few_points():
    assert knee(np.zeros((0, 2))) is None
    assert knee([[np.nan, 0.0]]) is None
    assert knee([[0.4, 0.6]]) == 0
    assert knee([[0.0, 0.9], [0.3, 0.1]]) == 1
    assert knee([[0.0, 1.0], [0.9, 0.9], [1.0, 0.0]]) == 0, "a concave front has no knee but its best end"


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_of_nothing(m):
    nothing = np.zeros((0, m))
    assert hypervolume(nothing, np.ones(m)) == 0.0
    for values in (
        non_dominated(nothing),
        rank_layers(nothing),
        order_selection(nothing, 1.0),
        hypervolume_contributions(nothing, 1.0),
    ):
        assert values.shape == (0,)


def test_a_row_of_numbers_is_refused():
    with pytest.raises(ValueError, match="n x m"):
        non_dominated([0.1, 0.2])


def test_thousands_of_points_are_ranked_at_once():
    points = np.random.default_rng(0).random((3000, 2))
    start = time.process_time()
    rank_layers(points)
    hypervolume_contributions(points, 1.0)
    assert time.process_time() - start < 0.5


@settings(deadline=None, max_examples=50)
@given(point_sets(most=30))
def test_fronts_layers_volumes_and_contributions_agree_with_moocore(points):
    reference = np.full(points.shape[1], 1.5001)
    if not len(points):
        return
    assert (non_dominated(points) == moocore.is_nondominated(points, keep_weakly=True)).all()
    assert (rank_layers(points) == moocore.pareto_rank(points)).all()
    if points.shape[1] > 1:
        assert hypervolume(points, reference) == pytest.approx(moocore.hypervolume(points, ref=reference), abs=1e-9)
        expected = moocore.hv_contributions(points, ref=reference, ignore_dominated=False)
        assert hypervolume_contributions(points, reference) == pytest.approx(expected, abs=1e-9)


DEGENERATE = {
    "one point": lambda n, m, g: np.full((1, m), 0.5),
    "duplicates of one": lambda n, m, g: np.full((n, m), 0.5),
    "all but one dominated": lambda n, m, g: np.vstack([np.zeros(m), g.random((n - 1, m)) + 0.01]),
    "a chain": lambda n, m, g: np.repeat(np.arange(n)[:, None] / n, m, axis=1),
    "ties": lambda n, m, g: g.integers(0, 5, (n, m)) / 5,
    "random": lambda n, m, g: g.random((n, m)),
}


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", DEGENERATE)
def test_ten_thousand_points_agree_with_moocore(kind, m):
    points = DEGENERATE[kind](300 if kind == "a chain" and m != 2 else 10_000, m, np.random.default_rng(m))
    assert (non_dominated(points) == moocore.is_nondominated(points, keep_weakly=True)).all()
    if m < 3 or kind != "random":
        assert (rank_layers(points) == moocore.pareto_rank(points)).all()
    if 1 < m < 4 or len(points[non_dominated(points)]) < 100:
        expected = moocore.hypervolume(points, ref=[1.1] * m) if m > 1 else 1.1 - points.min()
        assert hypervolume(points, 1.1) == pytest.approx(expected, rel=1e-9)
