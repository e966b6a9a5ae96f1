"""posefront's own sampler and rungs, as the sweep runs them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.tasks import Task
from search.decisions.standings import Standings
from search.rungs import Continue, Pause, rule_for
from search.sampler import Sampler
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
        observation = self._observed(trial, steps, losses)
        on = isinstance(self._standings.decide([observation]), Continue)
        if not on:
            self._sampler.end(trial)
        return on

    def _observed(self, trial: str, steps: int, losses: Sequence[float]) -> Observation:
        scores = {
            o.name: o.ideal + loss * (o.nadir - o.ideal) for o, loss in zip(self._space.objectives, losses, strict=True)
        }
        observation = Observation(trial, self._recipes[trial], 0, steps, scores)
        self._sampler.observe([observation])
        return observation


class OursPromoted(Ours):
    """Trials that are outranked are paused, and promoted before a new recipe is begun."""

    def __init__(self, task: Task, seed: int, sampler: str = "gp", scheduler: str = "trajectories") -> None:
        super().__init__(task, seed, sampler, scheduler)
        self._standings = Standings(rule_for(scheduler, task.space, promote=True))
        self._paused: dict[str, int] = {}
        self._gone_on = Counter[int]()

    def report(self, trial: str, steps: int, losses: Sequence[float]) -> bool:
        observation = self._observed(trial, steps, losses)
        decision = self._standings.pause_or_go_on([observation], self._paused, self._gone_on)
        if isinstance(decision, Pause):
            self._paused[trial] = steps
        self._gone_on[steps] += isinstance(decision, Continue)
        return isinstance(decision, Continue)

    def promoted(self) -> str | None:
        chosen = self._standings.promotion(self._paused, self._gone_on)
        if chosen is None:
            return None
        self._gone_on[self._paused.pop(chosen.trial)] += 1
        return chosen.trial
