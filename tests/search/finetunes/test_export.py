"""`posefront export` and `generate` on a sweep of two trials that were trained."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image

from search import cli
from search.finetunes.export import check_form
from search.journal import Ended, Journal, Observed, Opened, Proposed
from search.rungs import Stop
from spaces import Inference, InputError, Observation, Recipe
from tests.search.examples import small_sweep
from trainables.base import Base
from trainables.export import load_adapter, save_adapter
from trainables.finetune import FineTune
from trainables.generate import draw, start_noise
from trainables.job import Job, PanelConfig
from trainables.skeleton import load_pose, render
from trainables.subject import Subject

RECIPES = {
    "t0001": Recipe(rank=2, learning_rate=1e-2, text_encoder="lora", token="trained", token_learning_rate=0.1),
    "t0002": Recipe(unet="full-kv", learning_rate=1e-2, pose_from=0, pose_trains="both"),
}
SCORES = {"t0001": (0.75, 0.5), "t0002": (0.25, 0.75)}
WAYS = {"": Inference(), "cfg3-cn1-lora0.5": Inference(lora_scale=0.5)}
PROMPT = "a sks robot on sand"
ELSEWHERE = """
import sys
import mlflow.pyfunc
import pandas as pd
model = mlflow.pyfunc.load_model("models:/robot@champion")
prompt, pose, out = sys.argv[1:]
drawn = model.predict(pd.DataFrame([{"prompt": prompt, "pose": open(pose).read()}]), params={"seed": 5})
open(out, "wb").write(drawn["picture"][0])
assert model.input_example["prompt"][0]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_subject: Path) -> Path:
    """Two checkpoints, both on the front as they were drawn at first; one is not kept."""
    home, base = tmp_path_factory.mktemp("home"), Base.load(tiny_base)
    job = Job(
        folder=str(home / "small"), cache=str(home / "cache"), base=str(tiny_base), subject=str(tiny_subject),
        rungs=(2, 3), panel=PanelConfig(steps=3), device="cpu",
    )  # fmt: skip
    sweep = small_sweep(home, trials=2, job=job)
    sweep.save()
    journal = Journal(sweep.folder)
    journal.append(Opened(0.0))
    for trial, recipe in RECIPES.items():
        journal.append(Proposed(1.0, trial, recipe, {}, 7))
        tune = FineTune(base, Subject.load(tiny_subject), recipe, seed=7)
        for steps, better in ((2, 0.1), (3, 1.0)):
            folder = sweep.folder / "trials" / trial / f"step-{steps:06d}"
            folder.mkdir(parents=True)
            tune.advance(steps - tune.steps)
            if steps == 3:
                save_adapter(tune, folder / "adapter")
            seen = []
            for label, inference in WAYS.items():
                share = better if not label else better / 2
                scores = dict(zip(("identity", "pose"), (value * share for value in SCORES[trial]), strict=True))
                seen.append(Observation(trial, recipe, 7, steps, scores, inference=inference, label=label))
                Image.new("RGB", (8, 8), "blue" if label else "red").save(folder / f"grid{label and '-'}{label}.png")
            journal.append(Observed(2.0, tuple(seen), Stop("finished", "the end"), str(folder)))
        tune.remove()
        journal.append(Ended(3.0, trial, "finished", "the end", 3))
    journal.close()
    return home


def call(monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["posefront", *map(str, arguments), "--home", str(home)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_a_fine_tune_goes_out_with_its_page(home, tmp_path, monkeypatch, capsys) -> None:
    out = tmp_path / "mine"
    assert call(monkeypatch, home, "export", "small", "--pick", "t0001@3", "-o", out) == 0
    assert f"{out}: t0001@3, diffusers" in capsys.readouterr().out
    files = {path.name for path in out.iterdir()}
    weights = {"pytorch_lora_weights.safetensors", "learned_embeds.safetensors"}
    assert files == weights | {"README.md", "recipe.json", "samples.png", "pose.png"}
    told = json.loads((out / "recipe.json").read_text())
    assert Recipe.parse(told["recipe"]) == RECIPES["t0001"]
    assert (told["sweep"], told["trial"], told["steps"]) == ("small", "t0001", 3)
    assert told["scores"] == {"identity": 0.75, "pose": 0.5}
    page = (out / "README.md").read_text()
    front_matter = yaml.safe_load(page.split("---")[1])
    assert front_matter["instance_prompt"] == "sks robot" and "lora" in front_matter["tags"]
    for said in ("# sks robot", "| identity | 0.7500 |", "| text_encoder | lora |", "samples.png", "## Licence"):
        assert said in page
    assert Image.open(out / "samples.png").getpixel((0, 0)) == (255, 0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_way_it_was_drawn_goes_along(home, tmp_path, monkeypatch) -> None:
    out = tmp_path / "half"
    assert call(monkeypatch, home, "export", "small", "--pick", "t0002@3:cfg3-cn1-lora0.5", "-o", out) == 0
    assert json.loads((out / "recipe.json").read_text())["inference"]["lora_scale"] == 0.5
    assert Image.open(out / "samples.png").getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize("form", ["kohya", "merged"])
def test_the_front_goes_out_whole(form, home, tmp_path, monkeypatch) -> None:
    out = tmp_path / "front"
    assert call(monkeypatch, home, "export", "small", "--pick", "front", "-o", out, "--format", form, "--half") == 0
    assert {path.name for path in out.iterdir()} == {"t0001@3", "t0002@3"}
    for folder in out.iterdir():
        name = f"small-{folder.name[:5]}-3"
        expected = {f"{name}.safetensors"} if form == "kohya" else {"model_index.json", "unet", "controlnet"}
        assert expected | {"README.md", "recipe.json"} <= {path.name for path in folder.iterdir()}


def test_what_a_form_cannot_say_is_refused_before_any_is_written() -> None:
    plain, falling = (
        Observation(trial, Recipe(rank_schedule=schedule), 0, 2, {})
        for trial, schedule in (("t0001", "constant"), ("t0002", "timestep"))
    )
    check_form([plain, falling], "diffusers")
    for form in ("kohya", "merged"):
        check_form([plain], form)
        with pytest.raises(InputError, match=f"t0002@2 has rank_schedule timestep, which {form} cannot say"):
            check_form([plain, falling], form)


def test_a_folder_that_is_not_empty_is_left_alone(home, tmp_path, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert call(monkeypatch, home, "export", "small", "-o", out) == 0
    (out / "README.md").write_text("mine")
    (out / "notes.txt").write_text("mine")
    assert call(monkeypatch, home, "export", "small", "-o", out) == 2
    assert "--force" in capsys.readouterr().err and (out / "README.md").read_text() == "mine"
    assert call(monkeypatch, home, "export", "small", "-o", out, "--force") == 0
    assert "sks robot" in (out / "README.md").read_text() and (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["small", "--pick", "t0001@2"], "--pick: 't0001@2' should be knee"),
        (["small", "--pick", "best"], "t0001@3"),
        (["small", "--half"], "--half: is for kohya and merged"),
        (["other"], "other: is not a sweep under"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(arguments, said, home, tmp_path, monkeypatch, capsys) -> None:
    assert call(monkeypatch, home, "export", *arguments, "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error
    assert list(tmp_path.iterdir()) == []


def test_a_subject_without_target_poses_shows_a_shipped_one(home, tiny_subject, tmp_path, monkeypatch) -> None:
    subject = Path(shutil.copytree(tiny_subject, tmp_path / "subject"))
    (subject / "poses.jsonl").unlink()
    sweep = Path(shutil.copytree(home / "small", tmp_path / "home" / "small")) / "sweep.json"
    sweep.write_text(sweep.read_text().replace(str(tiny_subject), str(subject)))
    assert call(monkeypatch, tmp_path / "home", "export", "small", "-o", tmp_path / "out") == 0
    assert np.asarray(Image.open(tmp_path / "out" / "pose.png")).max() > 0


def test_what_is_in_the_way_is_said(home, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "file").write_text("mine")
    for out, said in ((tmp_path / "file", "is a file"), (tmp_path / "file" / "out", "cannot be written")):
        assert call(monkeypatch, home, "export", "small", "-o", out) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "--out" in error and said in error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_adapter_of_another_base_is_refused(home, tiny_base, tmp_path, monkeypatch, capsys) -> None:
    config = home / "small" / "trials" / "t0001" / "step-000003" / "adapter" / "adapter_config.json"
    before = config.read_text()
    config.write_text(before.replace(Base.load(tiny_base).fingerprint, "0123456789abcdef"))
    try:
        assert call(monkeypatch, home, "export", "small", "--pick", "t0001@3", "-o", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "has changed since the sweep" in error
    finally:
        config.write_text(before)


@pytest.mark.parametrize("trial", RECIPES)
def test_a_deleted_adapter_is_said(trial, home, tmp_path, monkeypatch, capsys) -> None:
    adapter = home / "small" / "trials" / trial / "step-000003" / "adapter"
    adapter.rename(tmp_path / "away")
    try:
        assert call(monkeypatch, home, "export", "small", "--pick", "front", "-o", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "is gone" in error and not (tmp_path / "out").exists()
    finally:
        (tmp_path / "away").rename(adapter)


@pytest.mark.parametrize("trial", RECIPES)
def test_generate_draws_with_every_part(trial, home, tiny_base, tiny_subject, tmp_path, monkeypatch) -> None:
    subject = Subject.load(tiny_subject)
    pose = tmp_path / "pose.json"
    keypoints = subject.pictures[0].keypoints.tolist()
    pose.write_text(json.dumps({"skeleton": "puppet-13", "size": 32, "keypoints": keypoints}))
    pictures = {}
    for scale in ("", 0, 0.5):
        out = tmp_path / f"scale{scale}.png"
        given = ["--lora-scale", scale] if scale != "" else []
        assert call(
            monkeypatch, home, "generate", "small", "--pick", f"{trial}@3", "--pose", pose, "--prompt", PROMPT,
            "-o", out, *given,
        ) == 0  # fmt: skip
        pictures[scale] = np.asarray(Image.open(out), dtype=int)
    base = Base.load(tiny_base)
    load_adapter(base, home / "small" / "trials" / trial / "step-000003" / "adapter")
    keypoints, skeleton, size = load_pose(pose)
    condition = render(keypoints, base.size, skeleton, size)
    (wanted,) = draw(base, [PROMPT], [condition], start_noise(base, [0]), 3, Inference())
    assert np.abs(pictures[""] - wanted).max() <= 1
    assert np.abs(pictures[""] - pictures[0]).max() > 2 and np.abs(pictures[0.5] - pictures[0]).max() > 1


@pytest.mark.slow
def test_a_champion_draws_elsewhere_what_generate_draws(home, tiny_subject, fresh_database, tmp_path, monkeypatch):
    shutil.copyfile(fresh_database, home / "mlflow.db")
    uri, pick = f"sqlite:///{home}/mlflow.db", "t0001@3:cfg3-cn1-lora0.5"
    assert call(monkeypatch, home, "register", "small") == 2, "it is not in MLflow yet"
    assert call(monkeypatch, home, "record", "small") == 0
    for _ in range(2):
        assert call(monkeypatch, home, "register", "small", "--pick", pick, "--as", "robot") == 0
    client = MlflowClient(uri)
    [version] = client.search_model_versions("name = 'robot'")
    assert client.get_model_version_by_alias("robot", "champion").version == version.version
    assert version.tags["checkpoint"] == f"small/{pick}" and version.tags["identity"] == "0.3750"
    assert version.tags["recipe.rank"] == "2" and client.get_run(version.run_id).data.tags["trial"] == "t0001"
    model = Path(client.download_artifacts(version.run_id, "model-3-cfg3-cn1-lora0.5"))
    kinds = {path.suffix for path in model.rglob("*") if path.is_file()}
    assert kinds == {"", ".json", ".yaml", ".txt", ".safetensors"}, "no pickles, and no code"
    subject = Subject.load(tiny_subject)
    posed = {"skeleton": "puppet-13", "size": subject.poses[1].size, "keypoints": subject.poses[1].keypoints.tolist()}
    (tmp_path / "pose.json").write_text(json.dumps(posed))
    given = ["--pose", tmp_path / "pose.json", "--prompt", PROMPT, "--seed", "5", "-o", tmp_path / "mine.png"]
    assert call(monkeypatch, home, "generate", "small", "--pick", pick, *given) == 0
    command = [sys.executable, "-c", ELSEWHERE, PROMPT, tmp_path / "pose.json", tmp_path / "theirs.png"]
    subprocess.run(command, check=True, timeout=300, env=os.environ | {"MLFLOW_TRACKING_URI": uri})
    assert (np.array(Image.open(tmp_path / "theirs.png")) == np.array(Image.open(tmp_path / "mine.png"))).all()
