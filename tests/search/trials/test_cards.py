"""From what a trial needs to what Ray is asked for."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.trials.cards import CONTEXT, GB, USABLE, Card, Refused, Request, ask, cards_of
from search.trials.memory import Need
from spaces import InputError

SMALL, LARGE = Card(24.0, 8), Card(80.0, 16)
UNKNOWN = Need(None, 0)


def node(gpus: float, gpu_gb: float | None = None, cpus: float = 8, alive: bool = True) -> dict:
    resources = {"CPU": cpus, "GPU": gpus} | ({} if gpu_gb is None else {"gpu_gb": gpu_gb})
    return {"Alive": alive, "Resources": resources}


def need(gb: float, proven: float = 0) -> Need:
    return Need(int(gb * GB), int(proven * GB))


def test_kinds_of_card_are_read_off_the_nodes():
    nodes = [node(1, 24), node(1, 80, 16), node(1, 24), node(0), node(1, 48, alive=False)]
    assert cards_of(nodes) == (SMALL, LARGE)
    assert cards_of([node(4, 96)]) == (Card(24.0, 2, 4),)
    assert cards_of([node(0)], [80, 24]) == (Card(24.0, math.inf), Card(80.0, math.inf))
    assert cards_of([node(2)]) == (Card(None, 4, 2),)


def test_four_small_cards_beside_a_large_one_are_refused_since_they_look_larger():
    with pytest.raises(InputError, match="each node should have one"):
        cards_of([node(4, 96), node(1, 80)])


def test_a_whole_card_before_anything_is_known():
    assert ask(UNKNOWN, [SMALL, LARGE], 1) == Request(1.0, 24.0)
    assert ask(UNKNOWN, [Card(None, 8)], 1) == Request(1.0)
    assert ask(UNKNOWN, [], 1) == Request(0.0), "no GPU anywhere"


def test_equal_parts_of_the_smallest_card_that_holds_it():
    third = ask(need(7), [SMALL, LARGE], 1)
    assert third.gpu_gb == 8.0 and third.gpus == 0.1, "three on 24 GB, ten on 80"
    assert third.memory == int(24 * GB * USABLE / 3) - CONTEXT
    assert ask(need(30), [SMALL, LARGE], 1) == Request(0.5, 40.0, int(80 * GB * USABLE / 2) - CONTEXT)
    assert ask(need(7), [SMALL, LARGE], 4).gpu_gb == 12.0, "8 CPUs take two of 4"
    assert ask(need(15), [SMALL, LARGE], 1) == Request(1.0, 24.0)


def test_what_is_only_guessed_gets_the_largest_card_and_what_is_proven_is_refused():
    assert ask(need(200), [SMALL, LARGE], 1) == Request(1.0, 80.0)
    refused = ask(need(200, proven=81), [SMALL, LARGE], 1)
    assert isinstance(refused, Refused) and "81.0 GB" in refused.reason and "80.0 GB" in refused.reason


def test_parts_of_the_smallest_card_seen_where_nodes_do_not_tell():
    cards = [Card(None, 8)]
    assert ask(need(7), cards, 1) == Request(1.0), "no card's size was seen yet"
    assert ask(need(7), cards, 1, [24 * GB, 80 * GB]).gpus == 0.3333
    assert ask(need(7), cards, 1, [24 * GB]).gpu_gb == 0
    assert ask(need(30), cards, 1, [24 * GB, 80 * GB]) == Request(1.0)
    assert isinstance(ask(need(30, proven=25), cards, 1, [24 * GB]), Refused)


CARDS = st.lists(st.builds(Card, st.sampled_from([16.0, 24.0, 40.0, 80.0]), st.integers(1, 32).map(float)), min_size=1)


@given(st.floats(0.01, 90), CARDS, st.sampled_from([0.5, 1, 2, 4]))
def test_what_fits_by_ray_s_count_fits_on_the_card(gb, cards, cpus):
    given_ = ask(need(gb), cards, cpus)
    assert 0 < given_.gpus <= 1
    for card in cards:
        if given_.gpu_gb > card.memory:
            continue  # Ray has no room for it there
        together = min(math.floor(card.memory / given_.gpu_gb + 1e-9), math.floor(1 / given_.gpus + 1e-9))
        assert together >= 1
        if given_.memory is not None:
            assert given_.memory >= gb * GB - 1
            assert together * (given_.memory + CONTEXT) <= card.memory * GB
        else:
            assert given_.gpus == 1


@given(st.floats(0.01, 90), st.floats(0.01, 90), CARDS)
def test_who_needs_more_is_not_given_less(one, other, cards):
    small, large = (ask(need(gb), cards, 1) for gb in sorted((one, other)))
    assert small.gpu_gb <= large.gpu_gb
