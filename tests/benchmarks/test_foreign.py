"""A search in a process of another interpreter: what is said to it and what is understood of its answers."""

import math
import os
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.contest import full_training, run
from benchmarks.peers import foreign
from benchmarks.peers.conditions import applying
from benchmarks.peers.neps_peer import NePS, factor, prior
from benchmarks.peers.syne_tune_peer import SyneTune
from benchmarks.search import method
from benchmarks.tasks import CLOSED
from spaces import Choice, InputError, Range, load_space

TASK = CLOSED["zdt1"]
PEERS = {"syne_tune": partial(SyneTune, repaired=False), "neps": partial(NePS, optimizer="moasha")}
named = pytest.mark.skipif(foreign.PYTHON not in os.environ, reason="no interpreter with the peers is named")


@pytest.mark.parametrize("make", PEERS.values(), ids=PEERS)
def test_without_an_interpreter_it_says_what_is_missing(make, monkeypatch):
    monkeypatch.delenv(foreign.PYTHON, raising=False)
    with pytest.raises(InputError, match=rf"{foreign.PYTHON}.*syne-tune.*neural-pipeline-search"):
        make(TASK, 0)
    monkeypatch.setenv(foreign.PYTHON, "/nowhere/python")
    with pytest.raises(InputError, match="/nowhere/python does not start"):
        make(TASK, 0)


def test_of_all_values_those_are_kept_whose_conditions_hold():
    space = load_space("puppets")
    for known, text_encoder in enumerate(["frozen", "lora"]):
        values = {**space.at([0.5] * len(space.parameters)), "text_encoder": text_encoder}
        values |= {"text_encoder_rank": 8, "text_encoder_learning_rate": 1e-3}
        kept = applying(space, values)
        assert values.items() >= kept.items() and len(values) - len(kept) == (0 if known else 2)
        assert space.point(space.recipe(kept)) == kept


@named
@pytest.mark.slow
@pytest.mark.parametrize("make", PEERS.values(), ids=PEERS)
def test_a_space_with_conditions_is_searched(make):
    space = replace(load_space("puppets"), rungs=TASK.space.rungs)
    search, known = make(SimpleNamespace(space=space), 0), set()
    for name in map(str, range(12)):
        assert not hasattr(search, "promoted") or search.promoted() is None
        values = search.suggest(name)
        assert space.point(space.recipe(values)) == values
        known.add(values["text_encoder"])
        search.report(name, space.rungs[0], [0.5, 0.5])
        if len(known) == 2:
            return
    raise AssertionError("one side of the condition was never proposed")


@pytest.mark.parametrize("package", PEERS)
def test_one_that_lacks_the_package_is_told_of_with_its_own_words(package, monkeypatch):
    monkeypatch.setenv(foreign.PYTHON, sys.executable)
    with pytest.raises(RuntimeError, match=f"No module named .{package}"):
        PEERS[package](TASK, 0).suggest("t0")


@named
@pytest.mark.parametrize("name", ["Syne Tune MOASHA", "Syne Tune MOASHA, repaired"])
def test_the_package_itself_spends_its_budget_and_repeats_itself(name):
    budget = 4 * full_training(TASK)
    first, again = (run(TASK, method(name), seed=3, workers=2, budget=budget) for _ in range(2))
    assert first.losses.tolist() == again.losses.tolist() and len(first.seconds) >= 20


@named
@pytest.mark.slow
@pytest.mark.parametrize(("name", "trainings"), [("NePS moasha", 4), ("NePS primo", 9)])
def test_one_that_promotes_takes_trials_up_again_and_repeats_itself(name, trainings):
    """PriMO begins to model once six trainings' worth of steps were told, and then trains what it begins to the end."""
    budget = trainings * full_training(TASK)
    first, again = (run(TASK, method(name), seed=3, workers=1, budget=budget) for _ in range(2))
    assert first.losses.tolist() == again.losses.tolist() and len(first.seconds) >= 20
    assert (np.diff(first.trials) < 0).any()
    at = np.flatnonzero(first.trials == first.trials.max() - 1)
    assert ((np.diff(at) == 1).all() and len(at) == len(TASK.space.rungs)) == (name == "NePS primo")


@named
@pytest.mark.slow
def test_the_package_takes_choices_and_an_experts_prior():
    known = (Range("rank", 4, 64, log=True, integer=True, prior=16), Choice("token", ((1, "a"), None), weights=(1, 3)))
    asked = NePS(SimpleNamespace(space=replace(TASK.space, parameters=known)), 0, "primo")
    assert asked.promoted() is None
    values = asked.suggest("t0")
    assert 4 <= values["rank"] <= 64 and values["token"] in ([1, "a"], None)


def test_an_eta_is_found_that_makes_the_rungs_or_it_is_said_that_none_does():
    assert factor("it", TASK.space.rungs) == 2 and factor("it", (10, 30, 90)) == 3 and factor("it", (7, 56)) == 8
    assert math.log(243) / math.log(3) < 5  # so that the package leaves the first of these out
    for rungs in [(25, 50, 75), (1, 3, 9, 27, 81, 243), (100,)]:
        with pytest.raises(InputError, match=r"^it: its rungs are .*whole number, which \["):
            factor("it", rungs)


def test_what_an_expert_takes_for_best_is_said_as_the_package_wants_it():
    assert prior(TASK.space.parameters) == {}
    known = (
        Range("rank", 4, 64, log=True, integer=True, prior=16, spread=2.0),
        Range("dropout", 0.0, 0.9),
        Range("mask_weight", 0.0, 1.0, prior=0.5),
        Choice("unet", ("lora", "full-kv", "frozen"), weights=(1, 3, 0)),
    )
    assert prior(known) == {
        "prior_centers": {"expert": {"rank": 16, "mask_weight": 0.5, "unet": 1}},
        "prior_confidences": {"expert": {"rank": 0.75, "mask_weight": 0.75, "unet": 0.75}},
    }
