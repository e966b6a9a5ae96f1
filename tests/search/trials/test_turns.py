"""Who goes first, and when nobody new should start."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from search.journal import Ledger, Observed, Proposed
from search.rungs import Continue, Stop
from search.trials.turns import PATIENCE, Floor, Waiting, in_turn, may_propose, waiting_of
from spaces import Recipe
from tests.search.examples import observed

FLOOR = Floor(outstanding=2, waiting=0, slots=2)


def test_the_most_advanced_go_first_then_the_better_then_the_older():
    waiting = [
        Waiting("t0001", 0),
        Waiting("t0002", 20, 0.9),
        Waiting("t0003", 20, 0.1),
        Waiting("t0004", 40, 1.0),
        Waiting("t0005", 0),
    ]
    assert [w.trial for w in in_turn(waiting)] == ["t0004", "t0003", "t0002", "t0001", "t0005"]


@given(st.lists(st.builds(Waiting, st.uuids().map(str), st.sampled_from([0, 10, 20]), st.floats(0, 1))), st.data())
def test_the_order_is_the_same_however_they_come(waiting, data):
    assert in_turn(data.draw(st.permutations(waiting))) == in_turn(waiting)


def test_a_standing_is_the_place_at_the_last_rung():
    ledger = Ledger()
    ledger.add(Proposed(0.0, "t0001", Recipe(), {}, 1))
    assert waiting_of(ledger, "t0001") == Waiting("t0001", 0)
    for steps, decision in ((10, Continue(3, 4)), (20, Continue(1, 4))):
        ledger.add(Observed(1.0, (observed("t0001", steps, 0.5, 0.5),), decision, "folder"))
    assert waiting_of(ledger, "t0001") == Waiting("t0001", 20, 0.25)
    ledger.add(Observed(1.0, (observed("t0001", 40, 0.5, 0.5),), Stop("finished", "last"), "folder"))
    assert waiting_of(ledger, "t0001") == Waiting("t0001", 40, 1.0)


def test_so_many_wait_as_can_start_side_by_side():
    assert may_propose(FLOOR) and may_propose(replace(FLOOR, waiting=1))
    assert not may_propose(replace(FLOOR, waiting=2))
    assert not may_propose(replace(FLOOR, workers=2)) and may_propose(replace(FLOOR, workers=3))


def test_before_anything_is_measured_each_card_has_one():
    assert not may_propose(replace(FLOOR, measured=False))
    assert may_propose(replace(FLOOR, measured=False, outstanding=1))


def test_nobody_is_overtaken_for_ever_and_nothing_hangs():
    assert may_propose(replace(FLOOR, waiting=1, overtaken=2 * PATIENCE - 1))
    assert not may_propose(replace(FLOOR, waiting=1, overtaken=2 * PATIENCE))


@given(st.builds(Floor, st.just(0), st.just(0), st.integers(1, 9), st.integers(0, 99), st.booleans(), st.just(1)))
def test_with_nobody_about_there_is_room(floor):
    assert may_propose(floor)
