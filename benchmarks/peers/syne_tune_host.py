"""Syne Tune's `MOASHA`, in an interpreter of its own (lines.py)."""

from datetime import datetime

import numpy as np
from lines import serve, valued
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA
from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import NonDominatedPriority


class Repaired(NonDominatedPriority):
    """A rank for each element, where the package's returns the elements in their order."""

    def __call__(self, objectives: np.ndarray) -> np.ndarray:
        return np.argsort(super().__call__(objectives))


class Search:
    def __init__(self, asked: dict) -> None:
        np.random.seed(asked["seed"])
        self.names = [f"loss{k}" for k in range(asked["objectives"])]
        self.parameters = asked["parameters"]
        self.scheduler = MOASHA(
            {parameter["name"]: domain(parameter) for parameter in self.parameters}, metrics=self.names,
            do_minimize=True, time_attr="steps", max_t=asked["rungs"][-1], grace_period=asked["rungs"][0],
            reduction_factor=asked["eta"], random_seed=asked["seed"],
            multiobjective_priority=Repaired() if asked["repaired"] else None,
        )  # fmt: skip
        self.trials = {}

    def suggest(self, name: str) -> dict:
        config = self.scheduler.suggest().config
        self.trials[name] = Trial(trial_id=len(self.trials), config=config, creation_time=datetime(2000, 1, 1))
        self.scheduler.on_trial_add(self.trials[name])
        plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in config.items()}
        return valued(self.parameters, plain)

    def report(self, name: str, steps: int, losses: list) -> bool:
        result = {"steps": steps, **dict(zip(self.names, losses, strict=True))}
        on = self.scheduler.on_trial_result(self.trials[name], result) != SchedulerDecision.STOP
        if not on:
            self.scheduler.on_trial_remove(self.trials[name])
        return on


def domain(parameter: dict):
    """A choice is one of its indices."""
    if "values" in parameter:
        return choice(list(range(len(parameter["values"]))))
    low, high = parameter["low"], parameter["high"]
    if parameter["integer"]:
        return (lograndint if parameter["log"] else randint)(int(low), int(high))
    return (loguniform if parameter["log"] else uniform)(low, high)


if __name__ == "__main__":
    serve(Search)
