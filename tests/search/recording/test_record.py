"""The journal is the record: MLflow's can be written from it, and is, when its database is damaged or gone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from search import sweep
from search.config import SweepConfig
from search.journal import Journal, Observed, events
from tests.search.curves import Curves
from tests.search.examples import small_sweep
from tests.search.inprocess import Lines, without_ray
from tests.search.sameness import assert_nothing_is_lost


@pytest.fixture
def swept(tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepConfig:
    """A finished sweep of three trials."""
    config = small_sweep(tmp_path, trials=3)
    without_ray(monkeypatch)
    assert sweep.run(config, Lines(config), Curves).missing is None
    return config


def posefront(*arguments: object) -> tuple[int, str]:
    """In a process of its own, as MLflow holds on to a database that it once opened."""
    command = [sys.executable, "-m", "search", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}, timeout=200)
    return done.returncode, done.stdout + done.stderr


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "truncated":
        data = data[: len(data) * 2 // 3]
    elif how == "overwritten":
        data[:200] = b"x" * 200
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["truncated", pytest.param("overwritten", marks=pytest.mark.slow)])
def test_a_damaged_database_is_one_line_with_its_remedy_which_helps(swept, tmp_path, how):
    database = tmp_path / "mlflow.db"
    damage(database, how)
    code, said = posefront("record", "small", "--home", tmp_path)
    assert code == 2 and "mlflow.db: is damaged (" in said and "`posefront record --rebuild`" in said
    code, said = posefront("record", "--rebuild", "--home", tmp_path)
    assert code == 0 and f"{database}.old-1" in said and "small: MLflow has all of it" in said, said
    shutil.copyfile(database, tmp_path / "copy.db")  # MLflow in this process holds on to the old one
    assert_nothing_is_lost(swept.folder, f"sqlite:///{tmp_path}/copy.db")
    assert (tmp_path / "mlflow.db.old-1").exists()


def test_a_sweep_is_copied_to_another_mlflow_once_however_often(swept, fresh_database, tmp_path):
    shutil.copyfile(fresh_database, tmp_path / "another.db")
    before, uri = events(swept.folder), f"sqlite:///{tmp_path}/another.db"
    for _ in range(2):
        code, said = posefront("record", "small", "--tracking-uri", uri, "--home", tmp_path)
        assert code == 0 and said == "small: MLflow has all of it.\n", said
    assert_nothing_is_lost(swept.folder, uri)
    assert [repr(e) for e in events(swept.folder)] == [repr(e) for e in before]
    assert len([e for e in before if isinstance(e, Observed)]) > 3


def test_a_sweep_that_runs_writes_its_own_record(swept, tmp_path):
    journal = Journal(swept.folder)
    journal.close()
    from filelock import FileLock

    with FileLock(swept.folder / "journal.lock"):
        code, said = posefront("record", "--rebuild", "--home", tmp_path)
    assert code == 2 and "small is running" in said and (tmp_path / "mlflow.db").exists()


def test_rebuilding_is_for_all(swept, tmp_path):
    code, said = posefront("record", "small", "--rebuild", "--home", tmp_path)
    assert code == 2 and "all sweeps share the database" in said
