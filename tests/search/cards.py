"""A trainable in closed form that makes up what it takes of a card, and runs out of it as torch would.

It writes down when it was where in the cache's file `where.jsonl`.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle

from spaces import Recipe
from spaces.stages import in_the_loop
from tests.search import curves
from tests.search.curves import Curves

GB = 10**9
TEXT = """
subject: nowhere
rungs: [10, 20, 40]
eta: 2
recipe:
  rank: {low: 2, high: 64, log: true}
  learning_rate: {low: 1.0e-4, high: 5.0e-3, log: true}
  batch_size: [1, 16]
  pose_from: [null, 10]
"""


def peak(recipe: Recipe, steps: int) -> int:
    """Bytes: 5 GB and a little, 25 more with the ControlNet in the loop, and what no card has for large batches."""
    taken = 5 + recipe.rank / 64 + 25 * in_the_loop(recipe, steps - 1) + 20 * (recipe.batch_size - 1)
    return int(taken * GB)


class OnCards(Curves):
    """Curves on cards of the sizes that the cache's file `cards.json` gives by node."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        self._memory = config["memory"]
        self._at = 0

    def step(self) -> dict[str, Any]:
        began = time.time()
        node = ray.get_runtime_context().get_node_id()
        card = json.loads((Path(self._job["cache"]) / "cards.json").read_text())[node] * GB
        steps = self._job["rungs"][self._at]
        kept = (Path(self._job["folder"]) / "trials" / self._trial / f"step-{steps:06d}" / "observation.json").exists()
        taken, share = peak(self._recipe, steps), self._memory or card
        if not kept:
            time.sleep(0.5)
            self._write_down(began, node, steps, min(taken, share), taken > share)
            if taken > share:
                given = {"out_of_memory": True, "toward": steps, "card_memory": card, "done": False}
                reached = self._job["rungs"][self._at - 1] if self._at else 0
                return {"trial": self._trial, "steps": reached, "failure": "OutOfMemoryError: made up"} | given
        result = super().step()
        self._at += 1
        cost = result["observations"][0]["cost"]
        if not kept:
            cost |= {"device": f"card of {card // GB} GB", "peak_memory": taken, "card_memory": card}
        return result

    def _write_down(self, began: float, node: str, steps: int, taken: int, ran_out: bool) -> None:
        line = {
            "trial": self._trial, "steps": steps, "node": node, "gpus": ray.get_gpu_ids(), "began": began,
            "ended": time.time(), "taken": taken, "share": self._memory, "ran_out": ran_out,
        }  # fmt: skip
        with (Path(self._job["cache"]) / "where.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


cloudpickle.register_pickle_by_value(sys.modules[__name__])
cloudpickle.register_pickle_by_value(curves)
