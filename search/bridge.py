"""Ray Tune's Trainable, Searcher, TrialScheduler and Callback, each a thin coat over what is ours."""

import threading
import time
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ray._private.dict import unflatten_dict
from ray.actor import exit_actor
from ray.tune import Callback, Trainable
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from search.rungs import Continue
from search.trials.attempts import Assignment, Attempts
from search.trials.deaths import death
from search.trials.turns import in_turn, waiting_of
from search.trials.watchdog import Watchdog
from trainables.job import Job
from trainables.machine.notice import Evicted
from trainables.machine.pulse import key

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

LOOK_SECONDS = 15.0
"""So often at least the watchdog looks at the trials."""


class RemoteTrial(Trainable):
    """`trainables.trial.Trial`, imported only where it runs: a driver without torch starts seconds sooner."""

    def setup(self, config: dict[str, Any]) -> None:
        began = perf_counter()
        from trainables.trial import Trial

        self._trial = Trial.__new__(Trial)
        self._trial.setup(config, imported_in=perf_counter() - began)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return self._trial.reset_config(new_config)

    def step(self) -> dict[str, Any]:
        try:
            return self._trial.step()
        except Evicted:
            exit_actor()  # Ray has no other place for it while it lives
            raise

    def cleanup(self) -> None:
        self._trial.cleanup()


class _Coat:
    """Over the state, which Tune's snapshots leave out: the journal keeps it."""

    _state: Attempts

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Proposals(_Coat, Searcher):
    """Hands out the sweep's trials. Tune's ids are forgotten at once: a trial's name is in its config."""

    def __init__(self, state: Attempts, job: Job) -> None:
        super().__init__()
        self._state, self._job = state, job.model_dump(mode="json")

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        assignment = self._state.next_trial()
        return self._nothing() if assignment is None else self._config(assignment)

    def _nothing(self) -> str | None:
        """There is no trial: for now, as while one is still being drawn, and Tune asks again at its next step, or for
        good."""
        return None if self._state.waits else Searcher.FINISHED

    def _config(self, assignment: Assignment) -> dict[str, Any]:
        recipe = assignment.recipe.model_dump()
        config = {"job": self._job, "trial": assignment.trial, "recipe": recipe, "seed": assignment.seed}
        return config if assignment.score is None else config | {"score": [list(each) for each in assignment.score]}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Nothing: results come to the scheduler, errors to the callback."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing, as above."""


class Rungs(_Coat, FIFOScheduler):
    """Asks the state at every rung."""

    def __init__(self, state: Attempts) -> None:
        super().__init__()
        self._state = state
        self.controller: TuneController | None = None

    def on_trial_add(self, tune_controller: "TuneController", trial: TuneTrial) -> None:
        self.controller = tune_controller

    def on_trial_result(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> str:
        decision = self._state.record(unflatten_dict(result))
        return TrialScheduler.CONTINUE if isinstance(decision, Continue) else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> None:
        """Tune does not ask about a result that is `done`; any other trial's last result comes a second time."""
        self._state.record(unflatten_dict(result))

    def choose_trial_to_run(self, tune_controller: "TuneController") -> TuneTrial | None:
        """Of the trials without a process the one whose turn it is; the paused first, which nothing else starts."""
        live = {trial_name(trial): trial for trial in tune_controller.get_live_trials()}
        for status in (TuneTrial.PAUSED, TuneTrial.PENDING):
            waiting = [waiting_of(self._state.ledger, name) for name, trial in live.items() if trial.status == status]
            if waiting:
                return live[in_turn(waiting)[0].trial]
        return None


class Halt(_Coat, Stopper):
    """Stops all trials when the state says so; what they are at is done again when the sweep is resumed."""

    def __init__(self, state: Attempts) -> None:
        self._state = state

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._state.halted is not None


class Losses(_Coat, Callback):
    """Hears of each process that a trial lost. Tune would start it again however often; the state says whether."""

    def __init__(self, state: Attempts, rungs: Rungs, watch: "Watch") -> None:
        self._state, self._rungs, self._watch, self.gave_up = state, rungs, watch, False
        self._counted: set[str] = set()
        """Trials whose last process is known to be lost, and whose next is not there yet."""

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        name, hung = trial_name(trial), self._watch.took(trial)
        if self._state.lost(name, *(("hung", hung) if hung else death(trial))):
            self._counted.add(name)
        else:
            self._rungs.controller.stop_trial(trial)  # it waits for a process by now, and is not asked again

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Tune has given it up, as when word of one loss comes twice: it is to be started anew, and that loss counts
        once."""
        name = trial_name(trial)
        if name in self._state.ledger.endings:
            return
        if name in self._counted or self._state.lost(name, *death(trial)):
            self._state.give_back(name)
            self.gave_up = True

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._counted.discard(trial_name(trial))


class Watch(_Coat, Callback):
    """Stops the process of a trial that makes no progress, from outside: it may be stuck in code that hears nothing."""

    def __init__(self, state: Attempts, rungs: Rungs, job: Job, seconds: float, note: Callable[[str], None]) -> None:
        """`seconds` without progress are too long; 0: nothing is ever stopped."""
        self._state, self._rungs, self._job, self._note = state, rungs, job, note
        self._dog = Watchdog(seconds, time.monotonic)
        self._trials: dict[str, TuneTrial] = {}
        self._hung: set[str] = set()
        self._over = threading.Event()
        if seconds > 0:
            threading.Thread(target=self._look, name="watchdog", daemon=True).start()

    def took(self, trial: TuneTrial) -> str | None:
        """Why the trial's process was stopped by the watchdog, if it was."""
        if trial_name(trial) not in self._hung:
            return None
        self._hung.discard(trial_name(trial))
        return f"no progress for {_span(self._dog.limit)}, its process was stopped"

    def close(self) -> None:
        self._over.set()

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._trials[trial_name(trial)] = trial
        self._dog.started(trial_name(trial))

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict, **info: Any
    ) -> None:
        self._dog.started(trial_name(trial))

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._dog.over(trial_name(trial))

    on_trial_complete = on_trial_error = on_trial_recover

    def _look(self) -> None:
        while not self._over.wait(min(self._dog.limit / 4, LOOK_SECONDS)):
            for trial in self._dog.trials:
                self._dog.beat(trial, _heard(self._job.folder, trial))
            for trial in self._dog.hanging():
                self._dog.over(trial)
                self._stop(trial)

    def _stop(self, trial: str) -> None:
        import ray

        controller = self._rungs.controller
        tracked = controller._trial_to_actor.get(self._trials[trial])
        actor, _ = controller._actor_manager._live_actors_to_ray_actors_resources.get(tracked, (None, None))
        if actor is None:  # it has just ended
            return
        self._note(f"{trial} made no progress for {_span(self._dog.limit)}; its process is stopped")
        self._hung.add(trial)
        ray.kill(actor)


def _heard(folder: str, trial: str) -> bytes | None:
    """The trial's last beat; None while the head is not to be reached either."""
    from ray.experimental.internal_kv import _internal_kv_get

    try:
        return _internal_kv_get(key(folder, trial))
    except Exception:  # Ray's own, of many kinds
        return None


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def trial_name(trial: TuneTrial) -> str:
    """Our name for Tune's trial, its folder's too."""
    return trial.config["trial"]
