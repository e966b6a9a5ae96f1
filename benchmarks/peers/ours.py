"""posefront's own sampler and rungs, as the sweep runs them."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.tasks import Task
from search.rungs import Continue, decide, rule_for
from search.sampler import Sampler
from spaces import Observation, Recipe


class Ours:
    def __init__(self, task: Task, seed: int, sampler: str = "tpe", scheduler: str = "asha-pareto") -> None:
        self._space, self._rule = task.space, rule_for(scheduler, task.space)
        self._sampler = Sampler(task.space, sampler, seed)
        self._recipes: dict[str, Recipe] = {}
        self._table: list[Observation] = []

    def suggest(self, trial: str) -> Mapping[str, Any]:
        values = self._sampler.propose()
        self._sampler.accept(trial, values)
        self._recipes[trial] = self._space.recipe(values)
        return values

    def report(self, trial: str, steps: int, losses: Sequence[float]) -> bool:
        scores = {
            o.name: o.ideal + loss * (o.nadir - o.ideal) for o, loss in zip(self._space.objectives, losses, strict=True)
        }
        observation = Observation(trial, self._recipes[trial], 0, steps, scores)
        decision = decide(self._table, [observation], self._rule)
        self._table.append(observation)
        self._sampler.observe([observation])
        on = isinstance(decision, Continue)
        if not on:
            self._sampler.end(trial)
        return on
