import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from search import cli
from search.finetunes.generate import pick
from search.journal import Ended, Journal, Observed, Opened, Proposed
from search.rungs import Continue, Stop
from search.views import show
from search.views.live import LiveTable, PlainLines
from search.views.tally import Progress, Speed, Tally
from spaces import Inference, InputError, Observation, Recipe, load_space, shipped_spaces
from tests.search.examples import observed, small_space, small_sweep

FRONT = {("t0001", 10), ("t0001", 20), ("t0002", 20)}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of an interrupted sweep: three observations on the front, one failure."""
    sweep = small_sweep(tmp_path, trials=4)
    sweep.save()
    journal = Journal(sweep.folder)
    journal.append(Opened(0.0))
    for trial, rank in (("t0001", 4), ("t0002", 8), ("t0003", 16)):
        journal.append(Proposed(1.0, trial, Recipe(rank=rank), {"rank": rank}, 7))
    table = [("t0001", 10, 0.2, 0.9), ("t0002", 10, 0.1, 0.1), ("t0001", 20, 0.7, 0.8), ("t0002", 20, 0.9, 0.1)]
    for trial, steps, identity, pose in table:
        folder = sweep.folder / "trials" / trial / f"step-{steps:06d}"
        if (trial, steps) in FRONT:
            (folder / "adapter").mkdir(parents=True)
        seen = observed(trial, steps, identity, pose, journal.ledger.proposals[trial].recipe)
        other = observed(trial, steps, identity / 2, pose / 2, seen.recipe, Inference(lora_scale=0.5))
        journal.append(Observed(2.0, (seen, other), Continue(1, 1), str(folder)))
    journal.append(Ended(3.0, "t0002", "stopped", "place 2 of 2", 20))
    journal.append(Ended(4.0, "t0003", "failed", "ValueError: no", 0))
    journal.close()
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["posefront", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_show_prints_json(home, monkeypatch, capsys):
    assert call(monkeypatch, "show", "small", "--json", "--home", home) == 0
    found = json.loads(capsys.readouterr().out)
    keys = ("sweep", "status", "objectives", "trials", "observations", "front", "knee", "hypervolume")
    assert tuple(found) == (*keys, "devices", "tried", "required", "confirmation", "choice", "findings")
    assert found["choice"]["pick"] == "t0001@20" and found["choice"]["rule"] == "knee"
    assert len(found["choice"]["why"]) == 3 and found["choice"]["recipe"]["rank"] == 4
    assert (found["sweep"], found["status"]) == ("small", "interrupted")
    assert found["objectives"] == [{"name": name, "direction": "maximize"} for name in ("identity", "pose")]
    assert len(found["observations"]) == 8 and found["trials"] == 3
    assert found["observations"][1]["inference"]["lora_scale"] == 0.5
    assert [trial["status"] for trial in found["tried"]] == ["unfinished", "stopped", "failed"]
    assert {(o["trial"], o["steps"]) for o in found["front"]} == FRONT
    assert set(found["front"][0]) == {"trial", "steps", "seed", "scores", "label", "inference", "recipe"}
    assert (found["knee"]["trial"], found["knee"]["steps"]) == ("t0001", 20)
    assert found["hypervolume"] == pytest.approx(0.2 * 0.9 + 0.5 * 0.8 + 0.2 * 0.1)


def test_show_prints_the_front_the_recipe_and_the_failures(home, monkeypatch, capsys):
    assert call(monkeypatch, "show", "small", "--home", home) == 0
    text = capsys.readouterr().out
    assert "Recommended (the front's knee): t0001 at 20 steps" in text and "rank: 4" in text
    assert "t0003 failed: ValueError: no" in text and "posefront resume small" in text


def test_show_goes_by_what_is_preferred_and_required(home, monkeypatch, capsys):
    assert call(monkeypatch, "show", "small", "--prefer", "identity=9,pose=1", "--home", home) == 0
    text = capsys.readouterr().out
    assert "Recommended (the front's best for identity=9,pose=1): t0002 at 20 steps" in text and "rank: 8" in text
    assert "◆ t0002@20" in text and "● t0001@10" in text and max(map(len, text.splitlines())) <= 80
    assert "may be gone" not in text
    assert (
        call(monkeypatch, "show", "small", "--require", "identity < 0.6", "--prefer", "identity=1", "--home", home) == 0
    )
    assert "Its adapter may be gone" in capsys.readouterr().out
    assert call(monkeypatch, "show", "small", "--require", "identity < 0.6", "--json", "--home", home) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["required"] == ["identity < 0.6"] and all(o["scores"]["identity"] < 0.6 for o in found["front"])
    assert found["knee"]["trial"] == found["choice"]["pick"][:5]


def test_the_home_may_come_from_the_environment(home, monkeypatch, capsys):
    monkeypatch.setenv("POSEFRONT_HOME", str(home))
    assert call(monkeypatch, "show", "small", "--json") == 0


def test_pick(home):
    found = show.find(home, "small")
    assert (pick(found, "knee").trial, pick(found, "knee").steps) == ("t0001", 20)
    assert pick(found, "t0002@20").scores["identity"] == 0.9
    assert pick(found, "identity=9,pose=1").name == "t0002@20" and pick(found, "pose=1").name == "t0001@10"
    assert pick(found, "t0001@20:cfg3-cn1-lora0.5").inference == Inference(lora_scale=0.5)
    for wrong in ("t0002@10", "t0001@20:cfg4-cn1-lora1", "t0009@10", "best", "t0001"):
        with pytest.raises(InputError, match="t0001@10"):
            pick(found, wrong)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep", "nowhere"], "nowhere: no such space"),
        (["sweep", "puppets", "--subject", "/no/such"], "/no/such: is no folder"),
        (["sweep", "puppets", "--subject", "SUBJECT", "--base", "/no/such"], "--base /no/such: is neither a folder"),
        (["sweep", "puppets", "--subject", "SUBJECT", "--base", "SUBJECT"], "has no unet/"),
        (["sweep", "puppets", "--subject", "SUBJECT", "--address", "somewhere"], "--address: 'somewhere' should be"),
        (["sweep", "puppets", "--name", "small"], "--name: 'small' exists"),
        (["sweep", "puppets", "--name", "a/b"], "--name: 'a/b' should be"),
        (["sweep", "puppets", "--home", "/dev/null/runs"], "--home: /dev/null/runs cannot be written"),
        (["sweep", "puppets", "--subject", "SUBJECT", "--cpus-per-trial", "0"], "cpus_per_trial"),
        (["show", "small", "--prefer", "drift=1"], "--prefer: 'drift' in 'drift=1' is not traded in this sweep"),
        (["show", "small", "--require", "oks > 0"], "--require: small has no score 'oks'; it has identity, pose"),
        (["generate", "small", "--pose", "/x", "--prompt", "x", "-o", "x.png", "--pick", "pose=no"], "--pick: 'no'"),
        (["show", "other"], "other: is not a sweep under"),
        (["resume", "other"], "there are: small"),
        (["generate", "small", "--pose", "/no.json", "--prompt", "x", "-o", "x.png"], "/no.json: cannot be read"),
        (["generate", "small", "--pose", "/x", "--prompt", "x", "-o", "x.png", "--pick", "t0002@10"], "--pick"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(home, tiny_subject, monkeypatch, capsys, arguments, said):
    arguments = [str(tiny_subject) if part == "SUBJECT" else part for part in arguments]
    given = arguments if "--home" in arguments else [*arguments, "--home", str(home)]
    before = sorted(path.name for path in home.iterdir())
    assert call(monkeypatch, *given) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error
    assert sorted(path.name for path in home.iterdir()) == before


def test_a_subject_without_what_the_space_trains_with_is_refused(home, tiny_subject, tmp_path, monkeypatch, capsys):
    subject = tmp_path / "no-keypoints"
    shutil.copytree(tiny_subject, subject)
    lines = [json.loads(line) for line in (subject / "metadata.jsonl").read_text().splitlines()]
    bare = [{key: value for key, value in line.items() if key != "keypoints"} for line in lines]
    (subject / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in bare))
    assert call(monkeypatch, "sweep", "two-stage", "--subject", subject, "--home", home) == 2
    error = capsys.readouterr().err
    assert "0.png: has no keypoints, and pose_from: trains with" in error and error.count("\n") == 1


def test_a_space_file_names_its_line(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("subject: x\nrungs: [10]\nrecipe:\n  rank: [0, 4]\n")
    assert call(monkeypatch, "sweep", path, "--home", tmp_path) == 2
    assert f"{path}, line 4: recipe.rank" in capsys.readouterr().err


def test_spaces_lists_what_is_shipped(monkeypatch, capsys):
    assert call(monkeypatch, "spaces") == 0
    said = capsys.readouterr().out
    assert all(f"{name} " in said for name in shipped_spaces())


@pytest.mark.parametrize("name", shipped_spaces())
@pytest.mark.parametrize("width", ["80", "140"])
def test_spaces_explains_one(monkeypatch, capsys, name, width):
    monkeypatch.setenv("COLUMNS", width)
    assert call(monkeypatch, "spaces", name) == 0
    said, space = capsys.readouterr().out, load_space(name)
    for parameter in space.parameters:
        assert parameter.name in said
    assert "\u2026" not in said, "nothing is cut off"
    assert max(map(len, said.splitlines())) <= int(width)


def test_spaces_shows_conditions_priors_and_ways_to_draw(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "rungs: [10]\ninference: {guidance: [7.5, 5]}\nrecipe:\n"
        "  text_encoder: {choice: [frozen, lora], prior: [1, 3]}\n"
        "  text_encoder_rank: {low: 4, high: 64, log: true, prior: 8, spread: 2, when: {text_encoder: lora}}\n"
    )
    monkeypatch.setenv("COLUMNS", "140")
    assert call(monkeypatch, "spaces", path) == 0
    said = capsys.readouterr().out
    for part in ("when text_encoder is lora", "lora 75%", "around 8 ×÷ 2", "guidance 7.5", "cfg5-cn1-lora1"):
        assert part in said


def test_help_does_not_wait_for_the_heavy_libraries():
    code = "import sys, search.cli; print(sorted({'ray', 'torch', 'mlflow', 'optuna', 'plotly'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_progress_counts_and_estimates(home):
    found = show.find(home, "small")
    seen = Tally(found.space).progress(found.ledger, 4)
    assert (seen.running, seen.finished, seen.stopped, seen.failed, seen.ended) == (1, 0, 1, 1, 2)
    assert seen.reached == ((10, 2), (20, 2), (40, 0)) and seen.front == 3
    assert {objective.name: o.trial for objective, o in seen.best} == {"identity": "t0002", "pose": "t0001"}


def test_time_left():
    before = Progress(10, 2, 0, 0, 0, reached=(), front=0, hypervolume=0.0, best=(), speeds=(Speed(100, 10.0, 2),))
    assert before.seconds_left(2) is None
    halfway = replace(before, finished=3, stopped=1, speeds=(Speed(500, 50.0, 2),))
    assert halfway.seconds_left(2) == pytest.approx(10.0 * 5 / 2)  # 50 s for 4 and two halves; 4 and two halves to go
    assert halfway.seconds_left(4) == pytest.approx(halfway.seconds_left(2) / 2)


def test_time_left_on_two_kinds_of_device_goes_by_the_pace_of_each():
    fast, slow = Speed(400, 4.0, 1), Speed(100, 10.0, 1)
    seen = Progress(10, 2, 3, 1, 0, reached=(), front=0, hypervolume=0.0, best=(), speeds=(fast, slow))
    assert seen.seconds_left(2) == pytest.approx(100 * 5 / (100 + 10)), "100 steps a trial, 100 and 10 a second"
    assert replace(seen, speeds=(replace(fast, trials=2), replace(slow, trials=0))).seconds_left(2) < 3


@pytest.mark.parametrize("kind", [LiveTable, PlainLines])
def test_reporters_show_a_sweep_as_it_goes(tmp_path, kind):
    path = tmp_path / "out.txt"
    with path.open("w") as file:
        console = Console(file=file, force_terminal=kind is LiveTable, width=120)
        reporter, ledger = kind(console, small_space(), 2), show.Ledger()
        reporter.opened("sweep small")
        reporter.started(2)
        seen: Observation = observed("t0001", 40, 0.5, 0.5)
        events = [
            Proposed(1.0, "t0001", Recipe(), {}, 1),
            Observed(2.0, (seen,), Stop("finished", "reached the last rung, 40 steps"), "f"),
            Ended(2.0, "t0001", "finished", "reached the last rung, 40 steps", 40),
        ]
        for event in events:
            ledger.add(event)
            reporter.event(event, ledger)
        reporter.note("a note")
        reporter.close()
    text = path.read_text()
    assert "t0001" in text and "a note" in text and "0.25" in text and ("1 of 2" in text)


@pytest.mark.parametrize(
    "options, said",
    [
        (["--gpus-per-trial", "half"], "--gpus-per-trial: 'half' should be a number from 0 on, or auto"),
        (["--gpus-per-trial", "-1"], "--gpus-per-trial: '-1' should be"),
        (["--gpus-per-trial", "auto", "--cards", "24,x"], "--cards: 'x' should be sizes in GB"),
        (["--gpus-per-trial", "auto", "--cards", "nan"], "--cards: 'nan' should be"),
    ],
)
def test_shares_of_gpus_that_make_no_sense_are_one_line(monkeypatch, capsys, tmp_path, options, said):
    assert call(monkeypatch, "sweep", "puppets", "--home", tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert error.startswith(said) and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
