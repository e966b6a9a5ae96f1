"""Where a sweep's time went, what its stops saved, and how its front grew, against the same by hand."""

import numpy as np
import pytest

from analysis.course import course
from analysis.pareto import hypervolume
from analysis.spending import Drive, spending
from analysis.stops import stops
from spaces import Cost, Observation, Recipe, parse_objectives, parse_requirement, to_losses

RUNGS = (100, 200, 400)


def seen(trial: str, steps: int, train: float, score: float = 1.0, **scores: float) -> Observation:
    return Observation(trial, Recipe(), 0, steps, scores, cost=Cost(train=train, score=score))


def test_what_workers_waited_is_what_is_left_of_their_time():
    costs = [Cost(train=10, score=2, load=3), Cost(train=5, score=2), Cost(train=7, score=1)]
    spent = spending(costs, [Drive(wall=15, workers=2, begin=0, end=2)])
    assert spent.parts == {"train": 22, "score": 5, "load": 3}
    assert spent.waited == pytest.approx(2 * 15 - 22) and spent.outside == pytest.approx(8)
    assert sum(spent.shares().values()) == pytest.approx(1)
    running = spending(costs, [])
    assert running.waited is None and "wait" not in running.shares()
    assert spending([], []).shares() == {}


def test_a_stop_saves_what_the_rungs_beyond_took_of_others_at_the_trials_own_pace():
    table = [
        seen("a", 100, 9), seen("a", 200, 9), seen("a", 400, 19),
        seen("b", 100, 19),
        seen("c", 100, 9), seen("c", 200, 9),
    ]  # fmt: skip
    endings = {"a": ("finished", 400), "b": ("stopped", 100), "c": ("failed", 200)}
    first, second, last = stops(table, RUNGS, endings)
    usual = [(10 + 20 + 10) / 3, 10, 20]
    assert (first.scored, first.went_on, first.stopped, first.failed) == (3, 2, 1, 0)
    assert first.saved_steps == 300 and first.saved_seconds == pytest.approx(20 / usual[0] * 30)
    assert (second.scored, second.went_on, second.stopped, second.failed) == (2, 1, 0, 1)
    assert (second.saved_steps, second.saved_seconds) == (0, 0) and last.scored == 1
    nobody = stops([seen("b", 100, 9)], RUNGS, {"b": ("stopped", 100)})
    assert nobody[0].saved_seconds == pytest.approx(30), "rungs that none reached are taken by their steps"
    assert [rung.scored for rung in stops([], RUNGS, {})] == [0, 0, 0]


@pytest.mark.parametrize("names", [["identity", "pose"], ["identity", "pose", "drift"]])
def test_the_course_is_the_hypervolume_of_every_head_of_the_table(names):
    draw, objectives = np.random.default_rng(3), parse_objectives(names)
    table = [
        seen(f"t{i // 3}", RUNGS[i % 3], 1, identity=a, pose=b, drift=c)
        for i, (a, b, c) in enumerate(draw.random((40, 3)))
    ]
    need = (parse_requirement("drift < 0.8"),)
    grown = course(table, np.arange(40.0), [2.0] * 40, objectives, need)
    for n in range(1, 41):
        met = [o.scores for o in table[:n] if o.scores["drift"] < 0.8]
        assert grown.volume[n - 1] == pytest.approx(hypervolume(to_losses(objectives, met), 1.0))
        assert grown.trials[n - 1] == len({o.trial for o in table[:n]}) and grown.worker_seconds[n - 1] == 2 * n
    thin = grown.thinned()
    assert thin.last == grown.last and thin.seconds[-1] == 39
    assert (np.diff(thin.volume)[:-1] > 0).all() and len(thin.volume) < 40
    assert course([], [], [], objectives).last == 0
