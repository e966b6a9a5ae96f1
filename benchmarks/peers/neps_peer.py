"""NePS's `moasha` and `primo`."""

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.peers.foreign import Foreign
from benchmarks.tasks import Task
from spaces import Choice, InputError, Parameter


class NePS(Foreign):
    """Trials wait at the rung that was asked for, and are promoted. All but its eta is as the package has it."""

    def __init__(self, task: Task, seed: int, optimizer: str) -> None:
        """InputError where no eta gives the task's rungs."""
        name, space = f"NePS {optimizer}", task.space
        expert = prior(space.parameters) if optimizer == "primo" else {}
        eta = factor(name, space.rungs)
        super().__init__("neps_host.py", task, seed=seed, optimizer=optimizer, eta=eta, options=expert)

    def promoted(self) -> str | None:
        return self._ask("promoted")


def factor(name: str, rungs: Sequence[int]) -> int:
    """The eta with which NePS makes these rungs of the first and the last. InputError where there is none."""
    first, last = rungs[0], rungs[-1]
    for eta in range(2, last // first + 1):
        count = math.floor(math.log(last / first) / math.log(eta)) + 1
        if [int(last / eta**k) for k in reversed(range(count))] == list(rungs):
            return eta
    raise InputError(name, f"its rungs are the last divided by powers of a whole number, which {list(rungs)} are not")


def prior(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """PriMO's options for what the expert takes for best, one prior for all objectives; none where nothing is said.

    By field the centre (of a choice its index) and the confidence: of a range 1 less the deviation as a share of it, of
    a choice the centre's weight.
    """
    said = {parameter.name: at for parameter in parameters if (at := _expected(parameter)) is not None}
    if not said:
        return {}
    return {
        "prior_centers": {"expert": {field: centre for field, (centre, _) in said.items()}},
        "prior_confidences": {"expert": {field: sure for field, (_, sure) in said.items()}},
    }


def _expected(parameter: Parameter) -> tuple[float, float] | None:
    if isinstance(parameter, Choice):
        if parameter.weights is None:
            return None
        best = max(parameter.weights)
        return parameter.weights.index(best), best / sum(parameter.weights)
    if parameter.prior is None:
        return None
    if parameter.spread is None:
        return parameter.prior, 0.75
    scale = math.log if parameter.log else float
    return parameter.prior, 1 - min(scale(parameter.spread) / (scale(parameter.high) - scale(parameter.low)), 1)
