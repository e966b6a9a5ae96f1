"""The standings decide as the pure function does over the same table."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.decisions.standings import Standings
from search.rungs import ParetoAsha, Promise, RunAll, ScalarAsha, Stop, decide
from spaces import OBJECTIVES, Inference, Observation
from tests.search.examples import observed

TWO = (OBJECTIVES["identity"], OBJECTIVES["pose"])
THREE = (*TWO, OBJECTIVES["drift"])
RULES = [
    ParetoAsha(TWO, (10, 20), 3.0), ParetoAsha(TWO, (10, 20, 40), 1.5), ScalarAsha(TWO, (10, 20), 2.0),
    RunAll(TWO, (10, 20)), ParetoAsha(THREE, (10, 20), 3.0), ScalarAsha(THREE, (10, 20), 2.0),
    Promise(TWO, (10, 20, 40), 1.5), Promise(THREE, (10, 20, 40), 1.5),
]  # fmt: skip
WAYS = [None, Inference(lora_scale=0.5), Inference(lora_scale=0.8)]
number = st.one_of(st.integers(-1, 5).map(lambda k: k / 4), st.floats(-0.2, 1.2))
score = st.one_of(*[number] * 15, st.just(math.nan))
points = st.lists(st.tuples(score, score, score), min_size=1, max_size=3)


@st.composite
def arrivals(draw, most=16):
    """Checkpoints of several trials at two rungs in any order, drawn in one way or several, a few without a number."""
    keys = [(i, steps) for i in range(draw(st.integers(1, most))) for steps in (10, 20)]
    draw(st.randoms(use_true_random=False)).shuffle(keys)
    ways = draw(st.integers(1, 3))
    return [
        [
            with_drift(observed(f"t{trial:04d}", steps, *point[:2], way=way), point[2])
            for point, way in zip(draw(points), WAYS[:ways], strict=False)
        ]
        for trial, steps in keys
    ]


def with_drift(observation: Observation, drift: float) -> Observation:
    observation.scores["drift"] = drift
    return observation


@settings(deadline=None)
@given(arrivals(), st.sampled_from(RULES))
def test_every_decision_is_that_of_the_pure_function(checkpoints, rule):
    standings, table = Standings(rule), []
    for checkpoint in checkpoints:
        decision = decide(table, checkpoint, rule)
        assert standings.decide(checkpoint) == decision
        if not (isinstance(decision, Stop) and decision.status == "failed"):
            table += checkpoint


@given(arrivals(most=12), st.sampled_from(RULES), st.randoms(use_true_random=False))
def test_what_was_decided_before_counts_in_whatever_order_it_is_given(checkpoints, rule, shuffler: random.Random):
    standings, *rest = Standings(rule), *checkpoints
    last = rest.pop()
    for checkpoint in shuffler.sample(rest, len(rest)):
        standings.add(checkpoint)
    assert standings.decide(last) == decide([o for checkpoint in rest for o in checkpoint], last, rule)


@pytest.mark.parametrize("rule", RULES)
def test_a_checkpoint_that_comes_again_counts_once_and_its_new_scores_count(rule):
    table = [with_drift(observed(f"t{i:04d}", 10, 0.5 + i / 100, 0.5 - i / 90), 0.5) for i in range(6)]
    standings = Standings(rule)
    for observation in table:
        standings.add([observation])
    assert standings.decide([table[2]]) == decide(table, [table[2]], rule)
    again = with_drift(observed("t0002", 10, 0.1, 0.1), 0.9)
    assert standings.decide([again]) == decide(table, [again], rule)
    assert standings.decide([table[3]]) == decide([*table[:2], again, *table[3:]], [table[3]], rule)


@pytest.mark.parametrize("rule", RULES)
def test_a_score_that_is_no_number_is_not_taken_in(rule):
    standings, broken = Standings(rule), with_drift(observed("t0001", 10, math.nan, 0.5), 0.1)
    decision = standings.decide([broken])
    assert isinstance(decision, Stop) and decision == decide([], [broken], rule)
    whole = with_drift(observed("t0002", 10, 0.5, 0.5), 0.1)
    assert standings.decide([whole]) == decide([broken], [whole], rule)
