"""What trials may still add, and the rule that stops those that can add nothing."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.decisions.trajectories import over
from search.rungs import Continue, Promise, Stop, decide, quota, rule_for
from spaces import OBJECTIVES, Observation, to_losses
from spaces.requirements import parse_requirement
from tests.search.examples import observed, small_space

OBJ = (OBJECTIVES["identity"], OBJECTIVES["pose"])
RULE, ALONE = Promise(OBJ, (10, 20, 40), 3.0), Promise(OBJ, (10, 20, 40), 1.0)
unit = st.integers(0, 20).map(lambda k: k / 20)
curves = st.lists(st.tuples(unit, unit), min_size=1, max_size=3)
tables = st.lists(curves, min_size=1, max_size=9).map(
    lambda trials: [
        observed(f"t{i:04d}", steps, *point)
        for i, points in enumerate(trials)
        for steps, point in zip((10, 20, 40), points, strict=False)
    ]
)


def stops(table: list[Observation], rule: Promise = RULE) -> dict[tuple, bool]:
    return {o.key: isinstance(decide(table, [o], rule), Stop) for o in table}


def is_past(table: list[Observation], observation: Observation) -> bool:
    """An earlier checkpoint of the same trial is as good in all objectives."""
    earlier = [o for o in table if o.trial == observation.trial and o.steps < observation.steps]
    return any(all(o.scores[name] >= observation.scores[name] for name in observation.scores) for o in earlier)


@settings(deadline=None, max_examples=40)
@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_the_table_makes_no_difference(table, shuffler: random.Random):
    shuffled = shuffler.sample(table, len(table))
    for observation in table:
        assert decide(table, [observation], RULE) == decide(shuffled, [observation], RULE)
        others = [o for o in table if o is not observation]
        assert decide(table, [observation], RULE) == decide(others, [observation], RULE)


@settings(deadline=None, max_examples=40)
@given(tables)
def test_what_dominates_goes_on_when_what_it_dominates_does(table):
    """Unless it is past its best, which says of it what its scores at this rung do not."""
    stopped = stops(table)
    for better in table:
        for worse in table:
            losses = to_losses(OBJ, [better.scores, worse.scores])
            if better.steps == worse.steps and (losses[0] <= losses[1]).all() and (losses[0] < losses[1]).any():
                assert stopped[worse.key] or not stopped[better.key] or is_past(table, better)


@settings(deadline=None, max_examples=40)
@given(tables)
def test_no_more_than_the_quota_go_on_and_all_of_it_while_little_is_known(table):
    stopped = stops(table)
    for steps in (10, 20):
        rung = [o for o in table if o.steps == steps]
        on = sum(not stopped[o.key] for o in rung)
        assert on <= quota(len(rung), 3.0) if rung else on == 0
    first = [o for o in table if o.steps == 10]
    assert sum(isinstance(decide(first, [o], RULE), Continue) for o in first) == quota(len(first), 3.0)


@settings(deadline=None, max_examples=40)
@given(tables)
def test_what_is_stopped_for_its_curve_would_add_nothing_by_the_falls_that_others_showed(table):
    """Without the incremental sums: from the definition."""
    table = list({o.key: o for o in table}.values())
    losses = {o.key: to_losses(OBJ, [o.scores])[0] for o in table}
    trajectories = over(table, OBJ, ())
    for o in table:
        reach = []
        for later in (40,) if o.steps == 20 else (20, 40):
            falls = [
                losses[trial, later, ""] - losses[trial, o.steps, ""]
                for trial in {p.trial for p in table}
                if (trial, later, "") in losses and (trial, o.steps, "") in losses
            ]
            if len(falls) < 2:
                reach.append(True)
                continue
            best = losses[o.key] + np.min(falls, axis=0)
            reach.append(max(best) < 1 and not any((known <= best).all() for known in losses.values()))
        expected = o.steps < 40 and any(reach) and not is_past(table, o)
        assert trajectories.may_add(o, RULE.rungs) == expected


def climbed() -> list[Observation]:
    """Three trials that gain at most 0.2 and 0.1 from 10 to 20 steps, and lose from 20 to 40."""
    made = []
    for i, (a, b) in enumerate([(0.2, 0.1), (0.1, 0.05), (0.05, 0.1)]):
        made += [
            observed(f"t{i:04d}", 10, 0.5, 0.5), observed(f"t{i:04d}", 20, 0.5 + a, 0.5 + b),
            observed(f"t{i:04d}", 40, 0.4 + a, 0.4 + b),
        ]  # fmt: skip
    return made


def test_one_that_can_still_reach_beyond_the_front_goes_on_and_one_that_cannot_stops():
    near, far = observed("t0009", 10, 0.51, 0.4), observed("t0009", 10, 0.5, 0.5 - 1e-3)
    assert isinstance(decide(climbed(), [near], ALONE), Continue)
    assert decide(climbed(), [far], ALONE) == Stop(
        "stopped", "at 10 steps nothing that it may become adds to the front"
    )


def test_one_that_is_past_its_best_stops_though_it_is_on_the_front():
    table = [observed("t0001", 10, 0.5, 0.9), observed("t0002", 20, 0.9, 0.2)]
    assert isinstance(decide(table, [observed("t0001", 20, 0.6, 0.8)], ALONE), Continue)
    assert isinstance(decide(table, [observed("t0001", 20, 0.5, 0.8)], ALONE), Stop)


def test_what_missed_a_requirement_is_not_the_best_that_a_trial_is_past():
    rule = replace(ALONE, requirements=(parse_requirement("drift < 0.2"),))
    early, late = observed("t0001", 10, 0.5, 0.9), observed("t0001", 20, 0.5, 0.8)
    late = replace(late, scores=late.scores | {"drift": 0.1})
    for drift, kind in ((0.5, Continue), (0.1, Stop)):
        table = [replace(early, scores=early.scores | {"drift": drift})]
        assert isinstance(decide(table, [late], rule), kind)


def test_a_score_that_is_no_number_stops_its_trial_and_says_nothing_of_others():
    table = [*climbed(), observed("t0008", 10, math.nan, 0.9), observed("t0008", 20, math.inf, 0.9)]
    for identity in (0.5, 0.52):
        new = [observed("t0009", 10, identity, 0.45)]
        assert decide(table, new, ALONE) == decide(climbed(), new, ALONE)
    assert decide(table, [observed("t0009", 10, math.nan, 0.5)], ALONE).status == "failed"


def test_it_is_a_rule_by_name():
    space = small_space()
    assert rule_for("trajectories", space) == Promise(space.objectives, (10, 20, 40), 2.0)


@pytest.mark.parametrize("steps", [10, 40])
def test_the_last_rung_finishes_a_trial_and_no_other(steps):
    decision = decide([], [observed("t0001", steps, 0.9, 0.9)], RULE)
    assert isinstance(decision, Continue) if steps == 10 else decision.status == "finished"
