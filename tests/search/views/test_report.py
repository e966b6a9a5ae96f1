"""`posefront report`: a sweep's files as one page, whatever state the sweep is in."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from analysis import importance
from search.journal import Journal, Opened
from search.views import pictures, report
from search.views.show import Found, find
from spaces import InputError
from tests.search.simulated import CELLS, SIDE, draw_grid, simulated, write_base
from trainables.panels.judged import judged_path


@pytest.fixture(autouse=True)
def few_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are tested with what makes them."""
    monkeypatch.setattr(importance, "HALVES", 2)
    monkeypatch.setattr(importance, "TREES", 2)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("home")
    config = simulated(home)
    found = find(home, config.name)
    for number, o in enumerate(found.ledger.table):
        draw_grid(Path(found.ledger.observed[o.trial, o.steps].folder) / "grid.png", number)
    return home


@pytest.fixture
def found(home: Path, tmp_path: Path) -> Found:
    """A copy that a test may change."""
    shutil.copytree(home / "small", tmp_path / "small")
    return find(tmp_path, "small")


def data(path: Path) -> dict:
    (text,) = re.findall(r'id="page-data">(.*?)</script>', path.read_text(encoding="utf-8"))
    return json.loads(text)


def test_the_page_has_the_sweeps_numbers_and_pictures_and_says_that_mlflow_has_none(found):
    written = report.write(found, None, "knee", [], "posefront report small")
    assert written.path == found.config.folder / "report.html" and written.size < 15_000_000
    assert written.recorded == "not in MLflow: the sweep has no run there"
    page, points = written.path.read_text(encoding="utf-8"), data(written.path)["points"]
    table = found.ledger.table
    assert [table[i].key for i in points["front"]] == [o.key for o in found.front]
    assert table[points["knee"]].key == found.knee.key and f"{found.hypervolume:.4f}" in page
    assert len(data(written.path)["strips"]) == len(table) + 2, "all of a small sweep, the poses and the base"
    assert all(number >= 0 for number in points["pictures"])
    curve = data(written.path)["figures"]["hypervolume over time"]["data"][0]
    assert curve["y"][-1] == pytest.approx(found.hypervolume, abs=1e-6)
    unit = 60 if ">min since the start" in json.dumps(data(written.path)) else 1
    assert curve["x"][-1] * unit == pytest.approx(found.ledger.seconds, rel=1e-3)


def test_a_strip_is_the_grids_cells_in_the_panels_order_with_what_the_judge_saw(tmp_path):
    grid = tmp_path / "grid.png"
    draw_grid(grid, 3)
    strip = pictures.strip_of(grid, CELLS, 96)
    assert (strip.count, strip.side, strip.joints.shape) == (12, SIDE, (12, 13, 3))
    assert set(np.unique(strip.joints[..., 2])) == {0, 1} and strip.joints[..., :2].max() <= 1
    judged_path(grid).unlink()
    assert pictures.strip_of(grid, CELLS, 8).joints is None and pictures.strip_of(grid, CELLS, 8).side == 8
    with pytest.raises(InputError, match="no grid of 20 cells"):
        pictures.strip_of(grid, 20, 96)


def test_pictures_that_are_gone_damaged_or_from_before_joints_were_kept_are_said(found):
    folders = [Path(found.ledger.observed[o.trial, o.steps].folder) for o in found.ledger.table]
    front = {(o.trial, o.steps) for o in found.front}
    for folder in folders[::2]:
        (folder / "grid.png").unlink()
    for folder in folders[1::2]:
        judged_path(folder / "grid.png").unlink()
    (folders[1] / "grid.png").write_bytes(b"no picture")
    written = report.write(found, None, "knee", [], "")
    page, seen = written.path.read_text(encoding="utf-8"), data(written.path)["points"]["pictures"]
    assert {number >= 0 for number in seen[3::2]} == {True} and set(seen[::2]) == {-1} and seen[1] == -1 and front
    assert f"The pictures of {len(folders[::2]) + 1} observations are not on disk any more." in page
    assert "is no picture of a panel" in page and "from before that was written down" in page
    shutil.rmtree(found.config.folder / "trials")
    shutil.rmtree(found.config.folder / "panel")
    none = report.write(find(found.config.folder.parent, "small"), None, "knee", [], "")
    assert set(data(none.path)["points"]["pictures"]) == {-1} and not data(none.path)["special"]


def test_the_largest_page_stays_within_its_budget(found, monkeypatch):
    monkeypatch.setattr(pictures, "BUDGET", 20_000)
    album = pictures.album_of(found, found.front)
    assert 0 < sum(len(strip.image) for strip in album.strips.values()) <= 20_000
    assert {o.key for o in found.front} <= album.strips.keys() or len(album.strips) < len(found.front)
    assert "left out" in " ".join(album.notes)


def test_a_sweep_that_goes_on_and_one_without_a_score_have_pages(tmp_path):
    running = simulated(tmp_path, "running", trials=3, closed=False)
    page = report.write(find(tmp_path, "running"), None, "knee", [], "").path.read_text(encoding="utf-8")
    assert "How long workers waited is known once a driver has ended in order" in page and running
    empty = simulated(tmp_path, "empty", trials=3)
    (empty.folder / "journal.jsonl").unlink()
    journal = Journal(empty.folder)
    journal.append(Opened(1.0))
    journal.close()
    page = report.write(find(tmp_path, "empty"), None, "knee", [], "").path.read_text(encoding="utf-8")
    assert "nothing is scored" in page


def test_a_sweep_is_held_only_against_one_of_the_same_panel(found, tmp_path):
    other = simulated(tmp_path, "other", trials=4, seed=1)
    rival = find(tmp_path, "other")
    page = report.write(found, tmp_path / "there.html", "knee", [rival], "").path.read_text(encoding="utf-8")
    assert f"{rival.hypervolume:.4f}" in page
    person = simulated(tmp_path, "person", trials=2, subject="puppets/person")
    with pytest.raises(InputError, match=r"--against: person has the subject puppets/person, small has puppets/robot"):
        report.write(found, None, "knee", [find(tmp_path, "person")], "")
    moved = {"scores": {"identity": 0.4, "pose": 1.0}, "cells": {"identity": [0.4] * CELLS, "pose": [1.0] * CELLS}}
    write_base(other.folder, moved)
    with pytest.raises(InputError, match=r"other has another panel: the untuned base scores otherwise on it"):
        report.write(found, None, "knee", [find(tmp_path, "other")], "")
    assert person


def test_a_pick_is_the_knee_or_a_name(found, tmp_path):
    asked = found.ledger.table[0]
    page = report.write(found, None, asked.name, [], "").path
    assert data(page)["points"]["pick"] == 0 and "It was asked for." in page.read_text(encoding="utf-8")
    with pytest.raises(
        InputError, match=r"--pick: 't9@1' should be knee, weights such as identity=2,pose=1, or an observation"
    ):
        report.write(found, None, "t9@1", [], "")
    with pytest.raises(InputError, match=r"--out: .* cannot be written"):
        report.write(found, tmp_path / "nowhere" / "x.html", "knee", [], "")


def test_mlflow_gets_the_page_where_it_is_there_and_is_missed_where_not(tmp_path, fresh_database):
    from mlflow import MlflowClient

    shutil.copyfile(fresh_database, tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = client.create_run(client.get_experiment_by_name("posefront").experiment_id).info.run_id
    simulated(tmp_path, trials=2, run=run)
    written = report.write(find(tmp_path, "small"), None, "knee", [], "")
    assert written.recorded == f"in MLflow, an artifact of the sweep's run {run}"
    assert [each.path for each in client.list_artifacts(run)] == ["report.html"]
    simulated(tmp_path, "away", trials=2, run=run, tracking_uri="http://127.0.0.1:9")
    assert "not in MLflow" in report.write(find(tmp_path, "away"), None, "knee", [], "").recorded
