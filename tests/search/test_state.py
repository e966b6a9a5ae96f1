import math
import time
from collections import deque
from itertools import count
from pathlib import Path

import pytest
from optuna.trial import TrialState

from search.journal import Ended, Journal, Observed, Proposed, read
from search.proposals.ahead import begun
from search.rungs import Continue, Stop, rule_for
from search.state import SweepState
from spaces import Inference, labels, parse_space
from tests.search.curves import drawn, scores
from tests.search.examples import small_space

SPACE, COMPLETE, MAIN = small_space(), TrialState.COMPLETE, (Inference(),)


class Desk:
    """A sweep without Ray: opens its state, and returns results as a trial would."""

    def __init__(self, folder: Path, trials: int = 6, space=SPACE, seed: int = 1, ahead: bool = False) -> None:
        self.journal, self.events, clock = Journal(folder), [], count(1000.0)
        self.state = SweepState(
            space, rule_for("asha-pareto", space), "tpe", seed, trials, self.journal, self.events.append, clock.__next__
        )
        if ahead:
            self.state.look_ahead()

    def result(self, assignment, steps: int, scored: dict | None = None, ways=MAIN) -> dict:
        scored, cost = scored or scores(assignment.recipe, steps), {"train": 1.0}
        return {
            "trial": assignment.trial, "steps": steps, "failure": None,
            "folder": f"/{assignment.trial}/{steps}", "done": steps == 40,
            "observations": [
                {"scores": drawn(scored, way), "cells": {}, "cost": cost, "inference": dict(way), "label": label}
                for way, label in zip(ways, labels(ways), strict=True)
            ],
        }  # fmt: skip

    def work_off(self, most: int | None = None) -> None:
        """Every trial to its end, one after the other, or until so many results were recorded."""
        done = 0
        while (assignment := self.state.next_trial()) is not None:
            for steps in SPACE.rungs:
                if most is not None and done >= most:
                    return
                done += 1
                if isinstance(self.state.record(self.result(assignment, steps)), Stop):
                    break


def summary(folder: Path) -> tuple:
    ledger = read(folder)
    observed = {key: (event.decision, event.main.scores) for key, event in ledger.observed.items()}
    recipes = {trial: (event.recipe, event.seed) for trial, event in ledger.proposals.items()}
    endings = {trial: (event.status, event.reason, event.steps) for trial, event in ledger.endings.items()}
    return recipes, observed, endings


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("most", [0, 1, 4, 7, 26, 29])
def test_an_interrupted_sweep_ends_as_an_uninterrupted_one(tmp_path, most, ahead):
    """With more trials than are drawn from the prior."""
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = Desk(tmp_path / "whole", trials=14, ahead=ahead)
    whole.work_off()
    whole.journal.close()
    first = Desk(tmp_path / "broken", trials=14, ahead=ahead)
    first.work_off(most)
    first.journal.close()
    second = Desk(tmp_path / "broken", trials=14, ahead=ahead)
    second.work_off()
    second.journal.close()
    assert summary(tmp_path / "broken") == summary(tmp_path / "whole")
    assert second.state.done and len(read(tmp_path / "whole").endings) == 14
    assert len(read(tmp_path / "whole").observed) > 29


def test_a_proposal_that_is_drawn_ahead_knows_the_table_as_it_was_when_the_last_was_handed_out(tmp_path):
    desk = Desk(tmp_path, trials=12, ahead=True)
    for _ in range(10):
        assignment = desk.state.next_trial()
        then = desk.state.sampler.proposal()
        desk.state.record(desk.result(assignment, 10))
    for steps in (20, 40):
        desk.state.record(desk.result(assignment, steps, {"identity": 1.0, "pose": 1.0}))
    now = desk.state.sampler.proposal()
    assert desk.state.next_trial().values == then(0) != now(0)


def test_what_goes_wrong_while_a_proposal_is_drawn_ahead_is_raised_where_it_is_asked_for(tmp_path):
    desk = Desk(tmp_path, ahead=True)
    desk.state.next_trial()
    desk.state._coming = begun(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        desk.state.next_trial()


def test_who_asks_for_a_proposal_too_soon_is_told_to_ask_again_and_gets_the_same(tmp_path):
    """Three trials at a time, which are scored in turn."""
    asked, patiences = {}, (None, 0.0)
    for patience in patiences:
        folder = tmp_path / str(patience)
        folder.mkdir()
        desk, live = Desk(folder, trials=16), deque()
        desk.state.look_ahead(patience)
        asked[patience] = 0
        while not desk.state.done:
            while len(live) < 3 and desk.state.left:
                asked[patience] += 1
                if (given := desk.state.next_trial()) is not None:
                    live.append((given, 0))
                else:
                    assert desk.state.waits, "else the driver takes it that there are no more"
                    time.sleep(0.001)
            given, rung = live.popleft()
            if not isinstance(desk.state.record(desk.result(given, SPACE.rungs[rung])), Stop):
                live.append((given, rung + 1))
        desk.journal.close()
    assert summary(tmp_path / "None") == summary(tmp_path / "0.0")
    assert asked[None] == 16 < asked[0.0]


def test_where_nothing_runs_a_proposal_is_waited_for(tmp_path):
    desk = Desk(tmp_path)
    desk.state.look_ahead(patience=0.0)
    assert desk.state.next_trial() is not None
    desk.state._coming = begun(lambda: time.sleep(0.05) or desk.state._new_recipe(desk.state.sampler.proposal()))
    assert desk.state.next_trial() is None and desk.state.waits
    desk.state.failed("t0001", "it does not matter")
    assert not desk.state.waits
    assert desk.state.next_trial() is not None


def test_a_replayed_checkpoint_is_neither_recorded_nor_decided_again(tmp_path):
    desk = Desk(tmp_path)
    assignment = desk.state.next_trial()
    first = desk.state.record(desk.result(assignment, 10))
    others = [desk.state.next_trial() for _ in range(3)]
    for other in others:  # by now the first would be ranked otherwise
        desk.state.record(desk.result(other, 10, {"identity": 1.0, "pose": 1.0}))
    assert desk.state.record(desk.result(assignment, 10)) == first == Continue(1, 1)
    assert sum(isinstance(event, Observed) for event in desk.events) == 4


def test_a_crash_between_decision_and_ending_is_made_up_for(tmp_path):
    desk = Desk(tmp_path)
    assignment = desk.state.next_trial()
    desk.state.record(desk.result(assignment, 40))
    desk.journal.close()
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    again = Desk(tmp_path)
    assert again.events == [Ended(1000.0, "t0001", "finished", "reached the last rung, 40 steps", 40)]
    assert again.state.next_trial().trial == "t0002"


def test_failures_are_recorded_once_with_their_reason(tmp_path):
    desk = Desk(tmp_path)
    raised, broken, dead = (desk.state.next_trial() for _ in range(3))
    desk.state.record({"trial": raised.trial, "steps": 0, "failure": "ValueError: a\n  b", "done": True})
    desk.state.record({"trial": raised.trial, "steps": 0, "failure": "ValueError: a\n  b", "done": True})
    desk.state.record(desk.result(dead, 10))
    desk.state.record(desk.result(broken, 10, {"identity": math.nan, "pose": 1.0}))
    desk.state.failed(dead.trial, "its process died")
    endings = desk.state.ledger.endings
    assert endings[raised.trial].reason == "ValueError: a b" and endings[raised.trial].status == "failed"
    assert "identity nan" in endings[broken.trial].reason
    assert (endings[dead.trial].steps, endings[dead.trial].reason) == (10, "its process died")
    assert [o.trial for o in desk.state.ledger.table] == [dead.trial]
    desk.work_off()
    assert desk.state.done


def test_a_process_may_be_lost_so_often_in_a_row_and_a_checkpoint_forgives(tmp_path):
    desk = Desk(tmp_path)
    unlucky, deadly = desk.state.next_trial(), desk.state.next_trial()
    for steps in SPACE.rungs[:2]:
        assert [desk.state.lost(unlucky.trial, "process", "killed") for _ in range(2)] == [True, True]
        desk.state.record(desk.result(unlucky, steps))
    assert [desk.state.lost(deadly.trial, "process", "killed\n by 9") for _ in range(4)] == [True, True, False, False]
    ended = desk.state.ledger.endings
    assert list(ended) == [deadly.trial] and ended[deadly.trial].status == "failed"
    assert ended[deadly.trial].reason == "its process died 3 times without a new checkpoint: killed by 9"


def test_lost_machines_are_no_failures_but_one_after_the_other_under_one_trial_is(tmp_path):
    desk = Desk(tmp_path)
    preempted, mixed, deadly = (desk.state.next_trial() for _ in range(3))
    assert all(desk.state.lost(preempted.trial, "preempted", "spot") for _ in range(50))
    assert all(desk.state.lost(mixed.trial, cause, "gone") for cause in ("process", "node", "process", *["node"] * 9))
    lost = [desk.state.lost(deadly.trial, "node", "gone") for _ in range(11)]
    assert lost == [True] * 10 + [False]
    assert "its node was lost 11 times" in desk.state.ledger.endings[deadly.trial].reason


def test_how_often_a_process_was_lost_outlives_the_driver(tmp_path):
    desk = Desk(tmp_path)
    trial = desk.state.next_trial().trial
    assert desk.state.lost(trial, "process", "killed") and desk.state.lost(trial, "process", "killed")
    desk.journal.close()
    again = Desk(tmp_path)
    assert again.state.next_trial().trial == trial
    assert not again.state.lost(trial, "process", "killed")


def test_a_trial_that_is_given_back_is_handed_out_again_and_the_rest_too(tmp_path):
    desk = Desk(tmp_path, trials=3)
    first, second = desk.state.next_trial(), desk.state.next_trial()
    desk.state.record(desk.result(first, 10))
    assert not desk.state.stranded  # both run
    desk.state.give_back(first.trial)
    assert not desk.state.stranded
    desk.state.failed(second.trial, "broken")
    assert desk.state.stranded and desk.state.left == 2
    again = desk.state.next_trial()
    assert (again.trial, again.recipe, again.seed) == (first.trial, first.recipe, first.seed)
    assert not desk.state.stranded
    for steps in (20, 40):
        desk.state.record(desk.result(again, steps, {"identity": 1.0, "pose": 1.0}))
    assert desk.state.stranded, "the third is still to come"
    desk.state.failed(desk.state.next_trial().trial, "broken")
    assert desk.state.done and not desk.state.stranded


def test_a_tried_recipe_is_not_proposed_again_while_there_are_others(tmp_path):
    space = parse_space("rungs: [10]\nsubject: x\nrecipe: {rank: [1, 2, 3], dropout: [0.0, 0.1]}", "six")
    desk = Desk(tmp_path, trials=8, space=space)
    recipes = [desk.state.next_trial().recipe for _ in range(8)]
    assert len(set(recipes)) == len(set(recipes[:6])) == 6
    assert desk.state.next_trial() is None


def test_a_checkpoint_that_is_drawn_in_several_ways_is_one_event_with_an_observation_each(tmp_path):
    desk, ways = Desk(tmp_path), (Inference(), Inference(lora_scale=0.5))
    assignment = desk.state.next_trial()
    desk.state.record(desk.result(assignment, 10, ways=ways))
    ledger = read(tmp_path)
    assert list(ledger.observed) == [("t0001", 10)]
    assert [(o.name, o.inference) for o in ledger.table] == [
        ("t0001@10", ways[0]), ("t0001@10:cfg3-cn1-lora0.5", ways[1]),
    ]  # fmt: skip
    assert [len(seen) for seen in (ledger.table, desk.state.sampler.study().get_trials(states=[COMPLETE]))] == [2, 1]


def test_journal_first(tmp_path):
    desk = Desk(tmp_path)
    seen = []
    desk.state._notify = lambda event: seen.append(len(read(tmp_path).proposals))
    desk.state.next_trial()
    assert seen == [1]


def test_seeds_differ_and_follow_from_the_sweeps(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    first, same, other = (Desk(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    handed = [[desk.state.next_trial() for _ in range(3)] for desk in (first, same, other)]
    assert handed[0] == handed[1]
    assert len({a.seed for trials in (handed[0], handed[2]) for a in trials}) == 6
    assert isinstance(first.events[0], Proposed)
