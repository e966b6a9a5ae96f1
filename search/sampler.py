"""Proposals: Optuna's samplers, asked over a table of observations and told by it."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.pareto import order_selection
from search.config import SamplerKind
from search.front import representative_of
from search.study import study_of
from spaces import REFERENCE_LOSS, Choice, Observation, Parameter, Space, to_losses

STEPS = "steps"
STARTUP_TRIALS = 8
"""So many trials, before the samplers that learn, come from the space's expert prior, where it has one."""
UNIFORM_EVERY = 4
"""But every fourth of them from the whole space evenly, so that what no expert expected is tried too. The baseline
`random` knows of no expert."""
POPULATION = 16
MOST = 1000
"""So many observations are told to Optuna at most. TPE takes 14 ms for 100 of them, 39 for 1,000, 145 for 6,000."""
LIARS = 200
"""And so many rungs that are yet to be reached."""

optuna.logging.set_verbosity(logging.ERROR)


class Sampler:
    """What to try next, given what was tried.

    The state is the table alone: proposals, observations, endings. Optuna's study is built from it for each
    proposal and thrown away, with a random generator of that proposal's own, so the same table and seed give
    the same proposal after any interruption, and no Optuna trial can stay RUNNING. A proposal's time grows with what
    it is made from, so of a long sweep's observations the best are kept and the rest is thinned out.

    Steps are a coordinate: every rung is one COMPLETE Optuna trial whose parameters are the recipe *and* the
    steps. A proposal is asked for with its steps free as well, which are then dropped, since a trial passes all
    rungs on its way. Fixing them to the last rung would make Optuna leave them out of its density estimates,
    and a good recipe's weak first rungs would count against the recipe; and the best checkpoint is often
    not the last.
    """

    def __init__(self, space: Space, kind: SamplerKind, seed: int) -> None:
        self.space, self.kind, self.seed = space, kind, seed
        self._values: dict[str, dict[str, Any]] = {}
        self._live: dict[str, dict[int, FrozenTrial]] = {}
        """Of each live trial, the rungs that it has yet to reach, as Optuna hears of them."""
        self._told: list[FrozenTrial] = []
        self._failed: list[FrozenTrial] = []
        self._thinned = 0
        self._distributions = {p.name: _distribution(p) for p in space.parameters}
        self._steps = IntDistribution(space.rungs[0], space.rungs[-1], log=len(space.rungs) > 1)

    def propose(self, attempt: int = 0) -> dict[str, Any]:
        """The values of the next trial. `attempt` draws another where the last was not wanted."""
        return self.proposal()(attempt)

    def proposal(self) -> Callable[[int], dict[str, Any]]:
        """`propose` over the table as it is now: may be called later, by another thread, while the table grows."""
        space, number = self.space, len(self._values)
        if self.kind == "random" or number < STARTUP_TRIALS or not self._told:
            expert = self.kind != "random" and number % UNIFORM_EVERY != UNIFORM_EVERY - 1
            draw = space.sample_prior if expert else space.sample
            return lambda attempt: draw(np.random.default_rng([self.seed, number, attempt]))
        trials = self._trials(number)
        kind, objectives = self.kind, len(space.objectives)

        def propose(attempt: int) -> dict[str, Any]:
            seed = int(np.random.SeedSequence([self.seed, number, attempt]).generate_state(1)[0])
            asked = study_of(trials, objectives, _optuna_sampler(kind, seed)).ask()
            values: dict[str, Any] = {}
            for parameter in space.parameters:
                if space.active(parameter, values):
                    values[parameter.name] = _suggest(asked, parameter)
            return values

        return propose

    def accept(self, trial: str, values: Mapping[str, Any]) -> None:
        """A proposal becomes a trial: until it ends, others keep away from it."""
        self._values[trial] = dict(values)
        self._live[trial] = {steps: self._trial(trial, steps, TrialState.RUNNING) for steps in self.space.rungs}

    def observe(self, checkpoint: Sequence[Observation]) -> None:
        """One rung of one trial: the observations of its checkpoint.

        The one that stands for the checkpoint is told: a recipe is worth what the best use of it is worth, and with
        all of them TPE would count every checkpoint as often as there are ways to draw.
        """
        observation = representative_of(checkpoint, self.space.objectives)
        self._live.get(observation.trial, {}).pop(observation.steps, None)
        (losses,) = to_losses(self.space.objectives, [observation.scores]).tolist()
        self._told.append(self._trial(observation.trial, observation.steps, TrialState.COMPLETE, losses))
        if len(self._told) > MOST:
            self._thin_out()

    def fail(self, trial: str) -> None:
        """The trial ends without a score. Samplers learn nothing from it but that it is not running."""
        waiting = self._live.get(trial) or {self.space.rungs[-1]}
        self._failed.append(self._trial(trial, min(waiting), TrialState.FAIL))
        self.end(trial)

    def end(self, trial: str) -> None:
        """The trial has no more rungs to come."""
        self._live.pop(trial, None)

    def study(self) -> optuna.Study:
        """The table as an Optuna study."""
        return study_of(self._trials(len(self._values)), len(self.space.objectives), _optuna_sampler(self.kind, 0))

    def _trials(self, number: int) -> list[FrozenTrial]:
        """What the sampler is told for the proposal of this number.

        A rung that a live trial has yet to reach is RUNNING, which TPE takes for a bad one (the constant liar), so
        that parallel proposals differ. Of very many an even sample will do.
        """
        running = [trial for rungs in self._live.values() for trial in rungs.values()]
        if len(running) > LIARS:
            chosen = np.random.default_rng([self.seed, number]).choice(len(running), LIARS, replace=False)
            running = [running[i] for i in sorted(chosen)]
        return [*self._told, *self._failed, *running]

    def _thin_out(self) -> None:
        """Half of what was told stays: the best of it, which samplers learn most from, and of the rest an even sample.

        So what is long ago and was not good fades, a half at a time.
        """
        losses = np.array([trial.values for trial in self._told])
        order = order_selection(losses, REFERENCE_LOSS)
        best, rest = order[: MOST // 8], order[MOST // 8 :]
        self._thinned += 1
        generator = np.random.default_rng([self.seed, self._thinned])
        kept = np.concatenate([best, generator.choice(rest, MOST // 2 - len(best), replace=False)])
        self._told = [self._told[i] for i in np.sort(kept)]

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
