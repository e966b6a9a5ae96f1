"""Wall time decides nothing: neither a card that is a thousand times slower nor a clock that jumps."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.clock import SteadyClock
from search.journal import Journal, read
from search.rungs import decide, rule_for
from search.state import SweepState
from spaces import Cost
from tests.search import curves
from tests.search.examples import observed, small_space

SPACE = small_space()
DEVICES = ("NVIDIA L4", "NVIDIA H100")
POINTS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from(DEVICES)), min_size=1, max_size=12)


@given(POINTS, st.floats(1e-3, 1e3), st.sampled_from(["asha-pareto", "asha-scalar", "none"]))
@settings(max_examples=50)
def test_rungs_decide_the_same_whatever_a_device_takes(points, factor, kind):
    rule = rule_for(kind, SPACE)
    table = [
        replace(observed(f"t{i:04d}", 10, *scores), cost=Cost(train=1.0 + i, device=device))
        for i, (*scores, device) in enumerate(points)
    ]
    scaled = [
        replace(o, cost=replace(o.cost, train=o.cost.train * factor)) if o.cost.device == DEVICES[0] else o
        for o in table
    ]
    for before, after in zip(table, scaled, strict=True):
        assert decide(table, [before], rule) == decide(scaled, [after], rule)


def searched(folder: Path, sampler: str, factor: float, clock: Callable[[], float] | None = None) -> list[object]:
    """What a sweep proposes and decides, with one device so many times slower."""
    folder.mkdir()
    journal = Journal(folder)
    rule, found = rule_for("asha-pareto", SPACE), []
    clock = clock or iter(np.cumsum(np.full(10**4, factor)).tolist()).__next__
    state = SweepState(SPACE, rule, sampler, 3, 12, journal, lambda event: None, clock=clock)
    while (given := state.next_trial()) is not None:
        device = DEVICES[int(given.trial[1:]) % 2]
        for steps in SPACE.rungs:
            cost = Cost(steps * (factor if device == DEVICES[0] else 1.0), device=device)
            scores = curves.scores(given.recipe, steps)
            o = replace(observed(given.trial, steps, 0.0, 0.0, given.recipe), scores=scores, cost=cost)
            values = {"trial": given.trial, "steps": steps, "observations": [o.to_json()], "folder": "f"}
            found.append(state.record(values))
            if given.trial in state.ledger.endings:
                break
    found += [(event.recipe, event.seed) for event in state.ledger.proposals.values()]
    journal.close()
    return found


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_a_sweep_proposes_and_decides_the_same_whatever_a_device_takes(tmp_path, sampler):
    assert searched(tmp_path / "one", sampler, 1.0) == searched(tmp_path / "slow", sampler, 1000.0)


@pytest.mark.parametrize("seed", range(3))
def test_a_wall_clock_that_jumps_changes_neither_proposals_nor_decisions(tmp_path, seed):
    """By hours, forth and back, as one that is set while a sweep runs, or another machine's on which it is resumed."""
    jumps = 1.7e9 + np.random.default_rng(seed).normal(0, 7200, 10**4).cumsum()
    jumping = searched(tmp_path / "jumping", "tpe", 1.0, iter(jumps.tolist()).__next__)
    assert jumping == searched(tmp_path / "steady", "tpe", 1.0)
    ledger = read(tmp_path / "jumping")
    assert len(ledger.endings) == 12 and 0 <= ledger.seconds < 1e9


def test_within_a_driver_time_does_not_jump(monkeypatch):
    clock = SteadyClock()
    before = clock()
    assert abs(before - time.time()) < 1.0
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= clock() - before < 1.0
