"""Several sweeps together: coverage and volumes against their definitions."""

import json
import math
import re

import numpy as np
import pytest

from analysis.course import course
from analysis.pareto import hypervolume
from analysis.report import Group, Run, compare_html
from analysis.report.together import coverage, rows_of
from analysis.report.verdicts import verdicts
from spaces import Observation, Recipe, parse_objectives, to_losses

BOTH = parse_objectives(["identity", "pose"])


def run(name: str, points: list[tuple[float, float]]) -> Run:
    table = [Observation(f"t{i}", Recipe(), 0, 100, {"identity": x, "pose": y}) for i, (x, y) in enumerate(points)]
    return Run(name, table, course(table, range(len(table)), [1.0] * len(table), BOTH), False)


def test_coverage_is_the_share_that_is_equalled_or_beaten():
    better, worse = run("a", [(0.9, 0.2), (0.5, 0.5)]), run("b", [(0.8, 0.1), (0.4, 0.4), (0.1, 0.9), (0.3, 0.3)])
    groups = [Group("a", [better]), Group("b", [worse])]
    (own, of_b), (of_a, _) = coverage(groups, BOTH, ())
    assert own == 1 and of_b == pytest.approx(2 / 3) and of_a == 0
    nothing = Group("none", [run("none", [])])
    assert (
        math.isnan(coverage([groups[0], nothing], BOTH, ())[0][1])
        and coverage([nothing, groups[0]], BOTH, ())[0][1] == 0
    )
    assert coverage([groups[0], groups[0]], BOTH, ())[0][1] == 1, "a front covers itself"


def test_coverage_is_what_pairs_of_random_points_say():
    draw = np.random.default_rng(1)
    runs = [run(name, [tuple(p) for p in draw.random((25, 2))]) for name in "ab"]
    found = coverage([Group(r.name, [r]) for r in runs], BOTH, ())[0][1]
    mine, theirs = (to_losses(BOTH, [o.scores for o in r.observations]) for r in runs)
    dominated = lambda p, points: ((points <= p).all(axis=1) & (points < p).any(axis=1)).any()  # noqa: E731
    front = [p for p in theirs if not dominated(p, theirs)]
    assert found == pytest.approx(np.mean([(mine <= p).all(axis=1).any() for p in front]))


def test_verdicts_are_at_the_same_cost_and_know_what_they_cannot_tell():
    draw = np.random.default_rng(3)
    good = [run(f"g{k}", [tuple(p) for p in 0.5 + draw.random((14, 2)) / 2]) for k in range(6)]
    poor = [run(f"p{k}", [tuple(p) for p in draw.random((10 + k, 2)) / 2]) for k in range(6)]
    of = lambda runs: [(r.course, r.observations) for r in runs]  # noqa: E731
    at_trials, at_time = verdicts(of(good), of(poor), BOTH, ())
    assert at_trials.at == "after 10 trials" and at_time.at == "after 9 s" and at_trials.pairs == 6
    head = [hypervolume(to_losses(BOTH, [o.scores for o in r.observations[:10]]), 1.0) for r in good]
    assert at_trials.first == pytest.approx(np.mean(head)) and at_trials.p == pytest.approx(2 / 2**6)
    assert at_trials.low < at_trials.difference < at_trials.high and at_trials.in_words.startswith("significant")
    alone, timed = verdicts(of(good[:1]), of(poor[:1]), BOTH, ())
    assert alone.pairs == 1 and alone.p < 0.05 and timed.p is None and "cannot be told" in timed.in_words
    assert verdicts(of(good[:2]), of(poor[:2]), BOTH, ())[0].p is None
    assert verdicts(of([run("none", [])]), of(poor[:1]), BOTH, ()) == []


def test_the_page_has_every_sweep_with_its_volume():
    draw = np.random.default_rng(2)
    groups = [Group(g, [run(f"{g}-{k}", [tuple(p) for p in draw.random((12, 2))]) for k in range(3)]) for g in "xy"]
    page = compare_html(groups, BOTH, (), {"subject": "robot"}, "posefront compare")
    rows = rows_of(groups, BOTH, ())
    assert [row.name for row in rows] == ["x-0", "x-1", "x-2", "y-0", "y-1", "y-2"]
    assert all(f'<td class="n">{row.volume:.4f}</td>' in page for row in rows)
    (text,) = re.findall(r'id="page-data">(.*?)</script>', page)
    lines = json.loads(text)["figures"]["hypervolume over trials"]["data"]
    assert [line["y"][-1] for line in lines] == pytest.approx([row.volume for row in rows], abs=1e-5)
    (fronts,) = [json.loads(text)["figures"]["fronts"]["data"]]
    assert sum("what half of 3 attain" in trace.get("name", "") for trace in fronts) == 2
    assert "3 pairs of sweeps" in page and "after 12 trials" in page
    assert len({line["line"]["dash"] for line in lines}) == 2 and len(page) < 5_500_000
