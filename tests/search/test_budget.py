"""A budget ends a sweep in order and wastes nothing; a sweep that is given more goes on as if it had had it."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.observations import from_mlflow
from search import config as configs
from search.budget import HOUR, Meter, More, Plan, gpu_share, span
from search.journal import Journal, Ledger, Opened, Planned, events, read
from search.rungs import Continue
from search.simulate import Clock, simulate, virtual
from search.sweep import resume, run
from search.views import show
from search.views.status import status_of
from spaces import Cost, InputError
from tests.search.curves import Curves
from tests.search.examples import small_space, small_sweep
from tests.search.inprocess import Lines, without_ray
from tests.search.test_simulate import flat, task, what_happened

SPACE = small_space()


def swept(folder: Path, plans: list[Plan], workers: int = 1, work=task, ahead: bool = False, sampler="tpe") -> Ledger:
    """A sweep with the first plan, that is given each other once it is over."""
    folder.mkdir()
    clock = Clock()
    for number, plan in enumerate(plans):
        journal = Journal(folder)
        if number:
            journal.append(Opened(clock.now))
            journal.append(plan.event(clock.now))
        state = virtual(SPACE, clock, plans[0], seed=1, journal=journal, sampler=sampler)
        if ahead:
            state.look_ahead()
        clock.now = simulate(state, work, SPACE, workers, clock)
        assert state.done and state.left == 0 and state.next_trial() is None
        journal.close()
    return read(folder)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("first", [Plan(5), Plan(20, gpu_seconds=40.0), Plan(None, seconds=61.0), Plan(3, 9.0, 9.0)])
def test_a_sweep_that_is_given_more_is_the_sweep_that_had_it_from_the_start(tmp_path, first, ahead):
    """One trial at a time: with several, who waits for the extension is not who would have gone on."""
    whole = swept(tmp_path / "whole", [Plan(14)], ahead=ahead)
    extended = swept(tmp_path / "extended", [first, Plan(14)], ahead=ahead)
    assert what_happened(extended) == what_happened(whole) and len(whole.endings) == 14


@settings(max_examples=25, deadline=None)
@given(budget=st.floats(1.0, 200.0), workers=st.integers(1, 6), by_clock=st.booleans())
def test_a_budget_is_spent_and_passed_by_no_more_than_a_rung_of_each_worker(
    tmp_path_factory, budget, workers, by_clock
):
    plan = Plan(None, seconds=budget) if by_clock else Plan(None, gpu_seconds=budget)
    ledger = swept(tmp_path_factory.mktemp("sweep") / "a", [plan], workers, flat, sampler="random")
    meter, rung = Meter(plan), 10.0
    used = ledger.seconds if by_clock else meter.gpu_seconds(ledger)
    assert budget <= used < budget + rung * (1 if by_clock else workers)
    assert meter.over(ledger) == "finished: budget spent" and meter.share(ledger) == 1.0
    for event in ledger.unfinished:  # scored at the rung it was on its way to, and to go on from there
        last = ledger.observed[event.trial, ledger.reached(event.trial)]
        assert isinstance(last.decision, Continue)
    assert sum(o.cost.total for o in ledger.table) == meter.gpu_seconds(ledger) == 10.0 * len(ledger.table)


def test_trials_that_a_budget_holds_go_on_first_when_there_is_more(tmp_path):
    plan = Plan(None, gpu_seconds=35.0)
    held = swept(tmp_path / "a", [plan], workers=4, work=flat, sampler="random").unfinished
    more = swept(tmp_path / "b", [plan, Plan(None, gpu_seconds=120.0)], workers=4, work=flat, sampler="random")
    assert held and {event.trial for event in held} <= more.endings.keys() | {e.trial for e in more.unfinished}
    assert all(more.reached(event.trial) > 10 for event in held)


def test_what_of_a_gpu_counts():
    cost = Cost(train=10.0, peak_memory=6, card_memory=24)
    assert [gpu_share(cost, gpus) for gpus in (0.0, 0.5, 2.0, "auto")] == [1.0, 0.5, 2.0, 0.25]
    assert gpu_share(Cost(train=10.0), "auto") == 1.0


@pytest.mark.parametrize(
    "more, before, right",
    [
        (More(trials="+20"), Plan(40), Plan(60)),
        (More(trials="60"), Plan(40, 5.0), Plan(60, 5.0)),
        (More(trials="60"), Plan(None, 5.0), Plan(60, 5.0)),
        (More(gpu_hours="+1", hours="2.5"), Plan(40, HOUR), Plan(40, 2 * HOUR, 2.5 * HOUR)),
        (More(trials="+x"), Plan(40), "--trials: '+x' should be a number above 0: +20 is 20 more, 60 is 60 in all"),
        (More(trials="+0.5"), Plan(40), "--trials: '+0.5' should be a whole number, such as +20 or 60"),
        (More(hours="-1"), Plan(40), "--hours: '-1' should be a number above 0: +20 is 20 more, 60 is 60 in all"),
        (More(hours="+1"), Plan(40), "--hours: '+1': the sweep has no such bound to add to; give the number in all"),
        (More(trials="2"), Plan(40), "--trials: 2 should be at least 3: so many trials were begun already"),
    ],
)
def test_more_is_added_or_given_in_all(tmp_path, more, before, right):
    ledger = swept(tmp_path / "a", [Plan(3)])
    if isinstance(right, Plan):
        assert more.plan(before, ledger) == right
    else:
        with pytest.raises(InputError) as error:
            more.plan(before, ledger)
        assert str(error.value) == right


@pytest.mark.parametrize("value", [0, -1.0, math.nan, "much"])
def test_a_journals_bounds_are_numbers_above_zero(tmp_path, value):
    journal = Journal(tmp_path)
    journal.append(Planned(1.0, 3, None, None))
    journal.close()
    path = tmp_path / "journal.jsonl"
    assert read(tmp_path).planned == Planned(1.0, 3, None, None)
    path.write_text(path.read_text().replace('"gpu_seconds": null', f'"gpu_seconds": {value!r}'.replace("'", '"')))
    with pytest.raises(InputError, match="line 1"):
        read(tmp_path)


def test_words_say_what_is_counted_and_what_would_let_it_go_on(tmp_path):
    ledger = swept(tmp_path / "a", [Plan(None, gpu_seconds=35.0, seconds=1e4)])
    of = {gpus: Meter(Plan(None, 35.0, 1e4), gpus).in_words(ledger).split(", ")[0] for gpus in (0.0, 1.0, "auto")}
    words = of[0.0].removesuffix(" of workers")
    assert of == {0.0: f"{words} of workers", 1.0: f"{words} of GPUs", "auto": f"{words} of workers"}
    assert Meter(Plan(None, 35.0, 1e4)).more(ledger) == "--gpu-hours +1"
    assert Meter(Plan(None, None, 10.0)).more(ledger) == "--hours +1"


def test_lengths_of_time_read_well():
    assert [span(s) for s in (0.5, 100, 300, 5400, 12345, 360000)] == [
        "0.5 s", "100 s", "5 min", "90 min", "3.429 h", "100 h",
    ]  # fmt: skip


def test_status_show_and_mlflow_say_that_the_budget_is_spent_and_the_run_goes_on(tmp_path, monkeypatch, tracking_uri):
    without_ray(monkeypatch)
    # Two rungs of the first trial spend it, or one where the machine is slow: it is held before its last.
    sweep = small_sweep(tmp_path, trials=None, seconds=0.02, gpu_hours=0.03 / HOUR)
    told = Lines(sweep)
    outcome = run(sweep, told, Curves)
    assert (outcome.status, outcome.over) == ("finished", "finished: budget spent")
    found, ledger = show.find(tmp_path, "small"), read(tmp_path / "small")
    assert found.status == status_of(tmp_path, "small").state == "finished: budget spent"
    assert "of workers" in status_of(tmp_path, "small").spent and "budget spent (" in told.text
    uri = tracking_uri
    first, run_id = from_mlflow(uri, "small"), ledger.parent_run_id
    assert len(first) == len(ledger.table) and ledger.unfinished
    trials = ["FINISHED"] * len(ledger.endings) + ["SCHEDULED"] * len(ledger.unfinished)
    assert states(uri, run_id) == ("FINISHED", "finished: budget spent", trials)
    assert resume(configs.load(tmp_path, "small"), Lines(sweep), Curves).over == "finished: budget spent"
    assert read(tmp_path / "small").table == ledger.table, "without more there is nothing to do"
    again = resume(configs.load(tmp_path, "small"), Lines(sweep), Curves, more=More("6", hours="1", gpu_hours="1"))
    after = read(tmp_path / "small")
    assert again.over == "finished" and len(after.endings) == 6 and after.parent_run_id == run_id
    assert len(from_mlflow(uri, "small")) == len(after.table) > len(first)
    assert states(uri, run_id) == ("FINISHED", "finished", ["FINISHED"] * 6)
    assert any(isinstance(event, Planned) for event in events(tmp_path / "small"))


def states(uri: str, run_id: str) -> tuple[str, str, list[str]]:
    """The sweep's run: MLflow's status, ours, and MLflow's of its trials."""
    from mlflow import MlflowClient

    from analysis.observations import child_runs

    client = MlflowClient(uri)
    parent = client.get_run(run_id)
    return parent.info.status, parent.data.tags["status"], sorted(r.info.status for r in child_runs(client, parent))
