"""A search in a process of another interpreter: what is said to it and what is understood of its answers."""

import os
import sys

import pytest

from benchmarks.contest import full_training, run
from benchmarks.peers import foreign
from benchmarks.search import method
from benchmarks.tasks import CLOSED
from spaces import InputError

TASK = CLOSED["zdt1"]


def test_without_an_interpreter_it_says_what_is_missing(monkeypatch):
    monkeypatch.delenv(foreign.PYTHON, raising=False)
    with pytest.raises(InputError, match=f"{foreign.PYTHON}.*syne-tune"):
        foreign.SyneTune(TASK, 0, repaired=False)
    monkeypatch.setenv(foreign.PYTHON, "/nowhere/python")
    with pytest.raises(InputError, match="/nowhere/python does not start"):
        foreign.SyneTune(TASK, 0, repaired=False)


def test_one_that_lacks_the_package_is_told_of_with_its_own_words(monkeypatch):
    monkeypatch.setenv(foreign.PYTHON, sys.executable)
    with pytest.raises(RuntimeError, match=r"No module named .syne_tune"):
        foreign.SyneTune(TASK, 0, repaired=False).suggest("t0")


@pytest.mark.skipif(foreign.PYTHON not in os.environ, reason="no interpreter with Syne Tune is named")
@pytest.mark.parametrize("name", ["Syne Tune MOASHA", "Syne Tune MOASHA, repaired"])
def test_the_package_itself_spends_its_budget_and_repeats_itself(name):
    budget = 4 * full_training(TASK)
    first, again = (run(TASK, method(name), seed=3, workers=2, budget=budget) for _ in range(2))
    assert first.losses.tolist() == again.losses.tolist() and len(first.seconds) >= 20
