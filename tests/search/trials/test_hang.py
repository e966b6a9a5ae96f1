"""A trial that hangs, be it in C code that hears nothing, is stopped from outside, tried again, and fails at last."""

from pathlib import Path

import pytest

from search.journal import read
from search.sweep import run
from search.trials.watchdog import Watchdog
from tests.search.curves import Curves
from tests.search.examples import small_sweep
from tests.search.inprocess import Lines, without_ray
from tests.search.sameness import assert_as_undisturbed, assert_nothing_is_lost


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_who_gives_no_sign_of_life_hangs():
    clock = Clock()
    dog = Watchdog(10.0, clock)
    for trial in ("beats", "silent", "repeats", "scores", "ends"):
        dog.started(trial)
    for second in range(1, 11):
        clock.now = float(second)
        dog.beat("beats", second // 5)
        dog.beat("silent", None)
        dog.beat("repeats", "the same")
        dog.beat("unknown", second)
        if second == 5:
            dog.started("scores")
    dog.over("ends")
    assert dog.hanging() == ["silent"], "the first beat of a trial is a sign, the same again is none"
    clock.now = 11.0
    assert dog.hanging() == ["silent", "repeats"]
    assert set(dog.trials) == {"beats", "silent", "repeats", "scores"}


def test_without_a_limit_nothing_hangs():
    clock = Clock()
    dog = Watchdog(0.0, clock)
    dog.started("t0001")
    clock.now = 1e9
    assert dog.hanging() == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        config = small_sweep(home, trials=4)
        run(config, Lines(config), Curves)
    return config.folder


def test_a_trial_that_hangs_once_goes_on_as_if_undisturbed(undisturbed, tracking_uri, tmp_path):
    config = small_sweep(tmp_path, trials=4, workers=1, hang_minutes=8 / 60)
    (tmp_path / "cache" / "t0001.hang-once").touch()
    lines = Lines(config)
    outcome = run(config, lines, Curves)
    assert outcome.status == "finished" and outcome.missing is None
    assert "t0001 made no progress for 8 s; its process is stopped" in lines.text
    assert not read(config.folder).statuses["failed"]
    assert_nothing_is_lost(config.folder, tracking_uri)
    assert_as_undisturbed(config.folder, undisturbed)


@pytest.mark.slow
def test_a_trial_that_always_hangs_fails_with_its_reason_and_the_others_go_on(tracking_uri, tmp_path):
    config = small_sweep(tmp_path, trials=4, scheduler="none", hang_minutes=8 / 60, max_failures=1)
    (tmp_path / "cache" / "t0001.hang").touch()
    outcome = run(config, Lines(config), Curves)
    ending = read(config.folder).endings["t0001"]
    assert outcome.status == "finished" and ending.status == "failed" and ending.steps == 10
    assert ending.reason == ("it hung 2 times without a new checkpoint: no progress for 8 s, its process was stopped")
    assert read(config.folder).statuses["failed"] == 1
    assert_nothing_is_lost(config.folder, tracking_uri)
