"""A forecast is made of what was measured, and says how far that goes."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search import cli
from search.budget import Plan
from search.forecast import Forecast, Measured, charges_in, of_sweeps, of_table
from search.journal import Ended, Journal, Observed, Opened, Proposed
from search.rungs import Continue
from search.simulate import Charges, Clock, simulate, virtual
from spaces import Cost, InputError, Recipe
from tests.search.curves import scores
from tests.search.examples import TEXT, observed, small_space, small_sweep
from tests.search.test_simulate import task

SPACE = small_space()
CHARGES = Charges(checkpoint=0.5, suggestion=0.25)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Has a sweep of closed forms that took virtual time, with charges."""
    home = tmp_path_factory.mktemp("home")
    sweep = small_sweep(home, trials=20)
    sweep.save()
    journal, clock = Journal(sweep.folder), Clock()
    state = virtual(SPACE, clock, 20, seed=2, sampler="random", scheduler="none", journal=journal)
    simulate(state, task, SPACE, 2, clock, CHARGES)
    journal.close()
    return home


@pytest.fixture(scope="module")
def measured(home) -> Measured:
    return of_sweeps(home, ["small"], SPACE)


def test_what_a_sweep_charged_is_read_from_its_journal(measured):
    assert measured.charges.checkpoint == pytest.approx(CHARGES.checkpoint)
    assert measured.charges.suggestion == pytest.approx(CHARGES.suggestion)
    assert "60 checkpoints of 20 trials of small" in measured.in_words
    cost = Cost(train=2.0)
    first = observed("t0001", 10, 0.5, 0.5)
    events = [
        Opened(0.0), Proposed(1.0, "t0001", Recipe(), {}, 1),
        Observed(3.5, (type(first)(**vars(first) | {"cost": cost}),), Continue(1, 1), "f"),
        Ended(3.5, "t0001", "stopped", "", 10), Proposed(3.75, "t0002", Recipe(), {}, 1),
    ]  # fmt: skip
    assert charges_in(events) == Charges(checkpoint=0.5, suggestion=0.25) and charges_in([]) == Charges()


def test_the_surrogate_knows_closed_forms_that_it_has_not_seen(measured):
    forecast, generator = Forecast(SPACE, measured), np.random.default_rng(9)
    points = [SPACE.sample(generator) for _ in range(30)]
    recipes = [SPACE.recipe(point) for point in points]
    true = np.array([[[scores(r, s)[name] for name in measured.names] for s in SPACE.rungs] for r in recipes])
    guessed = forecast._surrogate.mean(points, SPACE.rungs)
    assert 1 - np.mean((guessed - true) ** 2) / np.var(true) > 0.8
    seconds = np.array([[task(r, s, 0).cost.train for s in SPACE.rungs] for r in recipes])
    guess = forecast._surrogate.training(points, SPACE.rungs)
    assert 1 - np.mean((guess - seconds) ** 2) / np.var(seconds) > 0.9 and forecast._surrogate.scoring == 2.0
    assert all(error.explained > 0.5 for error in forecast.errors().values())


def test_one_sweep_is_accounted_for_to_the_last_second(measured):
    seen = Forecast(SPACE, measured).run(Plan(None, seconds=120.0), 4, 1, "random", "asha-pareto")
    assert seen.seconds >= 120.0 and seen.trials == sum(seen.ended.values()) > 10
    assert sum(seen.spent.values()) == pytest.approx(1.0) and seen.spent["training"] > 0.3
    assert list(seen.volumes) == sorted(seen.volumes) and 0 < seen.volumes[-1] < 1 and 0 < seen.worth < 1


def test_twice_as_fast_devices_take_half_the_time(measured):
    free = Measured(measured.scored, measured.names, Charges(), "")
    plain, fast = (Forecast(SPACE, free, s).run(Plan(12), 1, 1, "random", "none") for s in (1.0, 2.0))
    assert plain.seconds == pytest.approx(2 * fast.seconds) and plain.volumes[-1] == fast.volumes[-1]


def test_a_table_says_the_same_as_the_sweep_that_it_is_made_of(home, measured, tmp_path):
    frame = table_of(home)
    frame.to_parquet(tmp_path / "table.parquet")
    again = of_table(tmp_path / "table.parquet", SPACE)
    by = lambda made: sorted(  # noqa: E731
        (step, *score, pace, second)
        for step, score, pace, second in zip(
            made.scored.steps, made.scored.scores.tolist(), made.scored.training, made.scored.scoring, strict=True
        )
    )
    np.testing.assert_allclose(by(again), by(measured))
    assert sorted(map(str, again.scored.values)) == sorted(map(str, measured.scored.values))


def table_of(home: Path) -> pd.DataFrame:
    from search.journal import read

    ledger = read(home / "small")
    return pd.DataFrame(
        {"recipe": int(o.trial[1:]), "seed": 0, "steps": o.steps}
        | {f"field.{name}": value for name, value in ledger.proposals[o.trial].values.items()}
        | {f"score.{name}": o.scores[name] for name in ("identity", "pose")}
        | {"seconds.train": o.cost.train, "seconds.score": o.cost.score}
        for o in ledger.table
    )


def test_the_command_fits_a_narrow_terminal_and_says_what_it_knows(home, tmp_path, monkeypatch, capsys):
    space = tmp_path / "narrow.yaml"
    space.write_text(TEXT)
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["simulate", str(space), "--workers", "4", "--hours", "0.02", "--from", "small", "--seeds", "2"]
    monkeypatch.setattr("sys.argv", ["posefront", *arguments, "--sampler", "random", "--home", str(home)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().out
    assert ended.value.code == 0 and max(map(len, said.splitlines())) <= 80
    for part in ("narrow, 72 s by the clock, 4 workers", "explained", "hypervolume, as scored", "held by the budget"):
        assert part in said
    assert math.isfinite(float(said.split("as scored")[1].split()[0]))


@pytest.mark.parametrize(
    "change, said",
    [
        ("rank: {low: 100, high: 128}", "--from: 0 runs with recipes of the space s, and 20 of others: it should be 8"),
        (None, "--from: t0001@10 of small lacks a score of identity, prompt: nothing can be said of that"),
    ],
)
def test_what_says_nothing_of_a_space_is_refused(home, change, said):
    from spaces import parse_space

    other = TEXT.replace("rank: {low: 2, high: 64, log: true}", change or "", 1)
    text = TEXT + "objectives: [identity, prompt]\n" if change is None else other
    with pytest.raises(InputError) as error:
        of_sweeps(home, ["small"], parse_space(text, "s"))
    assert str(error.value).startswith(said)
