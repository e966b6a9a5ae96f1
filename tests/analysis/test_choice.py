"""The choice: preferences, the odds of the pick, exchange rates and rivals, on fronts where they are known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.choice import choose, contest_of, recommend
from analysis.confirmed import Confirmation, Confirmed
from analysis.pareto import knee, non_dominated
from analysis.preference import parse_preference, preferred
from spaces import InputError, Observation, to_losses
from tests.analysis.tables import SPACE, space, sweep

LOSSES = st.lists(st.tuples(*[st.integers(0, 6).map(float)] * 2), min_size=1, max_size=12).map(np.array)


def observed(points, spread=0.0, cells=40, seed=0):
    """One trial for each (identity, pose), whose cells lie around them; all trials have hard and easy cells alike."""
    generator, recipe, found = np.random.default_rng(seed), space().recipe({}), []
    shared = generator.normal(0, 0.2, cells)
    for number, values in enumerate(points):
        noise = {name: shared + generator.normal(0, spread, cells) for name in ("identity", "pose")}
        lists = {n: v + e - e.mean() for (n, e), v in zip(noise.items(), values, strict=True)}
        lists["pose_hard"] = np.where(np.arange(cells) < cells // 2, np.nan, lists["pose"])
        scores = {n: float(np.nanmean(v)) for n, v in lists.items()}
        plain = {n: v.tolist() for n, v in lists.items()}
        found.append(Observation(f"t{number + 1:04d}", recipe, number, 100, scores, plain))
    return found


@settings(deadline=None, max_examples=40)
@given(LOSSES, st.integers(0, 3), st.integers(1, 3), st.randoms(use_true_random=False))
def test_what_is_preferred_is_on_the_front_and_does_not_depend_on_the_order(losses, first, second, random):
    at = preferred(losses, (first, second))
    assert non_dominated(losses)[at]
    order = list(range(len(losses)))
    random.shuffle(order)
    assert (losses[order][preferred(losses[order], (first, second))] == losses[at]).all()
    assert losses[preferred(losses, (0, 1))][1] == losses[:, 1].min()
    assert (losses[preferred(losses * [1, 100], (first, second))] == losses[at]).all(), "units must not matter"


def test_each_member_of_a_dented_front_is_preferred_by_some_weights():
    dented = np.array([[0.0, 1.0], [0.6, 0.7], [0.7, 0.6], [1.0, 0.0]])
    taken = {preferred(dented, (w, 1 - w)) for w in np.linspace(0.01, 0.99, 99)}
    by_sum = {int((dented @ (w, 1 - w)).argmin()) for w in np.linspace(0.01, 0.99, 99)}
    assert taken == {0, 1, 2, 3} and by_sum == {0, 3}
    assert preferred(np.full((2, 2), np.nan), (1, 1)) is None


def test_a_preference_is_read_and_a_wrong_one_is_refused_in_a_line():
    traded = space().objectives
    assert parse_preference("identity = 2, pose=1", traded).weights == (2.0, 1.0)
    assert parse_preference("pose=1", traded).weights == (0.0, 1.0)
    for text, said in {
        "identity": "identity=2,pose=1", "drift=1": "not traded", "pose=1,pose=2": "twice", "pose=-1": "0 or more",
        "pose=nan": "0 or more", "identity=0": "one should count", "": "objective and its weight",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=said):
            parse_preference(text, traded)


def test_without_noise_the_pick_is_sure_and_nothing_is_like_it():
    found = choose(observed([(0.2, 0.9), (0.6, 0.85), (0.7, 0.3), (0.1, 0.1)]), space())
    assert found.picked.name == "t0002@100" and found.picked.picked == 1.0 and found.picked.front == 1.0
    assert found.alike == [] and found.source == "cells"
    first, second = found.exchanges
    assert (first.start, first.end, second.end) == ("t0003@100", "t0002@100", "t0001@100")
    assert first.rate == pytest.approx(0.55 / 0.1) and second.rate == pytest.approx(0.05 / 0.4)
    assert first.changes["identity"].value == pytest.approx(-0.1) and first.changes["pose"].clear
    why, cost, rivals = recommend(found)
    assert "t0002@100 is the front's knee: identity 0.600 and pose 0.850; so it is in 100%" in why
    assert (
        "t0003@100 (identity +0.100, pose -0.550: identity costs 5.5 x pose)" in cost
        and "each of the 3 rivals differs" in rivals
    )


def test_a_preference_takes_another_member():
    table = observed([(0.2, 0.9), (0.6, 0.85), (0.7, 0.3)])
    found = choose(table, space(), prefer=parse_preference("identity=9,pose=1", space().objectives))
    assert found.pick.trial == "t0003" and "best for identity=9,pose=1" in recommend(found)[0]


def test_nineteen_in_twenty_intervals_of_equal_rivals_hold_nothing():
    inside = []
    for seed in range(120):
        generator, pair = np.random.default_rng(seed), observed([(0.5, 0.5), (0.5, 0.5)], 0.0, 12, seed)
        for o in pair:
            for name in ("identity", "pose"):
                o.cells[name] = (np.array(o.cells[name]) + generator.normal(0, 0.1, 12)).tolist()
                o.scores[name] = float(np.mean(o.cells[name]))
        contest = contest_of(pair, space(), seed=seed)
        low, high = np.quantile(contest.drawn[:, 0] - contest.drawn[:, 1], contest.ends, axis=0)
        inside += ((low <= 0) & (high >= 0)).tolist()
    assert 0.91 <= np.mean(inside) <= 0.985


def test_what_misses_a_requirement_is_no_contender():
    strict = space(SPACE + "require: [pose_hard >= 0.5]\n")
    found = choose(observed([(0.9, 0.3), (0.5, 0.6), (0.4, 0.7)]), strict)
    assert {each.name for each in found.contenders} == {"t0002@100", "t0003@100"}
    assert choose(observed([(0.9, 0.3)]), strict) is None and choose([], space()) is None


def test_a_confirmation_is_what_the_choice_goes_by():
    table = observed([(0.9, 0.1), (0.6, 0.6), (0.5, 0.5)])
    generator = np.random.default_rng(0)
    candidates = []
    for o, (identity, pose), on in zip(table, [(0.7, 0.1), (0.4, 0.4), (0.5, 0.6)], [True, False, True], strict=True):
        noise = generator.normal(0, 0.01, (4, 2))
        rounds = to_losses(space().objectives, [{"identity": identity, "pose": pose}]) + noise - noise.mean(axis=0)
        means = {"identity": identity, "pose": pose}
        candidates.append(Confirmed(o.key, o.name, 0, 4, means, {}, 0.9, "open", on, rounds=tuple(map(tuple, rounds))))
    found = choose(table, space(), Confirmation(candidates, candidates[2], None))
    assert found.source == "seeds" and found.pick is table[2] and found.picked.scores["pose"] == pytest.approx(0.6)
    assert "the confirmed front's knee" in recommend(found)[0] and "confirm`" not in recommend(found)[2]
    versus = {each.name: each for each in found.contenders}["t0002@100"].versus
    assert -0.3 < versus["pose"].low < -0.2 < versus["pose"].high < -0.1
    without = Confirmation([replace(each, rounds=()) for each in candidates], candidates[2], None)
    assert choose(table, space(), without).source == "none"


def test_without_cells_nothing_is_said_of_how_sure_it_is():
    table = [replace(o, cells={}) for o in sweep(12)]
    found = choose(table, space())
    assert found.source == "none" and found.picked.picked is None and "cannot be said" in recommend(found)[2]
    assert found.pick is table[knee(to_losses(space().objectives, [o.scores for o in table]))]


def test_three_objectives_are_traded_against_the_pick():
    three = space(SPACE.replace("[identity, pose]", "[identity, pose, drift]"))
    found = choose(sweep(30), three)
    assert all(each.start == found.picked.name and each.rate is None for each in found.exchanges)
    assert set(found.picked.scores) == {"identity", "pose", "drift"} and all(recommend(found))
