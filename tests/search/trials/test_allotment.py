"""What trials are given as a sweep goes on, without Ray: nodes are what `ray.nodes()` would say."""

from dataclasses import replace
from pathlib import Path

import pytest

from search.journal import Journal
from search.rungs import Pause, rule_for
from search.state import SweepState
from search.trials.allotment import Allotment
from search.trials.cards import GB, Refused, Request
from search.trials.memory import load_of
from spaces import Cost, parse_space
from tests.search.cards import TEXT, peak
from tests.search.examples import observed

SPACE = parse_space(TEXT, "small")
SMALL = {"Alive": True, "Resources": {"CPU": 8, "GPU": 1, "gpu_gb": 24}}
LARGE = {"Alive": True, "Resources": {"CPU": 16, "GPU": 1, "gpu_gb": 80}}
CPUS = {"Alive": True, "Resources": {"CPU": 4}}


class Sweep:
    """A sweep whose trials are run by hand."""

    def __init__(self, folder: Path, nodes: list[dict], **options: object) -> None:
        self.journal = Journal(folder)
        rule = rule_for("none", SPACE)
        self.state = SweepState(SPACE, rule, "random", 0, 40, self.journal, lambda event: None)
        self.allotment = Allotment(self.state, lambda: nodes, 1, **options)

    def start(self, batch_size: int = 1, posed: bool | None = None) -> str:
        """The next trial with such a recipe, which has a process; those before it fail."""
        while True:
            given = self.allotment.next_trial()
            recipe = given[0].recipe
            if recipe.batch_size == batch_size and posed in (None, recipe.pose_from is not None):
                self.allotment.started(given[0].trial)
                return given[0].trial
            self.state.failed(given[0].trial, "not wanted")

    def score(self, trial: str, steps: int, card: int = 24) -> object:
        """What the trial gets after a rung: None when it stays as it is."""
        recipe = self.journal.ledger.proposals[trial].recipe
        o = observed(trial, steps, 0.5, 0.5, recipe)
        o = replace(o, cost=Cost(1.0, device="card", peak_memory=peak(recipe, steps), card_memory=card * GB))
        values = {"trial": trial, "steps": steps, "observations": [o.to_json()], "folder": "f"}
        self.state.record(values)
        return self.allotment.after_rung(trial)


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path, [SMALL, LARGE])


def test_the_first_have_a_card_each_and_the_next_share_what_was_measured(sweep):
    first = sweep.start(posed=False)
    assert sweep.allotment.granted[first] == Request(1.0, 24.0)
    assert sweep.allotment.has_room()
    second = sweep.start(posed=True)
    assert not sweep.allotment.has_room(), "two cards, and nothing is known yet"
    smaller = sweep.score(first, 10)
    assert smaller.gpu_gb == 8.0 and smaller.memory > peak(sweep.journal.ledger.proposals[first].recipe, 10)
    sweep.allotment.swap(first, smaller)
    assert sweep.allotment.has_room()
    third = sweep.start(posed=False)
    assert sweep.allotment.granted[third].gpu_gb == 8.0
    assert sweep.score(third, 10) is None and sweep.score(third, 20) is None, "it has what it needs"
    assert sweep.allotment.granted[second] == Request(1.0, 24.0)


def test_with_the_controlnet_in_the_loop_it_needs_more_than_the_rung_before_has_shown(sweep):
    trial = sweep.start(posed=True)
    taken = peak(sweep.journal.ledger.proposals[trial].recipe, 10)
    assert sweep.score(trial, 10).memory > taken * 1.15, "the ControlNet was not measured, so more is put by for it"
    asked, given = sweep.allotment.request(trial), []
    while (asked.memory or asked.gpu_gb * GB) < peak(sweep.journal.ledger.proposals[trial].recipe, 20):
        given.append(asked.gpu_gb)
        sweep.allotment.swap(trial, asked)
        asked = sweep.allotment.ran_out(trial, 20, int(asked.gpu_gb) * GB, "out of memory")
    assert given == sorted(set(given)) and given[-1] == 24.0 and asked.gpu_gb == 40.0
    sweep.allotment.swap(trial, asked)
    assert sweep.score(trial, 20, 80) is None, "the next rung is as this one was"
    other = sweep.start(posed=True)
    sweep.score(other, 10)
    assert sweep.allotment.request(other).gpu_gb == 40.0, "two on 80 GB, by what the first took"


def test_what_no_card_holds_fails_after_a_whole_one_of_the_largest_and_later_ones_at_once(sweep):
    trial = sweep.start(batch_size=16)
    asked = sweep.allotment.ran_out(trial, 10, 24 * GB, "out of memory")
    assert asked.gpu_gb > 24.0, "it had the whole of a small one"
    while isinstance(asked, Request):
        sweep.allotment.swap(trial, asked)
        asked = sweep.allotment.ran_out(trial, 10, 80 * GB, "out of memory")
    assert "80.0 GB" in asked.reason
    sweep.state.failed(trial, asked.reason)
    before = len(sweep.journal.ledger.outgrown)
    recipes = {t: event.recipe for t, event in sweep.journal.ledger.proposals.items()}
    given = [sweep.allotment.next_trial()[0] for _ in range(8)]
    for each in given:
        assert not load_of(recipes[trial], 0, 10) <= load_of(each.recipe, 0, 10)
    refused = [t for t, ending in sweep.journal.ledger.endings.items() if ending.reason.startswith("needs more than")]
    assert len(refused) >= 2, "the one that was tried, and others that take as much"
    assert len(sweep.journal.ledger.outgrown) == before, "none of them was tried"


def test_where_nodes_do_not_tell_their_memory_a_whole_card_is_the_end(tmp_path):
    sweep = Sweep(tmp_path, [{"Alive": True, "Resources": {"CPU": 8, "GPU": 2}}])
    trial = sweep.start(batch_size=16)
    assert sweep.allotment.granted[trial] == Request(1.0)
    assert isinstance(sweep.allotment.ran_out(trial, 10, 24 * GB, "out of memory"), Refused)
    first = sweep.start(posed=False)
    assert sweep.score(first, 10).gpus == 0.3333
    assert "do not tell" in sweep.allotment.in_words()


def test_on_cpus_nothing_is_shared_and_nothing_moves(tmp_path):
    sweep = Sweep(tmp_path, [CPUS])
    trial = sweep.start(posed=True)
    assert sweep.allotment.granted[trial] == Request(0.0)
    assert sweep.score(trial, 10) is None and sweep.score(trial, 20) is None
    sweep.start(), sweep.start(), sweep.start()
    assert sweep.allotment.has_room()
    assert sweep.allotment.in_words().startswith("No GPU")


def test_cards_that_spot_took_away_may_come_back(tmp_path):
    nodes = [SMALL]
    sweep = Sweep(tmp_path, nodes)
    assert sweep.allotment.request(sweep.start()) == Request(1.0, 24.0)
    nodes[:] = [CPUS]
    assert sweep.allotment.granted[sweep.start()] == Request(1.0, 24.0), "not a CPU instead"


def test_announced_cards_count_and_so_many_wait_as_are_asked_for(tmp_path):
    sweep = Sweep(tmp_path, [CPUS], announced=(24.0, 80.0), workers=3)
    for _ in range(3):
        assert sweep.allotment.has_room()
        assert sweep.allotment.next_trial()[1] == Request(1.0, 24.0)
    assert not sweep.allotment.has_room()


def test_nobody_new_while_one_that_waits_was_overtaken_too_often(tmp_path):
    sweep = Sweep(tmp_path, [SMALL])
    first = sweep.start(posed=False)
    sweep.allotment.swap(first, sweep.score(first, 10))
    others = [sweep.start(posed=False)]
    while sweep.allotment.has_room():
        others.append(sweep.start(posed=False))
        assert len(others) < 10
    assert sweep.journal.ledger.reached(first) == 10
    sweep.allotment.started(first)
    assert sweep.allotment.has_room()


def test_a_resumed_sweep_allots_as_before(tmp_path):
    sweep = Sweep(tmp_path, [SMALL, LARGE])
    trial = sweep.start(posed=True)
    sweep.score(trial, 10)
    sweep.allotment.swap(trial, sweep.allotment.ran_out(trial, 20, 24 * GB, "out of memory"))
    asked = sweep.allotment.request(trial)
    sweep.journal.close()
    again = Sweep(tmp_path, [SMALL, LARGE])
    assert again.allotment.next_trial()[0].trial == trial and again.allotment.granted[trial] == asked
    assert again.allotment.has_room(), "what was measured is in the journal"


def test_a_paused_trial_leaves_its_place_to_others_and_is_given_one_when_it_is_promoted(tmp_path):
    journal, rule = Journal(tmp_path), rule_for("asha-pareto", SPACE, promote=True)
    state = SweepState(SPACE, rule, "random", 0, 4, journal, lambda event: None)
    allotment = Allotment(state, lambda: [CPUS], 4, workers=1)

    def score(trial: str, value: float) -> None:
        o = observed(trial, 10, value, value, journal.ledger.proposals[trial].recipe)
        if isinstance(state.record({"trial": trial, "steps": 10, "observations": [o.to_json()], "folder": "f"}), Pause):
            allotment.paused(trial)

    given = []
    while len(given) < 4 and (not given or given[0] not in given[1:]):
        assert allotment.has_room()
        given.append(allotment.next_trial()[0].trial)
        allotment.started(given[-1])
        assert not allotment.has_room() and list(allotment.granted) == given[-1:], "one at a time"
        if given[-1] not in given[:-1]:
            score(given[-1], 0.9 - 0.1 * len(given))
    journal.close()
    assert given[-1] == given[0] and (given[0], 10) in journal.ledger.promoted and allotment.most == 1
