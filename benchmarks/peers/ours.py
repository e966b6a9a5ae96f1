"""posefront's own sampler and rungs, as the sweep runs them."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.tasks import Task
from search.rungs import Continue, rule_for
from search.sampler import Sampler
from search.standings import Standings
from spaces import Observation, Recipe


class Ours:
    def __init__(self, task: Task, seed: int, sampler: str = "gp", scheduler: str = "trajectories") -> None:
        self._space = task.space
        self._standings = Standings(rule_for(scheduler, task.space))
        self._sampler = Sampler(task.space, sampler, seed)
        self._recipes: dict[str, Recipe] = {}

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
        on = isinstance(self._standings.decide([observation]), Continue)
        self._sampler.observe([observation])
        if not on:
            self._sampler.end(trial)
        return on
