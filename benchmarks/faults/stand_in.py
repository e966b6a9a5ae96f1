"""A trial that costs next to nothing and keeps the trials' contract: files, replay, its state, and how it leaves.

Its score at a step depends on every step before it, so that a step that is left out or taken from the wrong state
shows. A step waits as long as the file `pace` in the sweep's cache says, in seconds.
"""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ray import tune
from ray.actor import exit_actor
from safetensors.numpy import load_file, save_file

from spaces import Cost, Inference, Observation, Recipe, labels
from trainables.machine.notice import current

SPACE = """
subject: nowhere
rungs: [10, 20, 40]
eta: 2
objectives: [identity, pose]
recipe:
  rank: {low: 2, high: 64, log: true}
  learning_rate: {low: 1.0e-4, high: 5.0e-3, log: true}
  dropout: {low: 0.0, high: 0.4}
"""
STATE, SAVED = "state.safetensors", "observation.json"
STEPS_LOG = "steps.log"
"""In a trial's folder, a byte for each step that was ever taken: what was done twice is what a fault cost."""


class StandIn(tune.Trainable):
    """A noisy walk about two curves: identity rises with steps and rank, pose falls."""

    def setup(self, config: dict[str, Any]) -> None:
        self._job, self._name, self._seed = config["job"], config["trial"], config["seed"]
        self._recipe = Recipe.parse(config["recipe"])
        self._folder = Path(self._job["folder"]) / "trials" / self._name
        self._rungs = iter(self._job["rungs"])
        self._pace = float((Path(self._job["cache"]) / "pace").read_text())
        states = sorted(self._folder.glob(f"step-*/{STATE}"))
        state = load_file(states[-1]) if states else {"steps": np.zeros(1, np.int64), "walk": np.zeros(2)}
        self._steps, self._walk = int(state["steps"][0]), state["walk"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        steps = next(self._rungs)
        folder = self._folder / f"step-{steps:06d}"
        if not (folder / SAVED).exists():
            self._make(steps, folder)
        names = ("inference", "label", "scores", "cells", "cost")
        observations = [{name: o[name] for name in names} for o in json.loads((folder / SAVED).read_text())]
        done = steps == self._job["rungs"][-1]
        result = {"trial": self._name, "steps": steps, "observations": observations, "folder": str(folder)}
        return result | {"failure": None, "done": done}

    def _make(self, steps: int, folder: Path) -> None:
        began = time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / STEPS_LOG).open("ab", buffering=0) as log:
            while self._steps < steps:
                self._heed_notice()
                time.sleep(self._pace)
                noise = np.random.default_rng([self._seed, self._steps]).normal(size=2)
                self._walk, self._steps = 0.9 * self._walk + noise, self._steps + 1
                log.write(b".")
        (folder / "adapter").mkdir(parents=True, exist_ok=True)
        (folder / "adapter" / "weights.safetensors").write_bytes(bytes(2000))
        self._save()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "grid.png")
        cost = Cost(train=time.monotonic() - began)
        ways = [Inference(**values) for values in self._job["panel"]["inferences"]]
        drawn = [
            Observation(self._name, self._recipe, self._seed, steps, self._scores(), {}, cost, way, label)
            for way, label in zip(ways, labels(ways), strict=True)
        ]
        partial = folder / f"observation.{os.getpid()}"
        partial.write_text(json.dumps([o.to_json() for o in drawn]))
        partial.replace(folder / SAVED)

    def _scores(self) -> dict[str, float]:
        pull = self._recipe.learning_rate * 1e3 * math.log2(1 + self._recipe.rank) * self._steps / 400
        identity, pose = 1 - math.exp(-pull), math.exp(-0.3 * pull) - 0.2 * self._recipe.dropout
        identity, pose = identity + 0.02 * float(self._walk[0]), pose + 0.02 * float(self._walk[1])
        return {"identity": identity, "pose": pose, "drift": 0.1 * identity, "detection_rate": 1.0}

    def _save(self) -> None:
        folder = self._folder / f"step-{self._steps:06d}"
        folder.mkdir(exist_ok=True)
        partial = folder / f"state.{os.getpid()}"
        save_file({"steps": np.array([self._steps]), "walk": self._walk}, partial)
        partial.replace(folder / STATE)

    def _heed_notice(self) -> None:
        """As `trainables.trial.Trial` does, with Ray's part as `search.bridge` has it."""
        notice = current()
        if notice is not None and notice.leave:
            self._save()
            exit_actor()
