"""Wall time decides nothing: a card that is a thousand times slower leaves every decision as it was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.journal import Journal
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


def searched(folder: Path, sampler: str, factor: float) -> list[object]:
    """What a sweep proposes and decides, with one device so many times slower."""
    folder.mkdir()
    journal = Journal(folder)
    rule, found = rule_for("asha-pareto", SPACE), []
    clock = iter(np.cumsum(np.full(10**4, factor)).tolist()).__next__
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
