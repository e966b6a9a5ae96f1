"""What a sweep leaves in MLflow: everything once, also when the driver was killed in between."""

import contextlib
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from analysis.observations import from_mlflow
from search.recording.drawing import PLOTS, draw
from search.tracking import Tracking
from spaces import Cost, Inference, InputError, Observation, Recipe
from tests.search.examples import small_space

RECIPE = Recipe(rank=4, learning_rate=1.25e-4, text_encoder="lora", targets="attention+ff")
BASE = {"identity": 0.3, "pose": 0.8, "drift": 0.0}


def observation(trial: str = "t0000", steps: int = 10, identity: float = 0.5, recipe: Recipe = RECIPE) -> Observation:
    scores = {"identity": identity, "pose": 0.7, "drift": 0.1}
    return Observation(trial, recipe, 17, steps, scores, {}, Cost(1.5, 0.25, 0.125))


def checkpoint(home: Path, trial: str, steps: int) -> Path:
    """A checkpoint's folder with a picture and an adapter."""
    folder = home / "trials" / trial / f"step-{steps:06d}"
    (folder / "adapter").mkdir(parents=True, exist_ok=True)
    (folder / "adapter" / "unet.safetensors").write_bytes(b"weights")
    (folder / "adapter" / "unet.json").write_text("{}")
    (home / "panel").mkdir(exist_ok=True)
    for picture in (folder / "grid.png", home / "panel" / "base.png"):
        Image.new("RGB", (48, 32), "teal").save(picture)
    return folder


class Sweep:
    """One sweep's tracking, and MLflow's own view of it."""

    def __init__(self, uri: str, home: Path) -> None:
        self.uri, self.home, self.client = uri, home, MlflowClient(uri)
        self.tracking = Tracking(uri, str(home / "mlartifacts"), "mine")

    def restart(self) -> Tracking:
        parent = self.tracking.parent_run_id
        self.tracking = Tracking(self.uri, str(self.home / "mlartifacts"), "mine", parent)
        assert self.tracking.parent_run_id == parent
        return self.tracking

    def observe(self, trial: str, *steps: int) -> None:
        self.tracking.trial_started(trial, RECIPE, 17, 1e9)
        for step in steps:
            self.tracking.observed([observation(trial, step)], checkpoint(self.home, trial, step), 1e9 + step)

    def keep(self, *front: tuple[str, int]) -> None:
        self.tracking.keep_adapters([(observation(t, s), checkpoint(self.home, t, s)) for t, s in front])

    @property
    def parent(self) -> Run:
        return self.client.get_run(self.tracking.parent_run_id)

    def children(self) -> dict[str, Run]:
        runs = self.client.search_runs([self.parent.info.experiment_id])
        mine = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == self.tracking.parent_run_id]
        assert len({r.info.run_name for r in mine}) == len(mine)
        return {r.info.run_name: r for r in mine}

    def artifacts(self, run: Run, folder: str | None = None) -> list[str]:
        return sorted(info.path for info in self.client.list_artifacts(run.info.run_id, folder))

    def values(self, run: Run, metric: str) -> list[tuple[int, float]]:
        return [(m.step, m.value) for m in self.client.get_metric_history(run.info.run_id, metric)]


@pytest.fixture
def sweep(tracking_uri: str, tmp_path: Path) -> Sweep:
    return Sweep(tracking_uri, tmp_path)


def test_the_sweep_is_a_run_with_its_settings_and_a_description(sweep: Sweep):
    sweep.tracking.describe({"space": "small", "trials": 24}, {"version": "0.1"})
    run = sweep.parent
    assert run.info.run_name == "mine" and run.info.status == "RUNNING"
    assert run.data.params == {"space": "small", "trials": "24"}
    assert run.data.tags["version"] == "0.1"
    sweep.tracking.tell("found **nothing** yet")
    assert sweep.parent.data.tags["mlflow.note.content"] == "found **nothing** yet"
    assert run.info.run_id in sweep.tracking.addresses.artifact("pareto.html")


def test_a_trial_is_a_nested_run_with_its_recipe(sweep: Sweep):
    sweep.tracking.trial_started("t0000", RECIPE, 17, 1e9)
    run = sweep.children()["t0000"]
    assert run.data.params == {name: str(value) for name, value in RECIPE.flat().items()}
    assert run.data.tags["trial"] == "t0000" and run.data.tags["seed"] == "17"
    assert run.info.status == "RUNNING"


def test_an_observation_is_scores_costs_and_a_picture_at_its_steps(sweep: Sweep):
    sweep.observe("t0000", 10, 20)
    run = sweep.children()["t0000"]
    assert sweep.values(run, "identity") == [(10, 0.5), (20, 0.5)]
    assert sweep.values(run, "seconds.train") == [(10, 1.5), (20, 1.5)]
    pictures = [path for path in sweep.artifacts(run, "images") if path.endswith(".png")]
    assert [path.split("+")[2] for path in pictures] == ["0", "10", "20"], "the base at 0, then the checkpoints"


@pytest.mark.parametrize("second, tag", [("NVIDIA L4", "NVIDIA L4"), ("CPU (x)", "10: NVIDIA L4; 20: CPU (x)")])
def test_device_and_memory_are_there_and_come_back(sweep: Sweep, second: str, tag: str):
    costs = Cost(1.5, 0.25, 0.125, "NVIDIA L4", 7 * 10**9 + 1, 24 * 10**9), Cost(2.5, device=second)
    made = [replace(observation(steps=steps), cost=cost) for steps, cost in zip((10, 20), costs, strict=True)]
    sweep.tracking.trial_started("t0000", RECIPE, 17, 1e9)
    for o in made:
        sweep.restart().observed([o], checkpoint(sweep.home, "t0000", o.steps), 1e9)
    run = sweep.children()["t0000"]
    assert run.data.tags["device"] == tag
    assert sweep.values(run, "peak_memory") == [(10, 7 * 10**9 + 1)], "what was not measured is no number"
    assert from_mlflow(sweep.uri, "mine") == made


def test_another_way_to_draw_is_a_section_of_metrics_and_comes_back(sweep: Sweep):
    weak = Inference(lora_scale=0.5)
    other = replace(observation(identity=0.25), inference=weak, label=weak.name, cost=Cost(score=0.25))
    ways = [Inference().model_dump(), weak.model_dump()]
    sweep.tracking.describe({"inferences": json.dumps(ways)}, {})
    sweep.tracking.trial_started("t0000", RECIPE, 17, 1e9)
    sweep.tracking.observed([observation(), other], checkpoint(sweep.home, "t0000", 10), 1e9)
    run = sweep.children()["t0000"]
    assert sweep.values(run, "identity") == [(10, 0.5)]
    assert sweep.values(run, "cfg3-cn1-lora0.5/identity") == [(10, 0.25)]
    assert from_mlflow(sweep.uri, "mine") == [observation(), other]


def test_a_checkpoint_without_a_picture_has_its_scores(sweep: Sweep, tmp_path: Path):
    sweep.tracking.trial_started("t0000", RECIPE, 17, 1e9)
    sweep.tracking.observed([observation()], tmp_path / "trials" / "t0000" / "step-000010", 1e9)
    assert sweep.values(sweep.children()["t0000"], "pose") == [(10, 0.7)]


@pytest.mark.parametrize("status, shown", [("finished", "FINISHED"), ("stopped", "FINISHED"), ("failed", "FAILED")])
def test_how_a_trial_ended(sweep: Sweep, status: str, shown: str):
    sweep.observe("t0000", 10, 20)
    sweep.tracking.trial_ended("t0000", status, "loss was nan at step 31", 2e9)
    run = sweep.children()["t0000"]
    assert run.info.status == shown
    assert run.data.tags["reason"] == "loss was nan at step 31"
    assert run.data.tags["status"] == status and run.data.tags["stopped_at"] == "20"


def test_everything_told_again_after_a_restart_is_there_once(sweep: Sweep):
    def tell() -> None:
        sweep.tracking.describe({"space": "small"}, {})
        sweep.observe("t0000", 10, 20)
        sweep.tracking.trial_ended("t0000", "stopped", "ranked 4 of 5 at 20 steps", 2e9)
        sweep.observe("t0001", 10)

    tell()
    before = {name: (run.to_dictionary(), sweep.artifacts(run, "images")) for name, run in sweep.children().items()}
    tell()
    sweep.restart()
    tell()
    after = {name: (run.to_dictionary(), sweep.artifacts(run, "images")) for name, run in sweep.children().items()}
    assert after == before
    assert sweep.values(sweep.children()["t0000"], "identity") == [(10, 0.5), (20, 0.5)]


def test_what_a_crash_cut_short_is_made_good(sweep: Sweep, monkeypatch: pytest.MonkeyPatch):
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowClient, "log_batch", crash)
        sweep.tracking.trial_started("t0000", RECIPE, 17, 1e9)  # the run is there, its parameters are not
    sweep.restart().trial_started("t0000", RECIPE, 17, 1e9)
    assert sweep.children()["t0000"].data.params["rank"] == "4"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowClient, "log_batch", crash)
        sweep.observe("t0000", 10)  # the picture is there, the scores are not
    sweep.restart()
    sweep.observe("t0000", 10)
    run = sweep.children()["t0000"]
    assert sweep.values(run, "identity") == [(10, 0.5)]
    assert len([path for path in sweep.artifacts(run, "images") if path.endswith(".png")]) == 2


def test_a_resumed_sweep_runs_again_and_may_have_other_settings(sweep: Sweep):
    sweep.tracking.describe({"trials": 24}, {})
    sweep.tracking.finish("interrupted", 2e9)
    assert sweep.parent.info.status == "KILLED" and sweep.parent.data.tags["status"] == "interrupted"
    sweep.restart().describe({"trials": 48, "sampler": "tpe"}, {"version": "2"})
    assert sweep.parent.info.status == "RUNNING"
    assert sweep.parent.data.params == {"trials": "24", "sampler": "tpe"}
    sweep.tracking.finish("finished", 2e9)
    assert sweep.parent.info.status == "FINISHED" and sweep.parent.data.tags["status"] == "finished"


def test_hypervolume_over_trials_seconds_and_what_gpus_took(sweep: Sweep):
    told = (0.25, 1e9, 3, 61.4, 100.6), (0.5, 2e9, 5, 99.6, 180.0), (0.75, 2e9 + 0.5, 5, 99.6, 180.4)
    for _ in range(2):
        for value, at, trials, seconds, costs in told:
            sweep.tracking.hypervolume(value, at, trials=trials, seconds=seconds, GPU_seconds=costs)
        sweep.restart()
    assert sweep.values(sweep.parent, "hypervolume over trials") == [(3, 0.25), (5, 0.5), (5, 0.75)]
    assert sweep.values(sweep.parent, "hypervolume over seconds") == [(61, 0.25), (100, 0.5), (100, 0.75)]
    assert sweep.values(sweep.parent, "hypervolume over GPU seconds") == [(101, 0.25), (180, 0.5), (180, 0.75)]
    when = sweep.client.get_metric_history(sweep.tracking.parent_run_id, "hypervolume over GPU seconds")
    assert [m.timestamp for m in when] == [10**12, 2 * 10**12, 2 * 10**12 + 500], "when it was so, not when it was told"


def test_plots_are_in_the_folder_and_in_mlflow(sweep: Sweep, tmp_path: Path):
    draw([observation()], BASE, small_space(), tmp_path)
    assert "at 20 steps" not in (tmp_path / "pareto.html").read_text()
    draw([observation(), observation(steps=20, identity=0.6)], BASE, small_space(), tmp_path)
    assert "at 20 steps" in (tmp_path / "pareto.html").read_text()
    sweep.tracking.plots([tmp_path / name for name in PLOTS])
    assert sweep.artifacts(sweep.parent) == ["pareto.html", "pareto.png"]
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".pareto")]
    in_mlflow = Path(sweep.client.download_artifacts(sweep.tracking.parent_run_id, "pareto.html"))
    assert in_mlflow.read_text() == (tmp_path / "pareto.html").read_text()


def test_a_sweep_whose_run_is_not_known_is_found_by_its_identity(tracking_uri: str, tmp_path: Path):
    first = Tracking(tracking_uri, "", "mine", None, "mine@1")
    assert Tracking(tracking_uri, "", "mine", None, "mine@1").parent_run_id == first.parent_run_id
    assert Tracking(tracking_uri, "", "mine", "0" * 32, "mine@1").parent_run_id == first.parent_run_id
    assert Tracking(tracking_uri, "", "mine", None, "mine@2").parent_run_id != first.parent_run_id
    MlflowClient(tracking_uri).delete_run(first.parent_run_id)
    assert Tracking(tracking_uri, "", "mine", first.parent_run_id, "mine@1").parent_run_id != first.parent_run_id


@pytest.mark.parametrize("call", ["create_run", "log_image", "log_batch"])
def test_a_call_whose_answer_was_lost_is_made_once(sweep: Sweep, monkeypatch: pytest.MonkeyPatch, call: str):
    sweep.restart()
    done = getattr(MlflowClient, call)

    def lost(*arguments: object, **named: object) -> None:
        done(*arguments, **named)
        raise ConnectionError("no answer")

    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(MlflowClient, call, lost)
        sweep.observe("t0000", 10)
    for _ in range(2):  # `log_batch` takes the parameters in the first go, the scores in the second
        with monkeypatch.context() as patch, contextlib.suppress(ConnectionError):
            patch.setattr(MlflowClient, call, lost)
            sweep.observe("t0000", 10)
    sweep.observe("t0000", 10)
    run = sweep.children()["t0000"]
    assert sweep.values(run, "identity") == [(10, 0.5)] and run.data.params["rank"] == "4"
    assert len([path for path in sweep.artifacts(run, "images") if path.endswith(".png")]) == 2


def test_only_the_front_keeps_its_adapters(sweep: Sweep):
    sweep.observe("t0000", 10, 20)
    sweep.observe("t0001", 10)
    sweep.keep(("t0000", 10), ("t0000", 20))
    run = sweep.children()["t0000"]
    assert sweep.artifacts(run, "adapter-000010") == [
        "adapter-000010/unet.json", "adapter-000010/unet.safetensors",
    ]  # fmt: skip
    sweep.keep(("t0000", 20), ("t0001", 10))
    sweep.keep(("t0000", 20), ("t0001", 10))
    assert sweep.artifacts(sweep.children()["t0000"]) == ["adapter-000020", "images"]
    sweep.restart()
    sweep.keep(("t0001", 10))
    children = sweep.children()
    assert sweep.artifacts(children["t0000"]) == ["images"]
    assert sweep.artifacts(children["t0001"]) == ["adapter-000010", "images"]


def test_one_filter_finds_the_runs_of_the_front_as_it_is_now(sweep: Sweep):
    def front(*names: tuple[str, int]) -> dict[str, str]:
        sweep.tracking.mark_front([observation(trial, steps) for trial, steps in names])
        found = sweep.client.search_runs([sweep.parent.info.experiment_id], sweep.tracking.addresses.filter)
        return {run.info.run_name: run.data.tags["front_steps"] for run in found}

    for trial in ("t0000", "t0001", "t0002"):
        sweep.observe(trial, 10, 20)
    assert front(("t0000", 20), ("t0000", 10)) == {"t0000": "10, 20"}
    assert "front" not in sweep.children()["t0001"].data.tags, "a run that never was on it says nothing"
    sweep.restart()
    assert front(("t0000", 20), ("t0001", 10)) == {"t0000": "20", "t0001": "10"}
    assert front(("t0001", 10)) == {"t0001": "10"}
    assert sweep.children()["t0000"].data.tags["front"] == "no"


def test_an_adapter_half_copied_when_the_driver_died_is_copied_whole(sweep: Sweep, tmp_path: Path):
    sweep.observe("t0000", 10)
    (tmp_path / "unet.json").write_text("{}")
    sweep.client.log_artifact(sweep.children()["t0000"].info.run_id, str(tmp_path / "unet.json"), "adapter-000010")
    sweep.restart()
    sweep.keep(("t0000", 10))
    assert len(sweep.artifacts(sweep.children()["t0000"], "adapter-000010")) == 2


def test_observations_come_back_from_mlflow_as_they_were(sweep: Sweep):
    plain = Recipe(prior_weight=0.0, min_snr_gamma=5.0, dropout=0.1 + 0.2)
    sweep.observe("t0001", 20, 10)
    sweep.tracking.trial_started("t0000", plain, 17, 1e9)
    sweep.tracking.observed([observation("t0000", 10, 1 / 3, plain)], sweep.home, 1e9)
    expected = [observation("t0000", 10, 1 / 3, plain), observation("t0001", 10), observation("t0001", 20)]
    assert from_mlflow(sweep.uri, "mine") == expected
    assert from_mlflow(sweep.uri, sweep.tracking.parent_run_id) == expected
    assert from_mlflow(sweep.uri, "another") == []


def test_a_sweep_that_is_not_there_or_not_the_only_one(sweep: Sweep):
    with pytest.raises(InputError, match="no sweep 'yours'; there are: another, mine"):
        from_mlflow(sweep.uri, "yours")
    Tracking(sweep.uri, "", "mine")
    with pytest.raises(InputError, match="several sweeps are named 'mine'"):
        from_mlflow(sweep.uri, "mine")


def test_a_server_that_does_not_answer_is_said_at_once():
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9 does not answer"):
        Tracking("http://127.0.0.1:9", "", "mine")


def test_a_deleted_experiment_is_said_with_its_remedy(sweep: Sweep):
    sweep.client.delete_experiment(sweep.parent.info.experiment_id)
    with pytest.raises(InputError, match="mlflow experiments restore"):
        Tracking(sweep.uri, "", "mine")


def test_opening_a_database_leaves_the_log_levels_as_they_were(tracking_uri: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logging.getLogger("alembic"), "level", logging.DEBUG)
    Tracking(tracking_uri, "", "mine")
    assert logging.getLogger("alembic").level == logging.DEBUG


def test_a_score_that_is_not_a_number_is_recorded_as_such(sweep: Sweep):
    broken = replace(observation(), scores={"identity": float("nan"), "pose": 0.5})
    sweep.tracking.trial_started("t0000", RECIPE, 17, 1e9)
    sweep.tracking.observed([broken], sweep.home, 1e9)
    [back] = from_mlflow(sweep.uri, "mine")
    assert back.scores["identity"] != back.scores["identity"] and back.scores["pose"] == 0.5
