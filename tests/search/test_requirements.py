"""A sweep with requirements: rungs, sampler, front, pruning and the page hold what misses them back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.frontplot import prepare
from search.decisions.standings import Standings
from search.front import front_of, hypervolume_of, knee_of
from search.rungs import Continue, Stop, decide, rule_for
from search.sampler import Sampler
from search.sweep import run
from search.views import show
from spaces import Observation, Requirement, Space, violation
from tests.search.curves import Curves
from tests.search.examples import observed, small_space, small_sweep
from tests.search.inprocess import Lines, without_ray

REQUIRED = (Requirement("drift", "<", 0.05),)
SPACE = replace(small_space(), requirements=REQUIRED)
RULES = ("asha-pareto", "asha-scalar")


def scored(trial: str, identity: float, pose: float, drift: float, steps: int = 10) -> Observation:
    plain = observed(trial, steps, identity, pose)
    return replace(plain, scores=plain.scores | {"drift": drift})


LEVELS = st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.8])
TABLES = st.lists(st.tuples(LEVELS, LEVELS, st.sampled_from([0.01, 0.05, 0.1, 0.4])), min_size=2, max_size=20)


@settings(deadline=None)
@given(TABLES, st.sampled_from(RULES))
def test_at_a_rung_who_meets_them_is_never_behind_who_does_not(rows, kind):
    rule, table = rule_for(kind, SPACE), [scored(f"t{i:04d}", *row) for i, row in enumerate(rows)]
    places = [decide(table, [each], rule) for each in table]
    standings = Standings(rule)
    for each in table[:-1]:
        standings.add([each])
    assert standings.decide([table[-1]]) == places[-1], "the cache decides the same"
    place = [p.place if isinstance(p, Continue) else int(p.reason.split()[1]) for p in places]
    missed = [violation(REQUIRED, each.scores) for each in table]
    for i in range(len(table)):
        for j in range(len(table)):
            assert place[i] < place[j] or not missed[i] < missed[j]


def test_a_score_that_is_required_has_to_be_a_number():
    broken = decide([], [scored("t0001", 1.0, 1.0, float("nan"))], rule_for("none", SPACE))
    assert broken == Stop("failed", "scores of t0001@10 are not finite: identity 1.0, pose 1.0, drift nan")


def test_front_knee_volume_and_page_leave_out_what_misses_them():
    table = [scored("good", 0.5, 0.5, 0.01), scored("better", 0.9, 0.9, 0.2), scored("other", 0.2, 0.6, 0.01)]
    objectives = SPACE.objectives
    assert [o.trial for o in front_of(table, objectives, REQUIRED)] == ["good", "other"]
    assert knee_of(table, objectives, REQUIRED).trial == "good"
    volume = hypervolume_of(table, objectives, REQUIRED)
    assert volume == pytest.approx(0.5 * 0.5 + 0.2 * 0.1)
    assert front_of(table[1:2], objectives, REQUIRED) == [] and knee_of(table[1:2], objectives, REQUIRED) is None
    page = prepare(table, objectives, None, "small", REQUIRED)
    assert sorted(page.names[i] for i in page.front) == ["good@10", "other@10"] and len(page.points) == 3
    assert "2 meet drift < 0.05; the others are on no front" in page.summary
    assert ["misses drift" in text for text in page.hover] == [False, True, False]


@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
def test_the_sampler_learns_of_it(kind):
    """Of the whole range a quarter meets the requirement, and scores badly."""
    assert share_that_meets(SPACE, kind) > 0.6 and share_that_meets(small_space(), kind) < 0.3


def share_that_meets(space: Space, kind: str) -> float:
    """Of what is proposed after forty trials."""
    sampler, generator = Sampler(space, kind, 0), np.random.default_rng(0)
    for i in range(40):
        values = space.sample(generator)
        sampler.accept(f"t{i}", values)
        low = values["dropout"] < 0.1
        sampler.observe([scored(f"t{i}", 0.2 if low else 0.9, 0.2 if low else 0.9, 0.01 if low else 0.3)])
    return float(np.mean([sampler.propose(attempt)["dropout"] < 0.1 for attempt in range(30)]))


def test_show_says_what_is_required_and_keeps_no_adapter_that_misses_it(tmp_path, monkeypatch, tracking_uri):
    without_ray(monkeypatch)
    sweep = small_sweep(tmp_path, trials=4, seconds=0.0, require=("drift < 0.03",))
    told = Lines(sweep)
    run(sweep, told, Curves)
    found = show.find(tmp_path, "small")
    assert found.front and all(o.scores["drift"] < 0.03 for o in found.front)
    assert any(o.scores["drift"] >= 0.03 for o in found.ledger.table) and "misses drift < 0.03 (0.0" in told.text
    told.console.quiet = False
    show.to_console(found, told.console)
    assert "observations meet it." in told.console.export_text()
    kept = {(p.parents[1].name, p.parent.name) for p in (tmp_path / "small").rglob("adapter") if p.is_dir()}
    assert kept == {(o.trial, f"step-{o.steps:06d}") for o in found.front}
