"""Random search: every recipe is trained to the end."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.tasks import Task


class Random:
    def __init__(self, task: Task, seed: int) -> None:
        self._space, self._generator = task.space, np.random.default_rng(seed)

    def suggest(self, trial: str) -> Mapping[str, Any]:
        return self._space.sample(self._generator)

    def report(self, trial: str, steps: int, losses: Sequence[float]) -> bool:
        return True
