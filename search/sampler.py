"""Proposals: Optuna's samplers, asked over a table of observations and told by it."""

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.config import SamplerKind
from search.front import representative_of
from spaces import Choice, Observation, Parameter, Space, to_losses

STEPS = "steps"
STARTUP_TRIALS = 8
"""So many trials, before the samplers that learn, come from the space's expert prior, where it has one."""
UNIFORM_EVERY = 4
"""But every fourth of them from the whole space evenly, so that what no expert expected is tried too. The baseline
`random` knows of no expert."""
POPULATION = 16

optuna.logging.set_verbosity(logging.ERROR)


class Sampler:
    """What to try next, given what was tried.

    The state is the table alone: proposals, observations, endings. Optuna's study is built from it for each
    proposal and thrown away, with a random generator of that proposal's own, so the same table and seed give
    the same proposal after any interruption, and no Optuna trial can stay RUNNING. A build takes 0.03 s for
    300 observations and 0.1 s for 1,000, little beside one trial.

    Steps are a coordinate: every rung is one COMPLETE Optuna trial whose parameters are the recipe *and* the
    steps. A proposal is asked for with its steps free as well, which are then dropped, since a trial passes all
    rungs on its way. Fixing them to the last rung would make Optuna leave them out of its density estimates,
    and a good recipe's weak first rungs would count against the recipe; and the best checkpoint is often
    not the last.
    """

    def __init__(self, space: Space, kind: SamplerKind, seed: int) -> None:
        self.space, self.kind, self.seed = space, kind, seed
        self._values: dict[str, dict[str, Any]] = {}
        self._live: dict[str, set[int]] = {}
        self._told: list[FrozenTrial] = []
        self._distributions = {p.name: _distribution(p) for p in space.parameters}
        self._steps = IntDistribution(space.rungs[0], space.rungs[-1], log=len(space.rungs) > 1)

    @classmethod
    def replay(
        cls,
        space: Space,
        kind: SamplerKind,
        seed: int,
        proposals: Mapping[str, Mapping[str, Any]],
        checkpoints: Iterable[Sequence[Observation]],
        failed: Iterable[str],
        ended: Iterable[str],
    ) -> "Sampler":
        """The sampler of an interrupted sweep, from its table."""
        sampler = cls(space, kind, seed)
        for trial, values in proposals.items():
            sampler.accept(trial, values)
        for checkpoint in checkpoints:
            sampler.observe(checkpoint)
        for trial in failed:
            sampler.fail(trial)
        for trial in ended:
            sampler.end(trial)
        return sampler

    def propose(self, attempt: int = 0) -> dict[str, Any]:
        """The values of the next trial. `attempt` draws another where the last was not wanted."""
        number = len(self._values)
        entropy = [self.seed, number, attempt]
        if self.kind == "random" or number < STARTUP_TRIALS or not self._told:
            expert = self.kind != "random" and number % UNIFORM_EVERY != UNIFORM_EVERY - 1
            draw = self.space.sample_prior if expert else self.space.sample
            return draw(np.random.default_rng(entropy))
        asked = self.study(int(np.random.SeedSequence(entropy).generate_state(1)[0])).ask()
        values: dict[str, Any] = {}
        for parameter in self.space.parameters:
            if self.space.active(parameter, values):
                values[parameter.name] = _suggest(asked, parameter)
        return values

    def accept(self, trial: str, values: Mapping[str, Any]) -> None:
        """A proposal becomes a trial: until it ends, others keep away from it."""
        self._values[trial] = dict(values)
        self._live[trial] = set(self.space.rungs)

    def observe(self, checkpoint: Sequence[Observation]) -> None:
        """One rung of one trial: the observations of its checkpoint.

        The one that stands for the checkpoint is told: a recipe is worth what the best use of it is worth, and with
        all of them TPE would count every checkpoint as often as there are ways to draw.
        """
        observation = representative_of(checkpoint, self.space.objectives)
        self._live.get(observation.trial, set()).discard(observation.steps)
        (losses,) = to_losses(self.space.objectives, [observation.scores]).tolist()
        self._told.append(self._trial(observation.trial, observation.steps, TrialState.COMPLETE, losses))

    def fail(self, trial: str) -> None:
        """The trial ends without a score. Samplers learn nothing from it but that it is not running."""
        waiting = self._live.get(trial) or {self.space.rungs[-1]}
        self._told.append(self._trial(trial, min(waiting), TrialState.FAIL))
        self.end(trial)

    def end(self, trial: str) -> None:
        """The trial has no more rungs to come."""
        self._live.pop(trial, None)

    def study(self, seed: int = 0) -> optuna.Study:
        """The table as an Optuna study.

        A rung that a live trial has yet to reach is a RUNNING trial of this study, which TPE takes for a bad one
        (the constant liar), so that parallel proposals differ.
        """
        ahead = [
            self._trial(trial, steps, TrialState.RUNNING)
            for trial, rungs in self._live.items()
            for steps in sorted(rungs)
        ]
        directions = ["minimize"] * len(self.space.objectives)
        study = optuna.create_study(directions=directions, sampler=_optuna_sampler(self.kind, seed))
        study.add_trials([*self._told, *ahead])
        return study

    def _trial(self, trial: str, steps: int, state: TrialState, losses: list[float] | None = None) -> FrozenTrial:
        parameters = {**self._values[trial], STEPS: steps}
        distributions = {**self._distributions, STEPS: self._steps}
        return create_trial(
            state=state,
            values=losses,
            params=parameters,
            distributions={name: distributions[name] for name in parameters},
        )


class _SteadyStateNSGAII(NSGAIISampler):
    """NSGA-II without generations: the parents are the elite of all that was observed.

    Asynchronous trials have no generations to wait for (Durillo et al. 2009 found the steady-state variant to
    converge better), and the table says all that is needed to go on after an interruption.
    """

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        return 1

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])


def _optuna_sampler(kind: SamplerKind, seed: int) -> BaseSampler:
    if kind == "nsga2":
        return _SteadyStateNSGAII(population_size=POPULATION, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group`, there since Optuna 2.8
        return TPESampler(n_startup_trials=1, multivariate=True, group=True, constant_liar=True, seed=seed)


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    if parameter.integer:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(parameter.name, parameter.values)
    if parameter.integer:
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), log=parameter.log)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, log=parameter.log)
