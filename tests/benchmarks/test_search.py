"""Searches on a small problem, with every peer that is installed here, and the table that says who won."""

from functools import partial

import numpy as np
import pytest

from benchmarks.contest import Trace, full_training, run
from benchmarks.drawn import draw
from benchmarks.peers.plain import Random
from benchmarks.search import METHODS, interval, method, missing, table
from benchmarks.tasks import CLOSED

TASK = CLOSED["zdt1"]


@pytest.mark.parametrize("name", [*METHODS, "ours, NSGA-II", "ours, stopped by the mean"])
def test_a_search_spends_its_budget_and_repeats_itself(name):
    budget = 4 * full_training(TASK)
    first, again = (run(TASK, method(name), seed=3, workers=2, budget=budget) for _ in range(2))
    assert np.array_equal(first.losses, again.losses)
    assert (np.diff(first.seconds) >= 0).all() and first.seconds[-1] <= budget
    assert len(first.seconds) >= 20
    volumes = first.volumes()
    assert (np.diff(volumes) >= 0).all() and 0 < volumes[-1] <= TASK.best
    assert first.cost_to(volumes[-1]) <= budget and first.cost_to(1.0) == np.inf


def test_workers_share_the_clock():
    budget = 6 * full_training(TASK)
    counts = [len(run(TASK, Random, seed=0, workers=workers, budget=budget).seconds) for workers in (1, 4)]
    assert counts[1] == pytest.approx(4 * counts[0], rel=0.1)


def test_paired_searches_meet_the_same_noise():
    """The first trial's noise does not depend on who proposed it."""
    budget = full_training(TASK)
    seen = [run(TASK, partial(method(name)), seed=7, workers=1, budget=budget) for name in ("random", "ours")]
    noise = [trace.seen[trace.trials == 0][0] - trace.losses[trace.trials == 0][0] for trace in seen]
    np.testing.assert_allclose(*noise)


def test_the_table_tells_who_is_better_and_whether_it_is_luck(tmp_path):
    found = [
        {"method": name, "seed": seed, "final": 0.8 + 0.01 * seed - lost, "area": -1 + lost - 0.01 * seed,
         "costs": [10 + lost, 1e9], "trials": 5, "missing": [0.5, 0.2 + lost], "front": [[0.1, 0.5 + lost], [0.5, 0.2]]}
        for name, lost in (("ours", 0.0), ("much worse", 0.3)) for seed in range(10)
    ]  # fmt: skip
    found += [row | {"method": "the same"} for row in found if row["method"] == "ours"]
    lines = table(found, ["ours", "much worse", "the same"]).splitlines()
    assert "| ours | 10 | 0.845 (" in lines[2] and "| 10.0 | not reached | -1.04 (" in lines[2]
    assert "| 10 of 10 | 0.004 |" in lines[3]
    assert "| 0 of 10 | 1.000 |" in lines[4]
    draw({"one": found, "other": found}, ["ours", "much worse", "the same"], 1.0, tmp_path / "all.png")
    assert (tmp_path / "all.png").stat().st_size > 10_000


def test_what_is_missing_is_all_before_the_first_result_and_falls_with_each():
    trace = Trace(np.array([3.0, 10.0]), np.array([[0.5, 0.5], [0.0, 0.5]]), np.zeros((2, 2)), np.array([0, 1]))
    assert missing(trace, trace.volumes(), 10.0, 1.5).tolist() == [1.0, 0.75, 0.75, 0.5, 0.5, 0.5]


def test_an_interval_of_the_median_holds_it_and_is_narrow_where_all_agree():
    low, high = interval(np.random.default_rng(1).normal(size=40))
    assert low < 0.2 and high > -0.2 and high - low < 1.2
    assert interval(np.full(5, 2.0)) == (2.0, 2.0)
