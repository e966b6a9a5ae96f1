"""MLflow down, slow, answering 500, its database locked: the sweep goes on, and nothing is missing afterwards."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analysis.observations import from_mlflow
from search import sweep
from search.config import SweepConfig
from search.journal import read
from search.recording import recorder
from spaces import InputError, Observation
from tests.search.curves import Curves
from tests.search.examples import small_sweep
from tests.search.faulty_proxy import FaultyProxy, free_port, mlflow_server
from tests.search.inprocess import Lines, without_ray
from tests.search.sameness import assert_as_undisturbed, assert_nothing_is_lost


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real MLflow server."""
    port = free_port()
    with mlflow_server(tmp_path_factory.mktemp("server"), port):
        yield port


@pytest.fixture
def proxy(server: int) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(server)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        config = small_sweep(home)
        sweep.run(config, Lines(config), Curves)
    return config.folder


def behind(proxy: FaultyProxy, home: Path) -> SweepConfig:
    """A sweep of its own name, since all tests write to one server."""
    config = small_sweep(home, tracking_uri=proxy.uri)
    folder = home / home.name
    return config.model_copy(update={"name": home.name, "job": config.job.model_copy(update={"folder": str(folder)})})


def direct(proxy: FaultyProxy) -> str:
    return f"http://127.0.0.1:{proxy.target}"


def recorded(proxy: FaultyProxy, config: SweepConfig) -> list[Observation]:
    return from_mlflow(direct(proxy), config.name)


def wait_for(ready: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.1)


@pytest.mark.parametrize(
    "fault", ["down", *(pytest.param(f, marks=pytest.mark.slow) for f in ("errors", "some errors", "lost", "slow"))]
)
def test_an_outage_in_mid_sweep_costs_nothing(proxy, undisturbed, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(recorder, "TELL_AFTER", 0.5)
    config = behind(proxy, tmp_path)
    lines, timers = Lines(config), []

    def mend() -> None:
        proxy.mode = "pass"
        if fault == "down":
            proxy.up()

    def before(trial: str, rungs: int) -> None:
        if (trial, rungs) == ("t0002", 1):
            if fault == "down":
                proxy.down()
            else:
                proxy.mode, proxy.delay = fault, 0.5
            timers.append(threading.Timer(4.0, mend))
            timers[0].start()

    without_ray(monkeypatch, before)
    outcome = sweep.run(config, lines, Curves)
    timers[0].join()
    assert outcome.status == "finished" and outcome.missing is None
    assert_nothing_is_lost(config.folder, direct(proxy))
    assert_as_undisturbed(config.folder, undisturbed)
    if fault in ("down", "errors"):
        assert f"MLflow {'does not answer' if fault == 'down' else 'answers 500'}; the sweep goes on" in lines.text
        assert "MLflow answers again after" in lines.text
    assert lines.text.count("record: ") <= 4, lines.text


@pytest.mark.parametrize("fault", ["down", pytest.param("mute", marks=pytest.mark.slow)])
def test_a_sweeps_end_waits_a_while_and_says_what_is_missing(proxy, undisturbed, tmp_path, monkeypatch, fault):
    config = behind(proxy, tmp_path)
    lines = Lines(config)

    def before(trial: str, rungs: int) -> None:
        if (trial, rungs) == ("t0004", 0):
            wait_for(lambda: len(recorded(proxy, config)) >= 3)
            proxy.down() if fault == "down" else setattr(proxy, "mode", fault)

    with monkeypatch.context() as patch:
        patch.setattr(recorder, "END_PATIENCE", 2.0)
        without_ray(patch, before)
        began = time.monotonic()
        outcome = sweep.run(config, lines, Curves)
        assert time.monotonic() - began < 30
        if fault == "down":  # a resumed sweep does not mind either
            assert sweep.resume(config, Lines(config), Curves).missing is not None
    scored = len(read(config.folder).observed)
    assert outcome.status == "finished" and 0 < outcome.missing.checkpoints < outcome.missing.scored == scored
    words = "does not answer" if fault == "down" else "does not answer in time"
    assert str(outcome.missing).startswith(f"MLflow lacks {outcome.missing.checkpoints} of {scored} scored checkpoints")
    assert fault == "mute" or words in str(outcome.missing)
    if fault == "down":
        proxy.up()
    proxy.mode = "pass"
    assert sweep.resume(config, Lines(config), Curves).missing is None
    assert_nothing_is_lost(config.folder, direct(proxy))
    assert_as_undisturbed(config.folder, undisturbed)


def test_a_server_that_answers_nonsense_is_one_line_before_anything_starts(proxy, tmp_path):
    proxy.mode = "errors"
    config = behind(proxy, tmp_path)
    with pytest.raises(InputError, match=f"--tracking-uri: {proxy.uri} answers 500"):
        sweep.run(config, Lines(config), Curves)
    assert not config.folder.exists()


def test_a_database_that_another_process_holds_is_waited_for(undisturbed, tracking_uri, tmp_path, monkeypatch):
    config = small_sweep(tmp_path)
    lines, holder = Lines(config), sqlite3.connect(tmp_path / "mlflow.db", check_same_thread=False)
    timer = threading.Timer(3.0, holder.rollback)

    def before(trial: str, rungs: int) -> None:
        if (trial, rungs) == ("t0002", 1):
            holder.execute("BEGIN EXCLUSIVE")
            timer.start()

    without_ray(monkeypatch, before)
    outcome = sweep.run(config, lines, Curves)
    timer.join()
    holder.close()
    assert outcome.missing is None
    assert_nothing_is_lost(config.folder, tracking_uri)
    assert_as_undisturbed(config.folder, undisturbed)


def test_a_run_that_is_gone_is_written_anew(undisturbed, fresh_database, tracking_uri, tmp_path, monkeypatch):
    config = small_sweep(tmp_path)
    without_ray(monkeypatch)
    sweep.run(config, Lines(config), Curves)
    shutil.copyfile(fresh_database, tmp_path / "another.db")
    config = config.model_copy(update={"tracking_uri": f"sqlite:///{tmp_path}/another.db"})
    lines = Lines(config)
    assert sweep.resume(config, lines, Curves).missing is None
    assert "all is written anew" in lines.text
    assert_nothing_is_lost(config.folder, config.tracking_uri)
    assert_as_undisturbed(config.folder, undisturbed)
