import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from spaces import Inference, Recipe
from trainables.finetune import FineTune
from trainables.job import Job, PanelConfig
from trainables.machine.notice import VARIABLE, Evicted, Notice, post
from trainables.panels.judged import read_judged
from trainables.trial import Trial

RECIPE = Recipe(
    targets="cross-kv", rank=4, dropout=0.2, learning_rate=1e-3, text_encoder="lora", prior_weight=0.5, prior_images=2,
    caption_dropout=0.3, batch_size=2,
)  # fmt: skip
OTHER = Recipe(targets="attention+ff", rank=2, learning_rate=1e-3)
PANEL = PanelConfig(plain=1, hard=1, drift=1, steps=2)


def config(folder: Path, trial: str = "t0001", recipe: Recipe = RECIPE, **changes: object) -> dict[str, object]:
    job = Job(folder=str(folder), cache=str(folder / "cache"), subject="puppets/robot", rungs=(2, 4, 6), panel=PANEL)
    job = job.model_copy(update=changes)
    return {"job": job.model_dump(mode="json"), "trial": trial, "recipe": recipe.model_dump(), "seed": 7}


def started(values: dict[str, object]) -> Trial:
    """A trial without Ray around it."""
    trial = Trial.__new__(Trial)
    trial.setup(values)
    return trial


def scores(results: list[dict[str, object]]) -> list[object]:
    return [
        (r["steps"], [(o["scores"], o["cells"].keys()) for o in r["observations"]], r["failure"], r["done"])
        for r in results
    ]


def text(result: object) -> str:
    """To compare by: NaN, where a score does not apply to a cell, is not equal to itself."""
    return json.dumps(result)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, list[dict[str, object]]]:
    """A sweep's folder after one trial ran from beginning to end, and what it reported."""
    folder = tmp_path_factory.mktemp("sweep")
    trial = started(config(folder))
    return folder, [trial.step() for _ in range(3)]


def test_a_trial_reports_every_rung_and_leaves_its_checkpoints(whole):
    folder, results = whole
    assert [r["steps"] for r in results] == [2, 4, 6]
    assert [r["done"] for r in results] == [False, False, True]
    assert all(r["failure"] is None for r in results)
    for result in results:
        files = {path.name for path in Path(result["folder"]).iterdir()}
        assert {"observation.json", "grid.png", "grid.judged.json", "adapter"} <= files
        (seen,) = [read_judged(Path(result["folder"]) / "grid.png").joints]
        detected = np.mean(seen[..., 2] >= 0.3, axis=1)
        np.testing.assert_allclose(detected, result["observations"][0]["cells"]["detection_rate"], atol=1e-6)
        (cost,) = [o["cost"] for o in result["observations"]]
        assert cost["train"] > 0 and cost["score"] > 0
        assert cost["device"].startswith("CPU") and cost["peak_memory"] > 100_000_000 and cost["card_memory"] == 0
    costs = [result["observations"][0]["cost"] for result in results]
    assert costs[0]["load"] > costs[1]["load"]
    assert all(r["observations"][0]["scores"]["validation_loss"] > 0 for r in results)
    assert len(list(folder.glob("trials/*/step-*/state.safetensors"))) == 2, "the newest, and the one before"
    assert (folder / "panel" / "base.png").exists()


def test_what_is_on_disk_is_not_done_again(whole):
    folder, results = whole
    trial = started(config(folder))
    assert text([trial.step() for _ in range(3)]) == text(results)
    assert trial._studio is None  # it never needed the models


@pytest.mark.parametrize("survives", ["first rung", "second rung, unscored"])
def test_interrupted_and_started_again_is_as_never_interrupted(whole, tmp_path, survives):
    folder, results = whole
    shutil.copytree(folder / "cache", tmp_path / "cache")
    interrupted = started(config(tmp_path))
    interrupted.step()
    if survives == "second rung, unscored":
        second = Path(interrupted.step()["folder"])
        (second / "observation.json").unlink()
    interrupted.cleanup()
    again = started(config(tmp_path))
    assert scores([again.step() for _ in range(3)]) == scores(results)


@pytest.fixture
def notice_at(tmp_path, monkeypatch):
    """Takes this machine's notice in after so many steps; the training is the real one."""
    path, advance = tmp_path / "node" / "notice", FineTune.advance

    def at(steps: int, leave: bool) -> None:
        def watched(self: FineTune, count: int) -> float:
            loss = advance(self, count)
            if self.steps == steps:
                post(path, Notice("spot takes this machine", time.time() + 120, leave))
            return loss

        monkeypatch.setattr(FineTune, "advance", watched)
        monkeypatch.setenv(VARIABLE, str(path))

    return at


def test_a_notice_between_two_rungs_saves_at_once_and_the_trial_goes_on_elsewhere_to_the_same_bits(
    whole, tmp_path, notice_at, monkeypatch
):
    folder, results = whole
    shutil.copytree(folder / "cache", tmp_path / "cache")
    notice_at(3, leave=True)
    first = started(config(tmp_path))
    first.step()
    with pytest.raises(Evicted, match="spot takes this machine"):
        first.step()
    saved = tmp_path / "trials" / "t0001" / "step-000003"
    assert [path.name for path in saved.iterdir()] == ["state.safetensors"]
    with pytest.raises(Evicted):
        started(config(tmp_path, trial="t0002")).step()
    monkeypatch.delenv(VARIABLE)  # another machine
    elsewhere = started(config(tmp_path))
    assert scores([elsewhere.step() for _ in range(3)]) == scores(results)
    assert not saved.exists()
    assert (tmp_path / "trials/t0001/step-000006/state.safetensors").read_bytes() == (
        folder / "trials/t0001/step-000006/state.safetensors"
    ).read_bytes()


def test_a_notice_with_nowhere_to_go_saves_once_and_trains_on(whole, tmp_path, notice_at):
    folder, results = whole
    shutil.copytree(folder / "cache", tmp_path / "cache")
    notice_at(1, leave=False)
    trial = started(config(tmp_path))
    assert scores([trial.step()]) == scores(results[:1])
    assert not (tmp_path / "trials" / "t0001" / "step-000001").exists(), "the rung's own state has taken its place"
    assert scores([trial.step() for _ in range(2)]) == scores(results[1:])


def test_a_reused_actor_is_as_a_fresh_one(whole, tmp_path):
    _, results = whole
    actor = started(config(tmp_path, trial="t0009", recipe=OTHER))
    actor.step()
    assert actor.reset_config(config(tmp_path)) is True
    assert scores([actor.step() for _ in range(3)]) == scores(results)


def test_what_goes_wrong_is_reported_and_the_actor_lives_on(whole, tmp_path):
    folder, results = whole
    actor = started(config(tmp_path, subject=str(tmp_path / "nobody")))
    failed = actor.step()
    assert failed["done"] and "nobody" in failed["failure"] and "\n" not in failed["failure"]
    actor.reset_config(config(folder))
    assert text(actor.step()) == text(results[0])


def test_a_loss_that_is_not_finite_is_a_failure_and_scores_nothing(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(FineTune, "_loss", lambda self, predicted, batch: predicted.sum() * torch.nan)
    failed = started(config(tmp_path)).step()
    assert failed["done"] and "not finite" in failed["failure"] and failed["steps"] == 0
    assert not list(tmp_path.glob("trials/*/*/observation.json"))


def test_a_checkpoint_is_scored_in_every_way_that_it_is_drawn_and_trained_once(whole, tmp_path):
    folder, results = whole
    ways = (Inference(), Inference(lora_scale=0.5))
    several = config(tmp_path, panel=PANEL.model_copy(update={"inferences": ways}))
    shutil.copytree(folder / "cache", tmp_path / "cache")
    trial = started(several)
    result = trial.step()
    assert [(o["label"], o["inference"]) for o in result["observations"]] == [
        ("", ways[0].model_dump()), ("cfg3-cn1-lora0.5", ways[1].model_dump()),
    ]  # fmt: skip
    main, other = result["observations"]
    assert main["scores"] == results[0]["observations"][0]["scores"] != other["scores"]
    assert main["cost"]["train"] > 0 == other["cost"]["train"] and other["cost"]["score"] > 0
    assert {"grid.png", "grid-cfg3-cn1-lora0.5.png"} <= {path.name for path in Path(result["folder"]).iterdir()}
    assert scores([trial.step()])[0][1][0] == scores(results)[1][1][0], "scoring in other ways changes no training"
    assert text(started(several).step()) == text(result)


def test_a_checkpoint_from_before_there_were_several_ways_is_read(whole, tmp_path):
    folder, results = whole
    shutil.copytree(folder / "trials", tmp_path / "trials")
    path = tmp_path / "trials" / "t0001" / "step-000002" / "observation.json"
    (values,) = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in values.items() if key not in ("inference", "label")}))
    result = started(config(tmp_path)).step()
    assert text(result["observations"]) == text(results[0]["observations"])


def test_out_of_memory_is_told_and_not_the_end(tmp_path):
    """As on a card that is full: the trial gives up what it has, and another process goes on from its checkpoint."""
    values = config(tmp_path, recipe=OTHER)
    trial = started(values | {"memory": 10**9})
    first = trial.step()
    assert first["steps"] == 2 and not trial._finetune.engine.halves

    def full(module: torch.nn.Module, args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\n Tried to allocate 2 GiB")

    handle = trial._studio.base.unet.register_forward_pre_hook(full)
    told = trial.step()
    handle.remove()
    assert told["out_of_memory"] and not told["done"] and (told["steps"], told["toward"]) == (2, 4)
    assert told["failure"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    assert trial._finetune is None
    again = started(values)
    assert text(again.step()) == text(first)
    assert again.step()["steps"] == 4 and again._finetune.engine.halves


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "truncated":
        data = data[: len(data) // 2]
    else:
        data[-1000] ^= 1  # of the last tensor's values: it is read without complaint
    path.write_bytes(data)


@pytest.mark.parametrize("how, which", [("bit flipped", [4]), ("truncated", [2, 4])])
def test_a_damaged_state_is_told_and_the_one_before_is_used(whole, tmp_path, how, which):
    folder, results = whole
    shutil.copytree(folder / "cache", tmp_path / "cache")
    first = started(config(tmp_path))
    first.step(), first.step()
    first.cleanup()
    for steps in which:
        damage(tmp_path / f"trials/t0001/step-{steps:06d}/state.safetensors", how)
    again = started(config(tmp_path))
    after = [again.step() for _ in range(3)]
    assert scores(after) == scores(results)
    (note,) = after[-1]["notes"]
    assert ("the checksum differs" if how == "bit flipped" else "is not a state to go on from") in note
    assert note.endswith(f"it is trained on from step {2 if which == [4] else 0} again") and not results[-1]["notes"]


def test_a_damaged_observation_is_told_and_the_checkpoint_scored_again(whole, tmp_path):
    folder, results = whole
    shutil.copytree(folder / "cache", tmp_path / "cache")
    first = started(config(tmp_path))
    first.step(), first.step()
    first.cleanup()
    damage(tmp_path / "trials/t0001/step-000002/observation.json", "truncated")
    again = started(config(tmp_path))
    after = [again.step() for _ in range(3)]
    assert scores(after) == scores(results), "scored with its own weights, not those of the next checkpoint"
    assert "observation.json cannot be used (" in after[-1]["notes"][0]


def test_another_recipes_checkpoint_by_the_same_name_is_not_taken_for_its_own(whole, tmp_path):
    folder, results = whole
    shutil.copytree(folder / "cache", tmp_path / "cache")
    other = started(config(tmp_path, recipe=OTHER))
    other.step()
    other.cleanup()
    mine = started(config(tmp_path))
    after = [mine.step() for _ in range(3)]
    assert scores(after) == scores(results) and "of another recipe or seed" in after[0]["notes"][0]


def test_a_full_disk_is_no_failure_of_the_trial_and_leaves_half_of_nothing(tmp_path, monkeypatch):
    import errno

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    trial = started(config(tmp_path))
    monkeypatch.setattr("trainables.finetune.save_file", full)
    result = trial.step()
    assert "No space left on device" in result["halt"] and result["done"] and not result.get("failure")
    trials = tmp_path / "trials"
    assert trials.is_dir() and not [*trials.rglob("*.partial"), *trials.rglob("observation.json")]


def test_damage_of_an_adapter_is_found(whole, tmp_path):
    from spaces import InputError
    from trainables.checkpoints.checksums import check

    folder, _ = whole
    shutil.copytree(folder / "trials", tmp_path / "trials")
    adapter = tmp_path / "trials/t0001/step-000004/adapter"
    check(adapter)
    weights = next(adapter.glob("*.safetensors"))
    damage(weights, "bit flipped")
    with pytest.raises(InputError, match=f"{weights.name}: is damaged"):
        check(adapter)
