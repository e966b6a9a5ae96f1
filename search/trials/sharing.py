"""Tune's Searcher, TrialScheduler and Callback for trials that share cards: thin coats over the allotment.

A trial's resources are set when Tune adds it, before it is queued. Later they change only while it has no process and
no request that Tune counts: paused at a rung, or between a process that died and the next one. It goes on from what it
has on the disk, as after any interruption.
"""

import math
import time
from typing import TYPE_CHECKING, Any

import ray
from ray._private.dict import unflatten_dict
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler

from search.bridge import Proposals, Rungs, trial_name
from search.config import SweepConfig
from search.rungs import Continue, Pause
from search.trials.allotment import Allotment
from search.trials.attempts import Attempts
from search.trials.cards import Refused, Request
from spaces import InputError
from trainables.job import Job

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

MEMORY = "memory"
"""In a trial's config: the bytes that torch may take of its card, or None for all."""


def shared(config: SweepConfig, state: Attempts) -> tuple[Allotment, "SharedProposals", "SharedRungs", list[Callback]]:
    """What Tune is given for the Ray that is up: an allotment, and the three that ask it.

    InputError where a cluster's cards are not known: they may be about to start.
    """
    cpus, job = config.cpus_per_trial, config.job
    allotment = Allotment(state, _Nodes(), cpus, config.cards, config.workers, job.micro_batch)
    if config.address is not None and not allotment.cards():
        raise InputError("--gpus-per-trial", "auto: no node with a GPU is up; say by --cards which may start, such as "
                         "--cards 24,80, or give a number instead of auto, 0 for CPUs alone")  # fmt: skip
    rungs = SharedRungs(state, allotment, cpus)
    return allotment, SharedProposals(state, job, allotment), rungs, [Started(allotment)]


class _Nodes:
    """`ray.nodes()`, asked at most once a second: Tune has many steps in one."""

    def __init__(self) -> None:
        self._at, self._seen = -math.inf, []

    def __call__(self) -> list[dict[str, Any]]:
        if time.monotonic() - self._at > 1.0:
            self._at, self._seen = time.monotonic(), ray.nodes()
        return self._seen


class SharedProposals(Proposals):
    """Hands out trials as there is room for them."""

    def __init__(self, state: Attempts, job: Job, allotment: Allotment) -> None:
        super().__init__(state, job)
        self._allotment = allotment

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._state.left and not self._allotment.has_room():
            return None  # asked again at Tune's next step
        given = self._allotment.next_trial()
        if given is None:
            return self._nothing()
        assignment, request = given
        return self._config(assignment) | {MEMORY: request.memory}


class SharedRungs(Rungs):
    """Asks the state at every rung, and gives trials what they need to the next."""

    def __init__(self, state: Attempts, allotment: Allotment, cpus: float) -> None:
        super().__init__(state)
        self._allotment, self._cpus = allotment, cpus
        self._added: set[str] = set()

    def on_trial_add(self, tune_controller: "TuneController", trial: TuneTrial) -> None:
        """Tune says so again when a process died, and then the trial is queued already."""
        super().on_trial_add(tune_controller, trial)
        if trial.trial_id not in self._added:
            self._added.add(trial.trial_id)
            self._give(trial, self._allotment.granted[trial_name(trial)])

    def on_trial_error(self, tune_controller: "TuneController", trial: TuneTrial) -> None:
        """Its process died. If it gets another, then with what it needs by what is known now."""
        name = trial_name(trial)
        self._allotment.lost(name)
        if trial.status == TuneTrial.ERROR:  # before it is queued again
            request = self._allotment.request(name)
            if isinstance(request, Request):
                self._allotment.swap(name, request)
                self._give(trial, request)

    def on_trial_result(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> str:
        values, name = unflatten_dict(result), trial_name(trial)
        if values.get("out_of_memory") and self._state.halted is None:
            asked = self._allotment.ran_out(name, values["toward"], values["card_memory"], values["failure"])
            return self._swap(tune_controller, trial, asked)
        new = int(values["steps"]) > self._state.ledger.reached(name)
        decision = self._state.record(values)
        if isinstance(decision, Pause):
            self._allotment.paused(name)
        if not isinstance(decision, Continue):
            return TrialScheduler.STOP
        return self._swap(tune_controller, trial, self._allotment.after_rung(name) if new else None)

    def _swap(self, controller: "TuneController", trial: TuneTrial, asked: Request | Refused | None) -> str:
        if asked is None:
            return TrialScheduler.CONTINUE
        if isinstance(asked, Refused):
            self._state.failed(trial_name(trial), asked.reason)
            return TrialScheduler.STOP
        controller.pause_trial(trial, should_checkpoint=False)  # its state is on the disk
        self._allotment.swap(trial_name(trial), asked)
        self._give(trial, asked)
        return TrialScheduler.NOOP

    def _give(self, trial: TuneTrial, request: Request) -> None:
        trial.update_resources(request.resources(self._cpus))
        trial.config[MEMORY] = request.memory


class Started(Callback):
    """Hears of trials whose process is there."""

    def __init__(self, allotment: Allotment) -> None:
        self._allotment = allotment

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for Tune's snapshots, as in the bridge."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._allotment.started(trial_name(trial))
