from pathlib import Path

import pytest

from search import cli
from tests.trainables.judges.models import make_dinov2, seeded


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command line's exit code."""
    monkeypatch.setattr("sys.argv", ["posefront", "judge", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_who_judges_is_said_without_measuring(monkeypatch, capsys):
    assert run(monkeypatch, "--subject", "puppets/robot", "--pose-judge", "correspondence") == 0
    printed = capsys.readouterr().out
    assert "pose: correspondence" in printed and "prompt: not judged" in printed and "AUC" not in printed


def test_the_check_prints_ceilings_and_floors(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "140")
    assert run(monkeypatch, "--check", "--subject", "puppets/robot") == 0
    printed = capsys.readouterr().out
    assert "other subjects" in printed and "joints exchanged" in printed and "yes" in printed


def test_a_judge_that_cannot_tell_is_one_line_and_exit_code_2(monkeypatch, capsys, tmp_path):
    blind = seeded(make_dinov2, tmp_path)
    capsys.readouterr()
    arguments = ("--check", "--subject", "puppets/robot", "--identity-judge", str(blind))
    assert run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("identity judge: cannot tell") and len(error.splitlines()) == 1
    assert "--identity-judge takes another" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--subject", "puppets/robot", "--pose-judge", "openpose"), "--pose-judge: openpose finds the joints of"),
        (("--subject", "puppets/robot", "--base", "no base"), "--base: 'no base' should be a diffusers folder"),
        (("--subject", "puppets/robot", "--identity-judge", "nobody"), "--identity-judge: 'nobody' is no judge"),
    ],
)
def test_mistakes_are_one_line(monkeypatch, capsys, arguments, message):
    assert run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1


def test_a_sweep_refuses_a_subject_without_what_its_judges_need(monkeypatch, capsys, tmp_path: Path):
    arguments = ["sweep", "puppets", "--pose-judge", "vitpose", "--home", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["posefront", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "--pose-judge: vitpose finds the joints of openpose-18" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
