"""Syne Tune's `MOASHA`, in an interpreter of its own: lines of JSON in, lines of JSON out.

Its pins and ours exclude each other, so it knows nothing of this package. The first line says what is searched; each
other one asks for a trial's values or tells what it scored at a rung. Losses are minimised.
"""

import json
import sys
from datetime import datetime

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, lograndint, loguniform, randint, uniform
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA
from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import NonDominatedPriority


class Repaired(NonDominatedPriority):
    """A rank for each element, where the package's returns the elements in their order."""

    def __call__(self, objectives: np.ndarray) -> np.ndarray:
        return np.argsort(super().__call__(objectives))


def domain(parameter: dict):
    if "values" in parameter:
        return choice(parameter["values"])
    low, high = parameter["low"], parameter["high"]
    if parameter["integer"]:
        return (lograndint if parameter["log"] else randint)(int(low), int(high))
    return (loguniform if parameter["log"] else uniform)(low, high)


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    np.random.seed(asked["seed"])
    names = [f"loss{k}" for k in range(asked["objectives"])]
    space = {parameter["name"]: domain(parameter) for parameter in asked["parameters"]}
    scheduler = MOASHA(
        space, metrics=names, do_minimize=True, time_attr="steps", max_t=asked["rungs"][-1],
        grace_period=asked["rungs"][0], reduction_factor=asked["eta"], random_seed=asked["seed"],
        multiobjective_priority=Repaired() if asked["repaired"] else None,
    )  # fmt: skip
    trials = {}
    for line in sys.stdin:
        message = json.loads(line)
        name = message["trial"]
        if "losses" not in message:
            config = scheduler.suggest().config
            trials[name] = Trial(trial_id=len(trials), config=config, creation_time=datetime(2000, 1, 1))
            scheduler.on_trial_add(trials[name])
            answer = {key: value.item() if isinstance(value, np.generic) else value for key, value in config.items()}
        else:
            result = {"steps": message["steps"], **dict(zip(names, message["losses"], strict=True))}
            answer = scheduler.on_trial_result(trials[name], result) != SchedulerDecision.STOP
            if not answer:
                scheduler.on_trial_remove(trials[name])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
