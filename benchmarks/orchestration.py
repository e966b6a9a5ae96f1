"""Trials a second with trials that cost nothing, ours beside plain Ray Tune: `python -m benchmarks.orchestration`.

Every trial reports at four rungs and computes nothing. Ours is the whole path: a journal that is on the disk before
anything else hears of a result, MLflow, a live report, adapters that are pruned and kept, plots. Plain is Ray Tune
with `OptunaSearch`, `AsyncHyperBandScheduler` and `MLflowLoggerCallback`, as its documentation writes them down, and
once more with `reuse_actors`. Each runs in a process of its own, on two CPU cores, with a new MLflow database on disk.
The last column is the driver process's own processor time, from its start to its end.
"""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from ray import tune

RUNGS, ETA, CPUS = (10, 20, 40, 80), 3, 2
SPACE = f"""
subject: nowhere
rungs: {list(RUNGS)}
eta: {ETA}
recipe:
  rank: {{low: 2, high: 64, log: true}}
  learning_rate: {{low: 1.0e-4, high: 5.0e-3, log: true}}
  dropout: {{low: 0.0, high: 0.4}}
"""
WAYS = ("ours", "plain, reuse_actors", "plain")
ROW = "{:22s} {:>8} {:>9} {:>10} {:>10} {:>10} {:>10} {:>14}"


def scores(values: dict[str, Any], steps: int) -> dict[str, float]:
    """Identity rises with steps and rank, pose falls."""
    pull = values["learning_rate"] * 1e3 * math.log2(1 + values["rank"]) * steps / 400
    pose = math.exp(-0.3 * pull) - 0.2 * values["dropout"]
    return {"identity": 1 - math.exp(-pull), "pose": pose, "pose_hard": 0.9 * pose, "drift": 0.1 * pull}


class Ours(tune.Trainable):
    """Scores in closed form, and the files of a checkpoint, so that there is something to prune and to keep."""

    def setup(self, config: dict[str, Any]) -> None:
        self._config, self._rung = config, 0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        job, trial, steps = self._config["job"], self._config["trial"], RUNGS[self._rung]
        self._rung += 1
        folder = Path(job["folder"]) / "trials" / trial / f"step-{steps:06d}"
        (folder / "adapter").mkdir(parents=True, exist_ok=True)
        (folder / "adapter" / "weights.safetensors").write_bytes(b"adapter")
        (folder / "state.safetensors").write_bytes(b"state")
        observation = {
            "scores": scores(self._config["recipe"], steps), "cells": {}, "cost": {"train": 0.0},
            "inference": job["panel"]["inferences"][0], "label": "",
        }  # fmt: skip
        (folder / "observation.json").write_text(json.dumps(observation))
        done = self._rung == len(RUNGS)
        result = {"trial": trial, "steps": steps, "observations": [observation], "folder": str(folder)}
        return result | {"failure": None, "done": done}


class Plain(tune.Trainable):
    """The same scores. Tune saves a trial at its end, so one small file too."""

    def setup(self, config: dict[str, Any]) -> None:
        self._config, self._rung = config, 0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        scored = scores(self._config, RUNGS[self._rung])
        self._rung += 1
        return scored | {"mean": (scored["identity"] + scored["pose"]) / 2, "done": self._rung == len(RUNGS)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "rung").write_text(str(self._rung))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self._rung = int((Path(checkpoint_dir) / "rung").read_text())


def ours(home: Path, trials: int) -> dict[str, float]:
    from rich.console import Console

    from search.config import SweepConfig
    from search.journal import read
    from search.sweep import run
    from search.views.live import PlainLines
    from trainables.job import Job

    job = Job(folder=str(home / "sweep"), cache=str(home / "cache"), subject="nowhere", rungs=RUNGS)
    config = SweepConfig.make(
        name="sweep", space_name="trivial", space_text=SPACE, job=job, trials=trials, workers=CPUS,
        tracking_uri=f"sqlite:///{home}/mlflow.db", artifacts=str(home / "mlartifacts"),
    )  # fmt: skip
    with (home / "lines.txt").open("w") as lines:
        timing = run(config, PlainLines(Console(file=lines, width=200), config.space, trials), Ours).timing
    ledger = read(home / "sweep")
    return {"trials": len(ledger.endings), "results": len(ledger.observed), "start": timing.start, "wall": timing.wall,
            "drain": timing.drain}  # fmt: skip


def plain(home: Path, trials: int, reuse_actors: bool) -> dict[str, float]:
    import ray
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.schedulers import AsyncHyperBandScheduler
    from ray.tune.search.optuna import OptunaSearch

    began = time.monotonic()
    ray.init(
        address="local", num_cpus=CPUS, include_dashboard=False, object_store_memory=150_000_000, log_to_driver=False
    )
    started = time.monotonic()
    tuner = tune.Tuner(
        Plain,
        param_space={
            "rank": tune.lograndint(2, 65), "learning_rate": tune.loguniform(1e-4, 5e-3),
            "dropout": tune.uniform(0, 0.4),
        },
        tune_config=tune.TuneConfig(
            metric="mean", mode="max", num_samples=trials, search_alg=OptunaSearch(), reuse_actors=reuse_actors,
            scheduler=AsyncHyperBandScheduler(max_t=len(RUNGS), grace_period=1, reduction_factor=ETA),
            max_concurrent_trials=CPUS,
        ),
        run_config=tune.RunConfig(
            name="sweep", storage_path=str(home), verbose=1,
            callbacks=[MLflowLoggerCallback(tracking_uri=f"sqlite:///{home}/mlflow.db", experiment_name="sweep")],
        ),
    )  # fmt: skip
    results = tuner.fit()
    ended = time.monotonic()
    ray.shutdown()
    reports = sum(result.metrics["training_iteration"] for result in results)
    return {"trials": len(results), "results": reports, "start": started - began, "wall": ended - began, "drain": 0.0}


def apart(way: str, trials: int) -> dict[str, float]:
    """What one way took, in a process of its own."""
    with TemporaryDirectory() as home:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
        command = [sys.executable, "-m", "benchmarks.orchestration", "--trials", str(trials), "--inside", way]
        told = subprocess.run(
            [*command, "--home", home], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    return json.loads(told.stdout.splitlines()[-1])


def main(
    trials: Annotated[int, typer.Option(min=1)] = 60,
    inside: Annotated[str, typer.Option(hidden=True)] = "",
    home: Annotated[Path, typer.Option(hidden=True)] = Path(),
) -> None:
    if inside:
        took = ours(home, trials) if inside == "ours" else plain(home, trials, inside != "plain")
        print(json.dumps(took | {"cpu": time.process_time()}))
        return
    print(ROW.format("", "trials", "results", "Ray up, s", "rest, s", "trials/s", "results/s", "CPU ms/result"))
    rates = {}
    for way in WAYS:
        took = apart(way, trials)
        rest = took["wall"] - took["start"]
        rates[way] = took["trials"] / rest
        shown = f"{took['start']:.1f}", f"{rest:.1f}", f"{rates[way]:.2f}", f"{took['results'] / rest:.1f}"
        shown = *shown, f"{1e3 * took['cpu'] / took['results']:.0f}"
        print(ROW.format(way, took["trials"], took["results"], *shown), flush=True)
    for way in WAYS[1:]:
        print(f"ours, of {way}: {rates['ours'] / rates[way]:.1f} times the trials a second")


if __name__ == "__main__":
    typer.run(main)
