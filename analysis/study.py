"""The table of observations as an Optuna study, without a copy of it."""

import copy
import logging
from collections.abc import Container, Sequence

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

optuna.logging.set_verbosity(logging.ERROR)


def study_of(trials: Sequence[FrozenTrial], objectives: int, sampler: BaseSampler) -> optuna.Study:
    """A study of these trials, to be asked once. Losses are minimised.

    The trials get the numbers 1, 2, ... in their order; what is asked for has the number 0, which no sampler minds.
    `Study.add_trials` would copy each of them, which takes longer than a proposal.
    """
    for number, trial in enumerate(trials, start=1):
        trial.number = number
    return optuna.create_study(storage=_Shown(trials), directions=["minimize"] * objectives, sampler=sampler)


class _Shown(InMemoryStorage):
    """Optuna's storage in memory, which shows other trials beside its own."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._shown = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        own = super().get_all_trials(study_id, deepcopy, states)
        shown = [trial for trial in self._shown if states is None or trial.state in states]
        return [*(copy.deepcopy(shown) if deepcopy else shown), *own]
