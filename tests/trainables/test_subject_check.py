"""Everything that is wrong with a folder, and what is weak about it."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search import cli
from spaces import InputError
from tests.trainables.test_subject import change_card, change_line, cut
from trainables.subject import Subject
from trainables.subject.check import check_subject


@pytest.fixture
def folder(tiny_subject: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_subject, tmp_path / "subject"))


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["posefront", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


@pytest.mark.parametrize("name", ["puppets/robot", "puppets/person"])
def test_the_shipped_subjects_have_nothing_wrong(name: str) -> None:
    assert check_subject(name) == []


def test_all_mistakes_are_told_at_once(folder: Path, monkeypatch, capsys) -> None:
    change_card(folder, prompts=["no name"], colour="red")
    change_line(folder, 1, text="a robot")
    cut(folder / "1.png")
    keypoints = json.loads((folder / "metadata.jsonl").read_text().splitlines()[2])["keypoints"]
    change_line(folder, 3, keypoints=[[99, 5, 1], [5, -7, 1], *keypoints[2:]], mask="none.png")
    change_line(folder, 2, "poses.jsonl", grade="odd")
    change_line(folder, 4, "poses.jsonl", keypoints=[[1, 2, 1]])
    told = [finding.text for finding in check_subject(folder) if finding.kind == "error"]
    wanted = [
        ("subject.yaml", "prompts.0: 'no name'"),
        ("subject.yaml", "colour: no such field"),
        ("1.png", "is not a whole picture"),
        ("metadata.jsonl:3", "joint 1 at 99, 5 is outside the 32 x 32 pixels"),
        ("metadata.jsonl:3", "joint 2 at 5, -7"),
        ("metadata.jsonl:3: mask", "'none.png' is not in"),
        ("poses.jsonl:2", "grade: 'odd'"),
        ("poses.jsonl:4", "1 joints, should be 13"),
    ]
    for where, problem in wanted:
        assert sum(where in text and problem in text for text in told) == 1, (where, problem, told)
    assert len(told) == len(wanted)  # without a card no token is known, so the caption cannot be wrong
    assert call(monkeypatch, "subject", "check", folder) == 2
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("error ") for line in lines) == len(told)
    assert f"{len(told)} errors" in lines[-1]


def test_what_load_refuses_the_check_calls_an_error(folder: Path) -> None:
    """The first error of the check is what a sweep would say."""
    change_line(folder, 2, text="a robot")
    with pytest.raises(InputError) as caught:
        Subject.load(folder)
    errors = [finding.text for finding in check_subject(folder) if finding.kind == "error"]
    assert errors == [str(caught.value)]


def test_what_is_merely_weak_ends_well(folder: Path, monkeypatch, capsys) -> None:
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    (folder / "metadata.jsonl").write_text("\n".join(lines[:2]) + "\n")
    Image.open(folder / "0.png").point(lambda v: v * 9 // 10).save(folder / "1.png")
    for number in (1, 2):
        change_line(folder, number, text="a photo of sks", mask=None, keypoints=None)
    change_card(folder, skeleton=None, prompts=["a {name}"])
    poses = (folder / "poses.jsonl").read_text().splitlines()
    (folder / "poses.jsonl").write_text(poses[0] + "\n")
    findings = check_subject(folder)
    assert {finding.kind for finding in findings} == {"weak"}
    said = "\n".join(finding.text for finding in findings)
    for problem in (
        "has 2 pictures; 3 to 6", "all captions are equal", "is 32 x 32 pixels; below 256", "0.png and 1.png are",
        "does not name the class 'robot'", "skeleton: is missing", "prompts: 1 different", "has neither keypoints nor",
        "has 1 plain poses", "has 0 hard poses", "2.png: is not used",
    ):  # fmt: skip
        assert problem in said
    assert call(monkeypatch, "subject", "check", folder) == 0
    assert "0 errors" in capsys.readouterr().out


def test_different_pictures_are_not_called_alike(folder: Path) -> None:
    assert not [finding for finding in check_subject(folder) if "nearly the same" in finding.text]


def test_poses_are_written_for_the_subjects_own_skeleton(folder: Path, monkeypatch, capsys) -> None:
    assert call(monkeypatch, "subject", "poses", folder) == 2
    assert "has 4 poses; --force replaces them" in capsys.readouterr().err
    assert call(monkeypatch, "subject", "poses", folder, "--force") == 0
    poses = Subject.load(folder).poses
    assert len(poses) == 28 and all(pose.keypoints.shape == (13, 3) for pose in poses)
    assert not list(folder.glob(".*partial"))


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch, capsys) -> None:
    assert call(monkeypatch, "subject", "check", tmp_path / "x") == 2
    assert "is no folder" in capsys.readouterr().err


def test_two_joints_on_a_spot_and_a_mask_of_everything_are_weak(folder: Path) -> None:
    keypoints = np.array(json.loads((folder / "metadata.jsonl").read_text().splitlines()[0])["keypoints"])
    keypoints[1] = keypoints[0]
    change_line(folder, 1, keypoints=keypoints.tolist())
    Image.new("L", (32, 32), 255).save(folder / "1-mask.png")
    said = [finding.text for finding in check_subject(folder)]
    assert any("0.png: keypoints: two joints lie on the same spot" in text for text in said)
    assert any("1.png: mask: covers 100% of the picture" in text for text in said)
