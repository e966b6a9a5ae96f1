"""A trainable in closed form that keeps the trials' contract: files, scores, replay from disk, and failures on demand.

Failures are asked for by files in the sweep's cache, named by trial: `t0001.raise`, `t0001.nan`, `t0001.die` (at the
second rung, always), `t0001.die-once`, `t0001.hoard` (6 GB), `t0001.hang` and `t0001.hang-once` (in C, without giving
the interpreter free).
"""

import ctypes
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ray import cloudpickle, tune

from spaces import Cost, Inference, Observation, Recipe, labels
from trainables.job import Job
from trainables.machine.disk import disk_trouble
from trainables.storage import Carrier, StorageError


def scores(recipe: Recipe, steps: int) -> dict[str, float]:
    """Identity rises with steps and rank, pose falls: a trade-off with a front."""
    pull = recipe.learning_rate * 1e3 * math.log2(1 + recipe.rank) * steps / 400
    identity, pose = 1 - math.exp(-pull), math.exp(-0.3 * pull) - 0.2 * recipe.dropout
    names = {"identity": identity, "pose": pose, "pose_plain": pose, "pose_hard": 0.9 * pose}
    return names | {"drift": 0.1 * identity, "detection_rate": 1.0}


def noise(cache: str, seed: int, recipe: Recipe, steps: int, panel: bool) -> dict[str, float]:
    """What a seed and a panel add, by the deviation in the cache's file `noise`; without it nothing."""
    path = Path(cache) / "noise"
    if not path.exists():
        return {}
    deviation = float(path.read_text())
    own = np.random.default_rng([seed, steps, panel, *recipe.model_dump_json().encode()])
    return dict(zip(("identity", "pose"), own.normal(0, deviation, 2).tolist(), strict=True))


def drawn(values: dict[str, float], way: Inference) -> dict[str, float]:
    """A weaker LoRA gives identity up for pose."""
    identity, pose = values["identity"] * way.lora_scale, values["pose"] + 0.1 * (1 - way.lora_scale)
    return values | {"identity": identity, "pose": pose}


class Curves(tune.Trainable):
    """Waits a moment at each rung (seconds in the cache's file `seconds`) and writes what a trial writes."""

    def setup(self, config: dict[str, Any]) -> None:
        self._job, self._trial, self._seed = config["job"], config["trial"], config["seed"]
        self._recipe = Recipe.parse(config["recipe"])
        self._carrier = Carrier(Job.model_validate(self._job))
        self._begun = False
        self._score = [(steps, labels) for steps, labels in config.get("score") or ()]
        self._rungs = iter([steps for steps, _ in self._score] or self._job["rungs"])
        self._last = self._score[-1][0] if self._score else self._job["rungs"][-1]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._carrier.end()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        self._carrier.end()

    def step(self) -> dict[str, Any]:
        steps = next(self._rungs)
        try:
            if not self._begun:
                self._carrier.begin(self._trial)
                self._begun = True
            return self._step(steps)
        except (OSError, StorageError) as error:
            halt = disk_trouble(error) or str(error)
            return {"trial": self._trial, "steps": steps, "halt": halt, "failure": None, "done": True}

    def _step(self, steps: int) -> dict[str, Any]:
        folder = Path(self._carrier.job.folder) / "trials" / self._trial / f"step-{steps:06d}"
        saved = folder / "observation.json"
        if saved.exists():
            return self._result(steps, json.loads(saved.read_text()), folder)
        self._carrier.share(self._panel, "panel", "base.json")
        began = time.monotonic()
        time.sleep(float((Path(self._job["cache"]) / "seconds").read_text()))
        if self._wanted("raise"):
            return {"trial": self._trial, "steps": steps, "failure": "ValueError: rank 8 of\n  nothing", "done": True}
        if steps > self._job["rungs"][0] or self._score:
            self._perhaps_die()
        cost = Cost(train=time.monotonic() - began)
        ways = [Inference(**values) for values in self._job["panel"]["inferences"]]
        checkpoint = []
        for way, label in zip(ways, labels(ways), strict=True):
            if self._score and label not in dict(self._score)[steps]:
                continue
            values = drawn(scores(self._recipe, steps), way) | ({"pose": math.nan} if self._wanted("nan") else {})
            more = noise(self._job["cache"], self._seed, self._recipe, steps, self._job["panel"].get("held_out", False))
            values |= {name: values[name] + value for name, value in more.items()}
            cells = {"identity": [values["identity"], math.nan]}
            o = Observation(self._trial, self._recipe, self._seed, steps, values, cells, cost, way, label)
            checkpoint.append(o.to_json())
            cost = Cost()
        self._write(folder, checkpoint)
        return self._result(steps, checkpoint, folder)

    def _result(self, steps: int, checkpoint: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
        names = ("inference", "label", "scores", "cells", "cost")
        observations = [{name: observation[name] for name in names} for observation in checkpoint]
        done = steps == self._last
        self._carrier.push(folder)
        told = self._carrier.told(folder)
        result = {"trial": self._trial, "steps": steps, "observations": observations, "folder": told}
        return result | {"failure": None, "done": done}

    def _write(self, folder: Path, checkpoint: list[dict[str, Any]]) -> None:
        (folder / "adapter").mkdir(parents=True, exist_ok=True)
        (folder / "adapter" / "weights.safetensors").write_bytes(b"adapter")
        (folder / "state.safetensors").write_bytes(b"state")
        from PIL import Image

        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "grid.png")
        (folder / "observation.tmp").write_text(json.dumps(checkpoint))
        (folder / "observation.tmp").rename(folder / "observation.json")

    def _panel(self) -> None:
        """What the base scores, as whoever comes first writes it."""
        path = Path(self._carrier.job.folder) / "panel" / "base.json"
        if self._carrier.carries and not path.exists():
            path.write_text(json.dumps({"scores": {"identity": 0.0, "pose": 1.0}, "cells": {}}))

    def _wanted(self, failure: str) -> bool:
        return (Path(self._job["cache"]) / f"{self._trial}.{failure}").exists()

    def _perhaps_die(self) -> None:
        if self._wanted("die"):
            os._exit(1)
        if self._wanted("die-once"):
            (Path(self._job["cache"]) / f"{self._trial}.die-once").unlink()
            os._exit(1)
        if self._wanted("hoard"):
            hoard = np.ones(6 * 10**9, np.uint8)
            time.sleep(60 + float(hoard[-1]))  # Ray looks at the machine's memory from time to time
        if self._wanted("hang"):
            self._hang()
        if self._wanted("hang-once"):
            (Path(self._job["cache"]) / f"{self._trial}.hang-once").unlink()
            self._hang()

    def _hang(self) -> None:
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock: no other thread of Python's runs


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers know what is installed, not the tests
