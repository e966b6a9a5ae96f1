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

    def on_trial_result(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> str:
        decision = self._state.record(unflatten_dict(result))
        return TrialScheduler.CONTINUE if isinstance(decision, Continue) else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: "TuneController", trial: TuneTrial, result: dict[str, Any]) -> None:
        """Tune does not ask about a result that is `done`; any other trial's last result comes a second time."""
        self._state.record(unflatten_dict(result))


class Failures(_Coat, Callback):
    """Hears of a trial whose process died once too often."""

    def __init__(self, state: SweepState) -> None:
        self._state = state

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._state.failed(trial_name(trial), _reason(trial))


def trial_name(trial: TuneTrial) -> str:
    """Our name for Tune's trial, its folder's too."""
    return trial.config["trial"]


def _reason(trial: TuneTrial) -> str:
    """The last of the trial's errors in one line: why the process died, or the last line of a traceback."""
    last = Path(trial.error_file).read_text(encoding="utf-8").rpartition("Failure # ")[2]
    line = [line.strip() for line in last.splitlines() if line.strip()][-1]
    detail = line.partition("Worker exit detail: ")[2].partition(" Some common causes")[0]
    return f"its process died {trial.num_failures} times: {detail}" if detail else line
