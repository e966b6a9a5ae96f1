"""A real search of the puppets' space, ours beside Ray's default, in equal seconds: `python -m benchmarks.real`.

Both train and score real fine-tunes with the same code (`trainables.trial.Trial`), on the same panel, two at a time,
for the same seconds by the clock from the first import on; whatever was scored by then counts. *Ray's default* is what
its documentation leads to: `OptunaSearch` over the same space with the mean of the losses as its metric, and
`AsyncHyperBandScheduler` with the same rungs, `reuse_actors` on. Each run is a process of its own, the two of a seed
one after the other. A finished run is a line of a file in the work folder and is not made again. Hypervolumes are of
scores as the panel gave them: both are as lucky as the number of their checkpoints lets them be.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ray import tune
from scipy import stats

from benchmarks.peers.optuna_peers import drawn
from search.front import front_of, hypervolume_of
from spaces import Inference, Observation, Recipe, Space, load_space, to_losses
from trainables.job import Job

WAYS = ("ours", "Ray's default")
CPUS = 2
ROW = "{:>5} {:14s} {:>8} {:>12} {:>9} {:>13}"


class Plain(tune.Trainable):
    """A rung a step, as a user of Tune would write it: flat parameters in, one number out."""

    def setup(self, config: dict[str, Any]) -> None:
        from trainables.trial import Trial

        self._trial = Trial.__new__(Trial)
        self._trial.setup(self._asked(config))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return self._trial.reset_config(self._asked(new_config))

    def step(self) -> dict[str, Any]:
        result = self._trial.step()
        if result.get("failure"):
            raise RuntimeError(result["failure"])
        space, scores = load_space(self._space), result["observations"][0]["scores"]
        with (self._folder / "scored.jsonl").open("a", encoding="utf-8") as file:
            row = {"at": time.time(), "trial": self.trial_id, "steps": result["steps"], "scores": scores}
            file.write(json.dumps(row) + "\n")
        loss = float(to_losses(space.objectives, [scores]).mean())
        return {"loss": loss, "steps": result["steps"], "done": result["done"]}

    def cleanup(self) -> None:
        self._trial.cleanup()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the trial has its own."""

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing, as above."""

    def _asked(self, config: dict[str, Any]) -> dict[str, Any]:
        values = {name: value for name, value in config.items() if name not in ("job", "space")}
        self._space, self._folder = config["space"], Path(config["job"]["folder"])
        recipe = load_space(self._space).recipe(values).model_dump()
        seed = zlib.crc32(self.trial_id.encode())
        return {"job": config["job"], "trial": self.trial_id, "recipe": recipe, "seed": seed}


def job_in(home: Path, space: Space) -> Job:
    return Job(folder=str(home / "sweep"), cache=str(home.parent / "cache"), subject=space.subject, rungs=space.rungs)


def ours(home: Path, name: str, seed: int, seconds: float) -> list[dict[str, Any]]:
    """By the command, as its users run it."""
    began = time.time()
    command = [sys.executable, "-m", "search", "sweep", name, "--name", "sweep", "--home", str(home)]
    bounds = ["--hours", str(seconds / 3600), "--seed", str(seed), "--workers", str(CPUS)]
    subprocess.run([*command, *bounds], check=True, stdout=subprocess.DEVNULL)
    from search.journal import Observed, events

    scored = [event for event in events(home / "sweep") if isinstance(event, Observed)]
    return [
        {"after": event.time - began, "trial": o.trial, "steps": o.steps, "scores": o.scores}
        for event in scored
        for o in event.observations
    ]


def rays(home: Path, name: str, seed: int, seconds: float) -> list[dict[str, Any]]:
    began = time.time()
    import ray
    from ray.tune.schedulers import AsyncHyperBandScheduler
    from ray.tune.search.optuna import OptunaSearch

    space = load_space(name)
    job = job_in(home, space).model_dump(mode="json")
    asked = partial(_asked, space, {"job": job, "space": name})

    ray.init(
        address="local", num_cpus=CPUS, include_dashboard=False, object_store_memory=150_000_000, log_to_driver=False
    )
    told = {"metric": "loss", "mode": "min"}
    scheduler = AsyncHyperBandScheduler(
        time_attr="steps", max_t=space.rungs[-1], grace_period=space.rungs[0], reduction_factor=space.eta, **told
    )
    tune.Tuner(
        tune.with_resources(Plain, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            num_samples=-1, search_alg=OptunaSearch(asked, seed=seed, **told), scheduler=scheduler, reuse_actors=True,
            max_concurrent_trials=CPUS, time_budget_s=seconds - (time.time() - began),
        ),
        run_config=tune.RunConfig(name="tune", storage_path=str(home), verbose=0),
    ).fit()  # fmt: skip
    ray.shutdown()
    rows = [json.loads(line) for line in (home / "sweep" / "scored.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{"after": row.pop("at") - began, **row} for row in rows]


def _asked(space: Space, constant: dict[str, Any], trial: Any) -> dict[str, Any]:
    """Tune's snapshots want it at the top of a module."""
    drawn(trial, space)
    return constant


def volume(rows: list[dict[str, Any]], space: Space, seconds: float) -> tuple[float, int]:
    """Hypervolume of what was scored in time, and how many checkpoints are on its front."""
    table = [
        Observation(row["trial"], Recipe(), 0, row["steps"], row["scores"], inference=Inference())
        for row in rows
        if row["after"] <= seconds
    ]
    return hypervolume_of(table, space.objectives), len(front_of(table, space.objectives))


def apart(way: str, name: str, seed: int, seconds: float, work: Path) -> list[dict[str, Any]]:
    """What one run scored, made in a process and a folder of its own."""
    home = (work / f"{WAYS.index(way)}-{seed}").absolute()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.real", "--inside", way, "--home", str(home), "--space", name]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "RAY_worker_niceness": "0"}
    subprocess.run(
        [*command, "--first-seed", str(seed), "--seconds", str(seconds)], env=environment, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return json.loads((home / "rows.json").read_text(encoding="utf-8"))


def main(
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[float, typer.Option(min=30, help="By the clock, of each run.")] = 600,
    space: Annotated[str, typer.Option()] = "puppets",
    work: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("scratch/real"),
    first_seed: Annotated[int, typer.Option(min=0)] = 0,
    inside: Annotated[str, typer.Option(hidden=True)] = "",
    home: Annotated[Path, typer.Option(hidden=True)] = Path(),
) -> None:
    if inside:
        rows = (ours if inside == "ours" else rays)(home, space, first_seed, seconds)
        (home / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        return
    work.mkdir(parents=True, exist_ok=True)
    kept = work / "runs.jsonl"
    runs = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.exists() else []
    found = {way: [] for way in WAYS}
    print(ROW.format("seed", "", "trials", "checkpoints", "on front", "hypervolume"))
    for seed in range(first_seed, first_seed + seeds):
        for way in WAYS:
            key = {"way": way, "seed": seed, "seconds": seconds, "space": space}
            run = next((run for run in runs if run.items() >= key.items()), None)
            if run is None:
                run = key | {"rows": apart(way, space, seed, seconds, work)}
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(run) + "\n")
            in_time = [row for row in run["rows"] if row["after"] <= seconds]
            reached, on_front = volume(run["rows"], load_space(space), seconds)
            found[way].append(reached)
            trials = len({row["trial"] for row in in_time})
            print(ROW.format(seed, way, trials, len(in_time), on_front, f"{reached:.3f}"), flush=True)
    one, other = (np.array(found[way]) for way in WAYS)
    print(f"medians {np.median(one):.3f} and {np.median(other):.3f}; ours is more in {(one > other).sum()} of {seeds}")
    if seeds > 1:
        half = stats.t.ppf(0.975, seeds - 1) * stats.sem(one - other)
        print(f"difference, paired: {(one - other).mean():+.3f} ± {half:.3f} (95 %)")


if __name__ == "__main__":
    typer.run(main)
