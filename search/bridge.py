"""Ray Tune's Trainable, Searcher, TrialScheduler and Callback, each a thin coat over what is ours."""

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ray._private.dict import unflatten_dict
from ray.actor import exit_actor
from ray.tune import Callback, Trainable
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.journal import Cause
from search.rungs import Continue
from search.state import SweepState
from trainables.job import Job
from trainables.notice import Evicted

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController


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

    _state: SweepState

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Proposals(_Coat, Searcher):
    """Hands out the sweep's trials. Tune's ids are forgotten at once: a trial's name is in its config."""

    def __init__(self, state: SweepState, job: Job) -> None:
        super().__init__()
        self._state, self._job = state, job.model_dump(mode="json")

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        assignment = self._state.next_trial()
        if assignment is None:
            return Searcher.FINISHED
        recipe = assignment.recipe.model_dump()
        return {"job": self._job, "trial": assignment.trial, "recipe": recipe, "seed": assignment.seed}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Nothing: results come to the scheduler, errors to the callback."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing, as above."""


class Rungs(_Coat, FIFOScheduler):
    """Asks the state at every rung."""

    def __init__(self, state: SweepState) -> None:
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


class Losses(_Coat, Callback):
    """Hears of each process that a trial lost. Tune would start it again however often; the state says whether."""

    def __init__(self, state: SweepState, rungs: Rungs) -> None:
        self._state, self._rungs = state, rungs

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        if not self._state.lost(trial_name(trial), *_death(trial)):
            self._rungs.controller.stop_trial(trial)  # it waits for a process by now, and is not asked again

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Tune has given it up, as when word of one loss comes twice. A resumed sweep takes up what it lost."""
        cause, reason = _death(trial)
        if cause in ("node", "preempted"):
            self._state.lost(trial_name(trial), cause, reason)
        else:
            self._state.failed(trial_name(trial), reason)


def trial_name(trial: TuneTrial) -> str:
    """Our name for Tune's trial, its folder's too."""
    return trial.config["trial"]


def _death(trial: TuneTrial) -> tuple[Cause, str]:
    """What the last of the trial's processes died of, and the same in one line."""
    last = Path(trial.error_file).read_text(encoding="utf-8").rpartition("Failure # ")[2]
    if "exit_actor()" in last or "preempt" in last:
        return "preempted", "its machine was taken away"
    # A node's sudden end is first seen as connections that break; when a process ends, its node says so.
    if "its node has died" in last or "temporarily unavailable" in last:
        return "node", "its node was lost"
    line = [line.strip() for line in last.splitlines() if line.strip()][-1]
    detail = line.partition("Worker exit detail: ")[2].partition(" Some common causes")[0]
    return ("process", detail) if detail else ("error", line)
