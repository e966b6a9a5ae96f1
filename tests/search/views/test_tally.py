"""A tally that follows a ledger says what can be read off the whole ledger."""

import numpy as np
import pytest

from search.front import front_of, hypervolume_of
from search.journal import Ended, Ledger, Observed, Proposed
from search.rungs import Continue
from search.views.tally import Tally
from spaces import Inference, Recipe
from tests.search.examples import TEXT, observed, small_space

SPACES = [small_space(), small_space(TEXT + "\nobjectives: [identity, pose, drift]\n")]


def events(seed: int):
    """Thirty trials that go on to the next rung or end, in any order, each checkpoint drawn in two ways."""
    generator = np.random.default_rng(seed)
    waiting = {f"t{i:04d}": [10, 20, 40] for i in range(30)}
    for trial in waiting:
        yield Proposed(0.0, trial, Recipe(), {}, 1)
    while waiting:
        trial = str(generator.choice(sorted(waiting)))
        steps, ends = waiting[trial].pop(0), generator.random() < 0.3
        ways = [observed(trial, steps, *generator.random(2).round(1), way=way) for way in (None, Inference())]
        for observation in ways:
            observation.scores["drift"] = float(generator.random())
        yield Observed(0.0, tuple(ways), Continue(1, 1), f"/{trial}/{steps}")
        if ends or not waiting[trial]:
            del waiting[trial]
            yield Ended(0.0, trial, str(generator.choice(["finished", "stopped", "failed"])), "", steps)


@pytest.mark.parametrize("space", SPACES, ids=["two objectives", "three"])
@pytest.mark.parametrize("every", [1, 7])
def test_it_counts_what_is_there_however_seldom_it_is_asked(space, every):
    ledger, tally, o = Ledger(), Tally(space), space.objectives
    for number, event in enumerate(events(3)):
        ledger.add(event)
        if number % every:
            continue
        seen, table = tally.progress(ledger, 30), ledger.table
        endings = [event.status for event in ledger.endings.values()]
        assert (seen.finished, seen.stopped, seen.failed) == tuple(
            endings.count(status) for status in ("finished", "stopped", "failed")
        )
        assert seen.running == len(ledger.proposals) - len(endings)
        checkpoints = [steps for _, steps in ledger.observed]
        assert seen.reached == tuple((rung, checkpoints.count(rung)) for rung in space.rungs)
        assert seen.front == len(front_of(table, o))
        assert seen.hypervolume == tally.hypervolume(ledger) == pytest.approx(hypervolume_of(table, o), abs=1e-9)
        assert sum(s.seconds for s in seen.speeds) == pytest.approx(sum(x.cost.total for x in table))
        assert sum(s.steps for s in seen.speeds) == sum({10: 10, 20: 10, 40: 20}[steps] for steps in checkpoints)
        assert sum(s.trials for s in seen.speeds) == len({t for t, _ in ledger.observed} - set(ledger.endings)) or (
            all(trial in ledger.endings for trial, _ in ledger.observed)
        )
        sign = {x.name: -1 if x.direction == "maximize" else 1 for x in o}
        for objective, best in seen.best:
            assert best is min(table, key=lambda x: sign[objective.name] * x.scores[objective.name])
        assert len(seen.best) == (len(o) if table else 0)
