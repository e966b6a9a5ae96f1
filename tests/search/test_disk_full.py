"""A full disk stops the sweep with one line and half of nothing; once there is space it goes on as if undisturbed."""

import json
import multiprocessing
import resource
import shutil
from pathlib import Path

import pytest

from search import sweep
from search.config import SweepConfig
from search.journal import Journal, Opened, events, read
from spaces import InputError
from tests.search.curves import Curves
from tests.search.examples import small_sweep
from tests.search.inprocess import Lines, without_ray
from tests.search.sameness import assert_as_undisturbed, assert_nothing_is_lost
from tests.search.small_disk import Disk, disk  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, fresh_database: Path) -> Path:
    home = tmp_path_factory.mktemp("undisturbed")
    shutil.copyfile(fresh_database, home / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        config = small_sweep(home)
        sweep.run(config, Lines(config), Curves)
    return config.folder


@pytest.fixture
def config(disk: Disk, tracking_uri: str, tmp_path: Path) -> SweepConfig:  # noqa: F811
    """Of a sweep on the small disk, its record elsewhere."""
    return small_sweep(disk.folder, tracking_uri=tracking_uri, artifacts=str(tmp_path / "artifacts"))


@pytest.mark.parametrize("place", ["trial", "journal"])
def test_a_full_disk_stops_the_sweep_and_costs_nothing(config, disk, undisturbed, tmp_path, monkeypatch, place):  # noqa: F811
    def before(trial: str, rungs: int) -> None:
        if (trial, rungs) == ("t0001", 0) and place == "journal":  # only that is then on the small disk
            (tmp_path / "trials").mkdir()
            (config.folder / "trials").symlink_to(tmp_path / "trials")
        if (trial, rungs) == ("t0002", 1):
            disk.fill()

    with monkeypatch.context() as patch:
        without_ray(patch, before)
        outcome = sweep.run(config, Lines(config), Curves)
    assert outcome.status == "interrupted" and "No space left on device" in outcome.halted
    assert ("journal.jsonl cannot be written" in outcome.halted) == (place == "journal")
    for path in [config.folder / "journal.jsonl", *config.folder.rglob("observation.json")]:
        for line in path.read_text().splitlines():
            json.loads(line)  # no half of one
    assert not read(config.folder).statuses["failed"]

    without_ray(monkeypatch)
    try:
        again = str(sweep.resume(config, Lines(config), Curves).halted)
    except InputError as error:
        again = str(error)
    assert "No space left on device" in again

    disk.free()
    outcome = sweep.resume(config, Lines(config), Curves)
    assert (outcome.status, outcome.missing, outcome.halted) == ("finished", None, None)
    assert_nothing_is_lost(config.folder, config.tracking_uri)
    assert_as_undisturbed(config.folder, undisturbed)


def test_mlflows_full_disk_does_not_stop_the_sweep(disk, undisturbed, fresh_database, tmp_path, monkeypatch):  # noqa: F811
    shutil.copyfile(fresh_database, disk.folder / "mlflow.db")
    config = small_sweep(tmp_path, tracking_uri=f"sqlite:///{disk.folder}/mlflow.db", artifacts=str(disk.folder / "a"))
    with monkeypatch.context() as patch:
        patch.setattr("search.recording.recorder.END_PATIENCE", 2.0)
        without_ray(patch, lambda trial, rungs: disk.fill() if (trial, rungs) == ("t0002", 1) else None)
        outcome = sweep.run(config, Lines(config), Curves)
    assert outcome.status == "finished" and outcome.halted is None
    assert outcome.missing.checkpoints > 0 and "it has no space left on its disk" in str(outcome.missing)
    disk.free()
    assert sweep.resume(config, Lines(config), Curves).missing is None
    assert_nothing_is_lost(config.folder, config.tracking_uri)
    assert_as_undisturbed(config.folder, undisturbed)


def test_a_sweep_that_has_no_room_to_begin_leaves_nothing(config, disk, monkeypatch):  # noqa: F811
    disk.fill()
    with pytest.raises(InputError, match=r"--home: .* cannot be written"):
        sweep.run(config, Lines(config), Curves)
    assert not config.folder.exists()


def _append_until_refused(folder: Path) -> str:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    journal = Journal(folder)
    try:
        for second in range(1000):
            journal.append(Opened(float(second)))
    except OSError as error:
        assert len(journal.path.read_bytes()) <= 1000
        return f"{error.strerror}, {len(events(folder))} events, the last at {journal.ledger._last:g}"
    return "never"


def test_half_a_line_is_taken_back_at_any_users(tmp_path):
    """A limit on the size of files needs no root: the write that crosses it is cut short, as on a full disk."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        told = pool.apply(_append_until_refused, (tmp_path,))
    count = len(events(tmp_path))
    assert told == f"File too large, {count} events, the last at {count - 1}" and count > 10
    assert (tmp_path / "journal.jsonl").read_bytes().endswith(b"\n")
