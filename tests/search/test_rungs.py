import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.pareto import rank_layers
from search.rungs import Continue, ParetoAsha, RunAll, ScalarAsha, Stop, decide, quota, rule_for
from spaces import OBJECTIVES, Inference, Observation, to_losses
from tests.search.examples import observed, small_space

OBJ = (OBJECTIVES["identity"], OBJECTIVES["pose"])
PARETO, SCALAR, ALL = ParetoAsha(OBJ, (10, 20), 3.0), ScalarAsha(OBJ, (10, 20), 3.0), RunAll(OBJ, (10, 20))
unit = st.floats(0, 1, width=32)
rungs = st.lists(st.tuples(unit, unit), min_size=1, max_size=25).map(
    lambda points: [observed(f"t{i:04d}", 10, *point) for i, point in enumerate(points)]
)

WAYS = [None, Inference(lora_scale=0.5), Inference(lora_scale=0.8)]
checkpoints = st.lists(st.lists(st.tuples(unit, unit), min_size=1, max_size=3), min_size=1, max_size=12).map(
    lambda trials: [
        [observed(f"t{i:04d}", 10, *point, way=way) for point, way in zip(points, WAYS, strict=False)]
        for i, points in enumerate(trials)
    ]
)


def decisions(table: list[Observation], rule=PARETO) -> list[Continue | Stop]:
    return [decide(table, [observation], rule) for observation in table]


@given(rungs)
def test_what_dominates_goes_on_when_what_it_dominates_does(table):
    losses = to_losses(OBJ, [o.scores for o in table])
    on = [isinstance(decision, Continue) for decision in decisions(table)]
    dominates = (losses[:, None] <= losses[None]).all(2) & (losses[:, None] < losses[None]).any(2)
    for better, worse in np.argwhere(dominates):
        assert on[better] or not on[worse]


@given(rungs, st.randoms(use_true_random=False))
def test_the_order_of_the_table_makes_no_difference(table, shuffler: random.Random):
    shuffled = shuffler.sample(table, len(table))
    for observation in table:
        assert decide(table, [observation], PARETO) == decide(shuffled, [observation], PARETO)
        assert decide(table, [observation], SCALAR) == decide(shuffled, [observation], SCALAR)


@given(rungs)
def test_it_makes_no_difference_whether_the_table_has_the_observation(table):
    for observation in table:
        others = [o for o in table if o is not observation]
        assert decide(table, [observation], PARETO) == decide(others, [observation], PARETO)


@given(rungs)
def test_the_first_layer_always_goes_on(table):
    layers = rank_layers(to_losses(OBJ, [o.scores for o in table]))
    for layer, decision in zip(layers, decisions(table), strict=True):
        assert layer > 0 or isinstance(decision, Continue)


@given(rungs)
def test_as_many_go_on_as_the_quota_or_the_first_layer_allow(table):
    first = int((rank_layers(to_losses(OBJ, [o.scores for o in table])) == 0).sum())
    passed = sum(isinstance(decision, Continue) for decision in decisions(table))
    assert passed == max(quota(len(table), 3.0), first)


@given(rungs)
def test_scalar_asha_lets_exactly_the_quota_through(table):
    assert sum(isinstance(decision, Continue) for decision in decisions(table, SCALAR)) == quota(len(table), 3.0)


@given(rungs, st.sampled_from([0.5, 2.0, 3.0]))
def test_which_layer_a_trial_is_on_survives_a_monotone_rescaling(table, power):
    bent = [observed(o.trial, 10, o.scores["identity"] ** power, o.scores["pose"]) for o in table]
    losses, bent_losses = (to_losses(OBJ, [o.scores for o in rows]) for rows in (table, bent))
    distinct = len(np.unique(losses[:, 0])) == len(np.unique(bent_losses[:, 0]))  # powers may round values together
    if distinct:
        assert (rank_layers(losses) == rank_layers(bent_losses)).all()
        for mine, other, layer in zip(decisions(table), decisions(bent), rank_layers(losses), strict=True):
            assert layer > 0 or isinstance(mine, Continue) == isinstance(other, Continue)


@given(checkpoints, st.randoms(use_true_random=False))
def test_of_checkpoints_drawn_in_several_ways_trials_are_counted(rung, shuffler: random.Random):
    table = [o for checkpoint in rung for o in checkpoint]
    for rule in (PARETO, SCALAR):
        decided = [decide(table, checkpoint, rule) for checkpoint in rung]
        assert decided == [decide(shuffler.sample(table, len(table)), c[::-1], rule) for c in rung]
        assert {d.of for d in decided if isinstance(d, Continue)} == {len(rung)}
        on = sum(isinstance(d, Continue) for d in decided)
        first = {o.trial for o, layer in zip(table, rank_layers(to_losses(OBJ, [o.scores for o in table])), strict=True)
                 if layer == 0}  # fmt: skip
        assert on == quota(len(rung), 3.0) if rule is SCALAR else on >= max(quota(len(rung), 3.0), len(first))


@given(checkpoints)
def test_a_checkpoint_goes_on_when_its_best_way_to_be_drawn_would(rung):
    """By the mean of losses, where what is best does not depend on the others."""
    mean = lambda o: sum(o.scores.values())  # noqa: E731
    best = [max(checkpoint, key=mean) for checkpoint in rung]
    table = [o for checkpoint in rung for o in checkpoint]
    mine = [isinstance(decide(table, checkpoint, SCALAR), Continue) for checkpoint in rung]
    alone = [isinstance(decide(best, [o], SCALAR), Continue) for o in best]
    assert mine == alone or len({mean(o) for o in best}) < len(best)


def test_one_good_way_to_be_drawn_is_enough():
    table = [observed(f"t{i:04d}", 10, 0.5 + i / 100, 0.5 + i / 100) for i in range(6)]
    poor = [observed("t0009", 10, 0.1, 0.1)]
    assert isinstance(decide(table, poor, PARETO), Stop)
    assert decide(table, [*poor, observed("t0009", 10, 0.9, 0.9, way=WAYS[1])], PARETO) == Continue(1, 7)


def test_of_equal_trials_the_earlier_names_go_on():
    table = [observed(f"t{i:04d}", 10, 0.5, 0.5) for i in range(6)]
    on = [isinstance(decision, Continue) for decision in decisions(table[::-1], SCALAR)][::-1]
    assert on == [True, True, False, False, False, False]


def test_counts_fall_by_eta_from_rung_to_rung():
    rule, survivors = ScalarAsha(OBJ, (1, 2, 4, 8), 3.0), [f"t{i:04d}" for i in range(81)]
    counts = []
    for steps in (1, 2, 4):
        counts.append(len(survivors))
        table = [observed(trial, steps, int(trial[1:]) / 100, 0.5) for trial in survivors]
        survivors = [o.trial for o in table if isinstance(decide(table, [o], rule), Continue)]
    assert [*counts, len(survivors)] == [81, 27, 9, 3]
    assert survivors == ["t0078", "t0079", "t0080"]
    assert all(before == 3 * after for before, after in pairwise(counts))


@pytest.mark.parametrize(
    ("trials", "eta", "expected"), [(11, 1.1, 10), (3, 3.0, 1), (2, 3.0, 1), (243, 3.0, 81), (10, 2.5, 4)]
)
def test_quota_is_exact(trials, eta, expected):
    assert quota(trials, eta) == expected


@pytest.mark.parametrize("rule", [PARETO, SCALAR, ALL])
def test_a_score_that_is_no_number_fails_the_trial(rule):
    decision = decide([observed("t0001", 10, 0.1, 0.1)], [observed("t0002", 10, math.nan, 1.0)], rule)
    assert isinstance(decision, Stop) and decision.status == "failed" and "identity nan" in decision.reason


@pytest.mark.parametrize("rule", [PARETO, SCALAR, ALL])
def test_the_last_rung_finishes_the_trial(rule):
    decision = decide([], [observed("t0001", 20, 0.9, 0.9)], rule)
    assert isinstance(decision, Stop) and decision.status == "finished"


def test_broken_observations_of_others_do_not_count():
    table = [observed(f"t{i:04d}", 10, math.inf, 0.5) for i in range(5)]
    assert decide(table, [observed("t0009", 10, 0.1, 0.1)], PARETO) == Continue(1, 1)


def test_other_rungs_do_not_count():
    table = [observed(f"t{i:04d}", 20, 0.9, 0.9) for i in range(5)]
    assert decide(table, [observed("t0009", 10, 0.1, 0.1)], PARETO) == Continue(1, 1)


def test_a_stop_says_its_place():
    table = [observed(f"t{i:04d}", 10, 0.9 - i / 100, 0.9) for i in range(5)]
    decision = decide(table, [observed("t0009", 10, 0.1, 0.1)], PARETO)
    assert decision == Stop("stopped", "place 6 of 6 at 10 steps, 2 may go on")


def test_nobody_is_stopped_without_a_scheduler():
    table = [observed(f"t{i:04d}", 10, 0.9, 0.9) for i in range(5)]
    assert isinstance(decide(table, [observed("t0009", 10, 0.1, 0.1)], ALL), Continue)


def test_rules_by_name():
    space = small_space()
    assert rule_for("asha-pareto", space) == ParetoAsha(space.objectives, (10, 20, 40), 2.0)
    assert isinstance(rule_for("asha-scalar", space), ScalarAsha)
    assert isinstance(rule_for("none", space), RunAll)
