"""What a sweep says of a subject before it starts."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from search import cli
from search.checks import check_job
from spaces import InputError, load_space
from tests.trainables.test_subject import MISTAKES
from trainables.job import Job, PanelConfig
from trainables.subject.picture_file import MOST_PIXELS

BAD = ("truncated JPEG", "one pixel", "100 megapixels", "too few joints", "joint outside", "not a number", "not UTF-8",
       "mask of another size", "twice", "outside", "a folder", "no picture")  # fmt: skip


@pytest.fixture
def folder(tiny_subject: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_subject, tmp_path / "subject"))


def job(folder: Path, tmp_path: Path, **values: object) -> Job:
    panel = PanelConfig(plain=2, hard=2)
    fixed = {"folder": str(tmp_path / "x"), "cache": str(tmp_path), "subject": str(folder), "rungs": (10,)}
    return Job(**fixed | {"panel": panel} | values)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_subject_is_one_line_and_exit_code_2(folder, tmp_path, monkeypatch, capfd, name: str) -> None:
    spoil, where, problem = MISTAKES[name]
    spoil(folder)
    options = ("--subject", str(folder), "--home", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", ["posefront", "sweep", "puppets", *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capfd.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and len(said) == 1 and where in said[0] and problem in said[0]
    assert not (tmp_path / "home" / "puppets-1").exists()


def test_the_poses_may_come_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    space = load_space("puppets")
    check_job(job(folder, tmp_path), space)
    (folder / "poses.jsonl").unlink()
    with pytest.raises(InputError, match=r"0 plain target poses; the panel asks for 2: `posefront subject poses`"):
        check_job(job(folder, tmp_path), space)
    check_job(job(folder, tmp_path, poses="shipped"), space)
    with pytest.raises(InputError, match=r"'nowhere' is no folder"):
        check_job(job(folder, tmp_path, poses="nowhere"), space)
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match=r"mine: has no poses"):
        check_job(job(folder, tmp_path, poses=str(tmp_path / "mine")), space)
    (tmp_path / "mine" / "plain").mkdir()
    pose = {"skeleton": "puppet-13", "size": 64, "keypoints": [[1, 1, 1]] * 13}
    (tmp_path / "mine" / "plain" / "a.json").write_text(json.dumps(pose))
    with pytest.raises(InputError, match=r"has 1 plain target poses; the panel asks for 2"):
        check_job(job(folder, tmp_path, poses=str(tmp_path / "mine")), space)


def test_a_huge_photograph_is_made_smaller_by_prepare(tmp_path: Path, monkeypatch, capsys) -> None:
    """A photograph may have more pixels than a subject's picture."""
    (tmp_path / "photos").mkdir()
    assert MOST_PIXELS < 8100 * 8100
    Image.new("1", (8100, 8100), 1).save(tmp_path / "photos" / "1.png")
    options = ("--class", "robot", "--size", "64")
    monkeypatch.setattr(
        sys, "argv", ["posefront", "prepare", str(tmp_path / "photos"), "-o", str(tmp_path / "s"), *options]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code and Image.open(tmp_path / "s" / "00.png").size == (64, 64)
    assert "has 1 pictures" in capsys.readouterr().out
