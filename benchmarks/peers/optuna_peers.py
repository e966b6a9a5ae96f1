"""Optuna's samplers for several objectives: each recipe is trained to the end, and its last scores are told."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from benchmarks.tasks import Task
from spaces import Choice, Parameter

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Optuna:
    """`optuna.create_study(directions=[...], sampler=...)`, asked and told."""

    def __init__(self, task: Task, seed: int, kind: str) -> None:
        self._space = task.space
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sampler = {
                "tpe": lambda: optuna.samplers.TPESampler(seed=seed),
                "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed),
                "gp": lambda: optuna.samplers.GPSampler(seed=seed),
            }[kind]()
        self._study = optuna.create_study(directions=["minimize"] * len(task.space.objectives), sampler=sampler)
        self._asked: dict[str, optuna.Trial] = {}

    def suggest(self, trial: str) -> Mapping[str, Any]:
        asked = self._asked[trial] = self._study.ask()
        return drawn(asked, self._space)

    def report(self, trial: str, steps: int, losses: Sequence[float]) -> bool:
        if steps == self._space.rungs[-1]:
            self._study.tell(self._asked.pop(trial), losses)
        return True


def drawn(trial: optuna.Trial, space: Any) -> dict[str, Any]:
    """The point that an Optuna trial proposes, conditions and all."""
    values: dict[str, Any] = {}
    for parameter in space.parameters:
        if space.active(parameter, values):
            values[parameter.name] = _suggested(trial, parameter)
    return values


def _suggested(trial: optuna.Trial, parameter: Parameter) -> Any:
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(parameter.name, parameter.values)
    if parameter.integer:
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), log=parameter.log)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, log=parameter.log)
