"""Ray Tune's own: `OptunaSearch` on the mean of the losses, with `AsyncHyperBandScheduler` or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.peers.conditions import applying
from benchmarks.peers.optuna_peers import drawn
from benchmarks.tasks import Task


@dataclass(frozen=True)
class _Trial:
    """What the scheduler asks of a trial."""

    trial_id: str


class Ray:
    def __init__(self, task: Task, seed: int, scheduled: bool) -> None:
        space = task.space
        self._last = space.rungs[-1]
        self._search = OptunaSearch(lambda trial: _dropped(drawn(trial, space)), metric="loss", mode="min", seed=seed)
        self._asha = AsyncHyperBandScheduler(
            time_attr="training_iteration", metric="loss", mode="min", max_t=self._last, grace_period=space.rungs[0]
        )
        self._scheduled, self._space = scheduled, space
        self._trials: dict[str, _Trial] = {}

    def suggest(self, trial: str) -> Mapping[str, Any]:
        self._trials[trial] = _Trial(trial)
        self._asha.on_trial_add(None, self._trials[trial])
        return applying(self._space, self._search.suggest(trial))

    def report(self, trial: str, steps: int, losses: Sequence[float]) -> bool:
        result = {"training_iteration": steps, "loss": sum(losses) / len(losses), "config": {}}
        decision = self._asha.on_trial_result(None, self._trials[trial], result)
        on = steps < self._last and not (self._scheduled and decision == TrialScheduler.STOP)
        if on:
            self._search.on_trial_result(trial, result)
        else:
            self._asha.on_trial_complete(None, self._trials[trial], result)
            self._search.on_trial_complete(trial, result)
        return on


def _dropped(_: Mapping[str, Any]) -> None:
    """A space that is defined by running it returns nothing that is constant."""
