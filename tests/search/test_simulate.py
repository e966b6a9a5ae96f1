"""A simulated sweep is the sweep that would have been, and its clock adds up."""

import math
from pathlib import Path

import pytest

from search.journal import Journal, Ledger, read
from search.simulate import Charges, Clock, Rung, simulate, virtual
from search.sweep import run
from spaces import Cost, Recipe
from tests.search.curves import Curves, scores
from tests.search.examples import small_space, small_sweep
from tests.search.test_state import Desk
from tests.search.test_sweep import lines

SPACE = small_space()


def task(recipe: Recipe, steps: int, seed: int) -> Rung:
    """A second for each ten steps, and more with the rank."""
    return Rung(scores(recipe, steps), Cost(train=steps / 10 * (1 + recipe.rank / 64), score=2.0))


def flat(recipe: Recipe, steps: int, seed: int) -> Rung:
    return Rung(scores(recipe, steps), Cost(train=10.0))


def simulated(trials: int, workers: int, work=task, ahead: bool = False, **settings) -> tuple[Ledger, float]:
    clock = Clock()
    chosen = {"scheduler": settings.pop("scheduler", "asha-pareto"), "promote": settings.pop("promote", False)}
    state = virtual(SPACE, clock, trials, seed=1, **chosen)
    if ahead:
        state.look_ahead()
    return state.ledger, simulate(state, work, SPACE, workers, clock, **settings)


def what_happened(ledger: Ledger) -> tuple:
    recipes = {trial: (event.recipe, event.seed) for trial, event in ledger.proposals.items()}
    observed = [(key, event.decision, event.main.scores) for key, event in ledger.observed.items()]
    return recipes, observed, [(e.trial, e.status, e.reason, e.steps) for e in ledger.endings.values()]


def test_with_one_worker_it_is_the_sweep_that_works_off_one_trial_after_the_other(tmp_path):
    desk = Desk(tmp_path, trials=14)
    desk.work_off()
    ledger, _ = simulated(14, 1)
    assert what_happened(ledger) == what_happened(desk.state.ledger)


@pytest.mark.slow
def test_with_one_worker_it_is_the_sweep_that_ray_runs(tmp_path):
    sweep = small_sweep(tmp_path, trials=11, seconds=0.0, workers=1, seed=1)
    assert run(sweep, lines(tmp_path / "out.txt", 11), Curves).status == "finished"
    assert what_happened(simulated(11, 1)[0]) == what_happened(read(tmp_path / "small"))


@pytest.mark.parametrize("promote", [False, True])
@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("workers", [1, 5])
def test_the_same_numbers_give_the_same_sweep(workers, ahead, promote):
    (first, seconds), (second, again) = (simulated(16, workers, ahead=ahead, promote=promote) for _ in range(2))
    assert what_happened(first) == what_happened(second) and seconds == again
    assert [e.time for e in first.observed.values()] == [e.time for e in second.observed.values()]


def test_workers_share_the_work():
    (_, alone), (_, four) = (simulated(12, workers, flat, scheduler="none") for workers in (1, 4))
    assert alone == 12 * 3 * 10 and four == alone / 4


def test_what_is_charged_is_spent():
    charges = Charges(checkpoint=1.0, report=0.5, suggestion=0.25)
    _, seconds = simulated(4, 1, flat, charges=charges, scheduler="none")
    assert seconds == pytest.approx(4 * (0.25 + 3 * (10 + 1.0 + 0.5)))


def test_many_workers_wait_for_one_driver():
    _, seconds = simulated(50, 50, flat, charges=Charges(suggestion=1.0), scheduler="none")
    assert seconds == pytest.approx(50 * 1.0 + 3 * 10)  # the last proposal's trial ends last


def test_a_score_that_is_no_number_fails_its_trial_and_no_other():
    def broken(recipe: Recipe, steps: int, seed: int) -> Rung:
        rung = task(recipe, steps, seed)
        return Rung({"identity": math.nan, "pose": 0.5}, rung.cost) if recipe.text_encoder == "lora" else rung

    ledger, _ = simulated(12, 3, broken)
    failed = {trial for trial, event in ledger.endings.items() if event.status == "failed"}
    assert failed == {trial for trial, event in ledger.proposals.items() if event.recipe.text_encoder == "lora"}
    assert failed and len(ledger.endings) == 12 and len(failed) < 12


@pytest.mark.parametrize("until", [0.0, 5.0, 60.0, 90.0])
def test_one_that_was_broken_off_goes_on_to_the_same_end(tmp_path: Path, until: float):
    whole, seconds = simulated(10, 1)
    journal, clock = Journal(tmp_path), Clock()
    broken = simulate(virtual(SPACE, clock, 10, seed=1, journal=journal), task, SPACE, 1, clock, until=until)
    journal.close()
    assert broken <= until < seconds and len(read(tmp_path).endings) < 10
    journal, clock = Journal(tmp_path), Clock(broken)
    simulate(virtual(SPACE, clock, 10, seed=1, journal=journal), task, SPACE, 1, clock)
    journal.close()
    assert what_happened(read(tmp_path)) == what_happened(whole)


def test_of_thousands_of_trials_on_hundreds_of_workers_each_ends():
    clock = Clock()
    state = virtual(SPACE, clock, 2000, sampler="random")
    seconds = simulate(state, task, SPACE, 500, clock)
    assert len(state.ledger.endings) == 2000 and 0 < seconds < 2000
    assert state.ledger.scored == 2000
