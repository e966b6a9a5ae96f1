import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.pareto import non_dominated, order_selection, rank_layers
from spaces import (
    OBJECTIVES,
    REFERENCE_LOSS,
    InputError,
    Requirement,
    front_losses,
    parse_requirement,
    parse_space,
    ranking_losses,
    to_losses,
    violation,
)
from spaces.requirements import LEAST

TRADED = tuple(OBJECTIVES[name] for name in ("identity", "pose"))
REQUIRED = (Requirement("drift", "<", 0.2), Requirement("detection_rate", ">=", 0.5))
SCORE = st.one_of(st.floats(-2.0, 2.0), st.sampled_from([0.0, 0.2, 0.5, 1.0, -1e30, 1e30]))
ROW = st.fixed_dictionaries({name: SCORE for name in ("identity", "pose", "drift", "detection_rate")})
ROWS = st.lists(ROW, min_size=1, max_size=24)


@pytest.mark.parametrize(
    "text, scores, excess",
    [
        ("drift < 0.2", {"drift": 0.1}, -0.1),
        ("drift<0.2", {"drift": 0.2}, LEAST),
        (" drift <= 0.2 ", {"drift": 0.2}, 0.0),
        ("drift > 0.2", {"drift": 0.1}, 0.1),
        ("prompt >= 0.3", {"prompt": 0.2}, 0.2),  # an objective's span is from its ideal to its nadir
        ("detection_rate > 9e-1", {"detection_rate": 0.8}, 0.1),
        ("drift < 0.2", {"drift": math.nan}, math.inf),
        ("drift < 0.2", {}, math.inf),
    ],
)
def test_how_far_a_score_is_beyond_its_bound(text, scores, excess):
    requirement = parse_requirement(text)
    assert requirement.excess(scores) == pytest.approx(excess, abs=1e-12)
    assert parse_requirement(str(requirement)) == requirement


@pytest.mark.parametrize(
    "text, said",
    [
        ("drift", "'drift' should be a score, one of < <= > >= and a number, such as 'drift < 0.2'"),
        ("drift = 0.2", "'drift = 0.2' should be a score"),
        ("drft < 0.2", "'drft' in 'drft < 0.2' is no score; there are identity, pose,"),
        ("drift < much", "'much' in 'drift < much' should be a number"),
        ("drift < nan", "'nan' in 'drift < nan' should be a number"),
    ],
)
def test_what_is_no_requirement_is_refused_with_what_would_be_right(text, said):
    with pytest.raises(InputError, match=r"^--require: ") as error:
        parse_requirement(text)
    assert said in str(error.value)


@given(ROWS)
def test_who_meets_all_is_never_outranked_by_who_does_not_and_misses_count_by_their_amount(rows):
    losses = ranking_losses(TRADED, REQUIRED, rows)
    missed = np.array([violation(REQUIRED, row) for row in rows])
    place = np.empty(len(rows), dtype=int)
    place[order_selection(losses, REFERENCE_LOSS)] = np.arange(len(rows))
    layers, means = rank_layers(losses), losses.mean(axis=1)
    for i in range(len(rows)):
        for j in range(len(rows)):
            if missed[i] == 0 < missed[j]:
                assert layers[i] < layers[j] and place[i] < place[j] and means[i] < means[j]
            elif 0 < missed[i] < missed[j]:
                assert layers[i] <= layers[j] and means[i] <= means[j]
                assert place[i] < place[j] or math.isclose(missed[i], missed[j], abs_tol=1e-9, rel_tol=1e-9)


@given(ROWS)
def test_only_who_meets_all_is_on_the_front_which_is_that_of_these_alone(rows):
    front = non_dominated(front_losses(TRADED, REQUIRED, rows))
    kept = [row for row in rows if violation(REQUIRED, row) == 0]
    alone = non_dominated(to_losses(TRADED, kept))
    assert [row for row, on in zip(rows, front, strict=True) if on] == [
        row for row, on in zip(kept, alone, strict=True) if on
    ]


@given(ROWS)
def test_without_requirements_nothing_changes(rows):
    for losses in (ranking_losses, front_losses):
        np.testing.assert_array_equal(losses(TRADED, (), rows), to_losses(TRADED, rows))


def test_a_space_says_what_it_requires():
    text = "rungs: [10]\nsubject: x\nrecipe: {rank: [1, 2]}\nrequire: "
    assert parse_space(text + "drift < 0.2", "a").requirements == REQUIRED[:1]
    assert parse_space(text + "[drift < 0.2, detection_rate >= 0.5]", "a").requirements == REQUIRED
    for wrong in ("[drift]", "3", "{drift: 0.2}"):
        with pytest.raises(InputError, match="line 4: require"):
            parse_space(text + wrong, "a")
