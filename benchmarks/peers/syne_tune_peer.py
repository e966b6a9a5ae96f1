"""Syne Tune's `MOASHA`."""

from benchmarks.peers.foreign import Foreign
from benchmarks.tasks import Task


class SyneTune(Foreign):
    """As shipped, or with its ranking repaired."""

    def __init__(self, task: Task, seed: int, repaired: bool) -> None:
        super().__init__("syne_tune_host.py", task, seed=seed, repaired=repaired, eta=task.space.eta)
