"""Who is promoted, by the pure function; that the standings choose alike; and sweeps that pause and promote."""

import random
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from search.budget import Plan
from search.decisions.promotion import Table, allowed, choose, left_behind, pause_or_go_on
from search.decisions.standings import Standings
from search.journal import Journal, Ledger, Promoted, read
from search.rungs import Continue, ParetoAsha, Pause, Promise, RunAll, ScalarAsha, Stop
from search.simulate import Clock, Rung, simulate, virtual
from search.sweep import run
from search.views.live import LiveTable, PlainLines
from spaces import Cost, Observation, Recipe
from tests.search.curves import Curves, scores
from tests.search.decisions.test_standings import RULES, TWO, arrivals, observed
from tests.search.examples import small_space, small_sweep
from tests.search.test_simulate import simulated, task, what_happened
from tests.search.test_sweep import lines

SPACE = small_space()
RANKED = [rule for rule in RULES if not isinstance(rule, RunAll)]
PARETO, PROMISE, SCALAR = (kind(TWO, (10, 20, 40), 3.0, promote=True) for kind in (ParetoAsha, Promise, ScalarAsha))


class Sweep:
    """What the pure functions made of checkpoints that came one after the other."""

    def __init__(self, rule) -> None:
        self.rule, self.standings = rule, Standings(rule)
        self.table: list[Observation] = []
        self.paused: dict[str, int] = {}
        self.gone_on: dict[int, int] = {}

    def arrive(self, checkpoint) -> None:
        decision = self.standings.pause_or_go_on(checkpoint, self.paused, self.gone_on)
        if isinstance(decision, Stop):
            return
        self.table += checkpoint
        pure = pause_or_go_on(Table(self.table, self.rule), checkpoint, self.rule, self.paused, self.gone_on)
        assert decision == pure
        if isinstance(decision, Pause):
            self.paused[checkpoint[0].trial] = checkpoint[0].steps
        else:
            self._went_on(checkpoint[0].steps)

    def promote(self):
        """Whom both promote, if anyone."""
        chosen = self.standings.promotion(self.paused, self.gone_on)
        assert chosen == choose(Table(self.table, self.rule), self.rule, self.paused, self.gone_on)
        if chosen is not None:
            assert self.paused.pop(chosen.trial) == chosen.steps
            self._went_on(chosen.steps)
        return chosen

    def _went_on(self, steps: int) -> None:
        self.gone_on[steps] = self.gone_on.get(steps, 0) + 1
        rung = {o.trial for o in self.table if o.steps == steps}
        assert self.gone_on[steps] <= allowed(len(rung), self.rule.eta), "no more than one in eta"


@settings(deadline=None, max_examples=30)
@given(arrivals(most=10), st.sampled_from(RANKED), st.randoms(use_true_random=False))
def test_the_standings_promote_as_the_pure_function_and_never_more_than_the_quota(checkpoints, rule, when):
    """NaN among the scores ends a trial: it is never paused, and so never promoted."""
    sweep = Sweep(rule)
    for checkpoint in checkpoints:
        sweep.arrive(checkpoint)
        while when.random() < 0.5 and sweep.promote():
            pass
    assert sweep.standings.left_behind(sweep.paused) == left_behind(Table(sweep.table, rule), rule, sweep.paused)


rung = st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 2), min_size=1, max_size=20).map(
    lambda points: [observed(f"t{i:04d}", 10, *point) for i, point in enumerate(points)]
)


def promoted_from(table: list[Observation], rule) -> list[str]:
    """One after the other, of a rung at which all are paused."""
    paused, gone_on, ranked = {o.trial: 10 for o in table}, {}, Table(table, rule)
    found = []
    while chosen := choose(ranked, rule, paused, gone_on):
        del paused[chosen.trial]
        gone_on[10] = gone_on.get(10, 0) + 1
        found.append(chosen.trial)
    return found


@settings(deadline=None, max_examples=40)
@given(rung, st.sampled_from([PARETO, PROMISE, SCALAR]), st.randoms(use_true_random=False))
def test_as_many_as_the_quota_whatever_the_order_and_what_dominates_first(table, rule, shuffler: random.Random):
    found = promoted_from(table, rule)
    assert len(found) == allowed(len(table), 3.0)
    assert promoted_from(shuffler.sample(table, len(table)), rule) == found
    place = {trial: found.index(trial) if trial in found else len(table) for trial in (o.trial for o in table)}
    for a in table:
        for b in table:
            if all(a.scores[o.name] > b.scores[o.name] for o in TWO):
                assert place[a.trial] < place[b.trial] or place[b.trial] == len(table)


@settings(deadline=None, max_examples=25)
@given(rung, st.sampled_from([0.5, 2.0, 3.0]))
def test_of_a_chain_the_same_are_promoted_under_a_monotone_rescaling(table, power):
    """Where one dominates the next; in a layer it is volumes that decide, which a rescaling changes."""
    values = sorted({round(o.scores["identity"], 2) for o in table}, reverse=True)
    chain = [observed(f"t{i:04d}", 10, value, value) for i, value in enumerate(values)]
    bent = [observed(o.trial, 10, o.scores["identity"] ** power, o.scores["pose"]) for o in chain]
    for rule in (PARETO, PROMISE, SCALAR):
        assert promoted_from(chain, rule) == promoted_from(bent, rule) == [o.trial for o in chain][: len(chain) // 3]


def test_who_was_second_of_three_goes_on_as_second_of_six_and_the_highest_rung_is_first():
    sweep = Sweep(ParetoAsha(TWO, (10, 20, 40), 3.0, promote=True))
    point = lambda i, steps, value: [observed(f"t{i:04d}", steps, value, value)]  # noqa: E731
    for i, value in enumerate((0.1, 0.9, 0.8)):
        sweep.arrive(point(i, 10, value))
    assert set(sweep.paused) == {"t0000", "t0001", "t0002"}, "the first to arrive has to be in place too"
    assert sweep.promote().trial == "t0001" and sweep.promote() is None
    for i, value in ((3, 0.2), (4, 0.3), (5, 0.4)):
        sweep.arrive(point(i, 10, value))
    for i, value in ((1, 0.9), (6, 0.7), (7, 0.6)):
        sweep.arrive(point(i, 20, value))
    found = [sweep.promote() for _ in range(3)]
    assert [(each.trial, each.steps, each.place, each.of) for each in found[:2]] == [
        ("t0001", 20, 1, 3), ("t0002", 10, 2, 6),
    ]  # fmt: skip
    assert found[2] is None


def promoting(trials: int | Plan, workers: int = 3, **settings) -> Ledger:
    return simulated(trials, workers, promote=True, **settings)[0]


def test_when_nothing_is_left_to_do_one_has_reached_the_end_and_the_paused_are_stopped_with_their_place():
    ledger = promoting(5)
    assert len(ledger.endings) == 5 and not ledger.paused
    assert ledger.statuses["finished"] == 1, "of too few at a rung the best goes on once no more can come"
    stopped = [e for e in ledger.endings.values() if e.status == "stopped"]
    assert all("place" in e.reason and "may go on" in e.reason for e in stopped) and stopped


def test_what_a_budget_leaves_paused_is_promoted_when_there_is_more(tmp_path: Path):
    journal, clock = Journal(tmp_path), Clock()
    first = Plan(12, gpu_seconds=25.0)
    simulate(virtual(SPACE, clock, first, 1, journal=journal, promote=True), task, SPACE, 2, clock)
    held = dict(journal.ledger.paused)
    assert held and len(journal.ledger.proposals) < 12
    assert journal.ledger.statuses["stopped"] == 0, "the budget ended it, and holds them"
    journal.append(Plan(12).event(clock.now))
    state = virtual(SPACE, clock, first, 1, journal=journal, promote=True)
    simulate(state, task, SPACE, 2, clock)
    assert state.over == "finished" and len(journal.ledger.endings) == 12
    assert held.keys() & {trial for trial, _ in journal.ledger.promoted}
    journal.close()


def test_a_worker_without_a_trial_asks_again_after_the_next_result():
    """Three trials for three workers: the two that are through first wait for the third, which makes a promotion."""

    def slow(recipe: Recipe, steps: int, seed: int) -> Rung:
        return Rung(scores(recipe, steps), Cost(train=1.0 + seed % 7))

    assert len(promoting(3, 3, work=slow).endings) == 3


def test_a_journal_with_pauses_and_promotions_is_read_as_it_was_written(tmp_path: Path):
    journal, clock = Journal(tmp_path), Clock()
    simulate(virtual(SPACE, clock, 8, 1, journal=journal, promote=True), task, SPACE, 2, clock)
    journal.close()
    again = read(tmp_path)
    assert again.promoted and again.promoted == journal.ledger.promoted and again.gone_on == journal.ledger.gone_on
    assert what_happened(again) == what_happened(journal.ledger)
    assert any(isinstance(event.decision, Pause) for event in again.observed.values())
    trial, steps = next(iter(again.promoted))
    assert isinstance(again.observed[trial, steps].decision, Pause) and isinstance(
        again.decision(trial, steps), Continue
    )
    with pytest.raises(ValueError, match="not paused"):
        again.add(Promoted(0.0, trial, steps, 1, 2))


def test_what_a_person_sees_of_it():
    written, clock = StringIO(), Clock()
    console = Console(width=200, file=written)
    plain, live = PlainLines(console, SPACE, 9), LiveTable(console, SPACE, 9)

    def told(event) -> None:
        plain.event(event, state.ledger)
        live.event(event, state.ledger)
        counts.append(live._progress)

    counts, state = [], virtual(SPACE, clock, 9, 1, notify=told, promote=True)
    simulate(state, task, SPACE, 3, clock)
    text = written.getvalue()
    trial, steps = next(iter(state.ledger.promoted))
    assert f"{trial} is promoted, from {steps} steps (" in text and "; is paused (" in text
    assert "hypervolume" in text and " may go on" in text.rpartition(" stopped (")[2], "and why it is left behind"
    assert all(c.running + c.paused + c.ended <= 9 and c.running <= 3 for c in counts)
    assert max(c.paused for c in counts) > 0 == counts[-1].paused and counts[-1].ended == 9


@pytest.mark.slow
def test_with_one_worker_ray_promotes_as_the_simulator(tmp_path):
    sweep = small_sweep(
        tmp_path, trials=9, seconds=0.0, workers=1, seed=1, promote=True, scheduler="asha-pareto", sampler="tpe"
    )
    assert run(sweep, lines(tmp_path / "out.txt", 9), Curves).status == "finished"
    ledger = read(tmp_path / "small")
    assert ledger.promoted and what_happened(ledger) == what_happened(promoting(9, 1))


@pytest.mark.slow
def test_with_three_workers_ray_waits_for_promotions_and_ends(tmp_path):
    sweep = small_sweep(tmp_path, trials=12, seconds=0.3, workers=3, seed=1, promote=True, sampler="random")
    assert run(sweep, lines(tmp_path / "out.txt", 12), Curves).status == "finished"
    ledger = read(tmp_path / "small")
    assert ledger.promoted and len(ledger.endings) == 12 and not ledger.paused
