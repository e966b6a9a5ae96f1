"""Proposals: a model of the curves, or Optuna's samplers, asked over a table of observations and told by it."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.pareto import order_selection
from analysis.study import study_of
from search.config import SamplerKind
from search.front import representative_of
from search.proposals.foresight import Foresight, Known, next_recipes
from spaces import REFERENCE_LOSS, Choice, Observation, Parameter, Space, ranking_losses, to_losses

STARTUP_TRIALS = 8
"""So many trials, before the samplers that learn, come from the space's expert prior, where it has one."""
UNIFORM_EVERY = 4
"""But every fourth of them from the whole space evenly, so that what no expert expected is tried too. The baseline
`random` knows of no expert."""
POPULATION = 16
MOST = 1000
"""So many trials are told to Optuna at most: a proposal's time grows with them."""
LIARS = 200
"""And so many that were not scored yet."""


class Sampler:
    """What to try next, given what was tried.

    The state is the table alone: proposals, observations, endings. Optuna's study is built from it for each
    proposal and thrown away, with a random generator of that proposal's own, so the same table and seed give
    the same proposal after any interruption, and no Optuna trial can stay RUNNING. A proposal's time grows with what
    it is made from, so of a long sweep's observations the best are kept and the rest is thinned out.

    A trial is one COMPLETE trial of Optuna's, at its best checkpoint so far: a recipe is worth what the best use of it
    is worth. With every rung told, the ten percent that TPE takes for good are a few recipes many times over, and it
    proposes them again: on four problems whose front is known that was worse than random search, and this is better
    (`python -m benchmarks.search`). There TPE was also better with each parameter by itself than with all together.
    """

    def __init__(self, space: Space, kind: SamplerKind, seed: int) -> None:
        self.space, self.kind, self.seed = space, kind, seed
        self._values: dict[str, dict[str, Any]] = {}
        self._live: dict[str, FrozenTrial] = {}
        """The trials that were not scored yet, as Optuna hears of them."""
        self._best: dict[str, Observation] = {}
        """Each trial's best checkpoint, drawn in the best way."""
        self._told: dict[str, FrozenTrial] = {}
        self._failed: list[FrozenTrial] = []
        self._thinned = self._learned = 0
        self._known = Known(space, seed) if kind == "gp" else None
        self._distributions = {p.name: _distribution(p) for p in space.parameters}

    def propose(self, attempt: int = 0) -> dict[str, Any]:
        """The values of the next trial. `attempt` draws another where the last was not wanted."""
        return self.proposal()(attempt)

    def proposal(self) -> Callable[[int], dict[str, Any]]:
        """`propose` over the table as it is now: may be called later, by another thread, while the table grows."""
        space, number = self.space, len(self._values) - self._learned
        learner = self.kind != "random" and number + self._learned >= STARTUP_TRIALS and self._told
        if not learner or (self._known is not None and not self._known.enough):
            expert = self.kind != "random" and number % UNIFORM_EVERY != UNIFORM_EVERY - 1
            draw = space.sample_prior if expert else space.sample
            return lambda attempt: draw(np.random.default_rng([self.seed, number, attempt]))
        if self._known is not None:
            return self._foreseen(self._known.foresight(), number)
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

    def learn(self, name: str, values: Mapping[str, Any], observations: Sequence[Observation]) -> None:
        """What a trial of an earlier sweep scored, before anything is proposed. `name` is no trial's of this sweep."""
        self._learned += 1
        self.accept(name, values)
        for steps in sorted({o.steps for o in observations}):
            self.observe([replace(o, trial=name) for o in observations if o.steps == steps])
        self.end(name)

    def _foreseen(self, begin: Callable[[], Foresight], number: int) -> Callable[[int], dict[str, Any]]:
        """Further attempts take the next best of what was found for the first."""
        running, found = [self._values[trial] for trial in self._live], list[dict[str, Any]]()
        coming: Iterator[dict[str, Any]] = iter(())

        def propose(attempt: int) -> dict[str, Any]:
            nonlocal coming
            if not found:
                coming = next_recipes(begin(), running, np.random.default_rng([self.seed, number]))
            found.extend(islice(coming, max(0, attempt + 1 - len(found))))
            return found[min(attempt, len(found) - 1)]

        return propose

    def accept(self, trial: str, values: Mapping[str, Any]) -> None:
        """A proposal becomes a trial: until it ends, others keep away from it."""
        self._values[trial] = dict(values)
        self._live[trial] = self._trial(trial, TrialState.RUNNING)

    def observe(self, checkpoint: Sequence[Observation]) -> None:
        """One rung of one trial: the observations of its checkpoint."""
        trial = checkpoint[0].trial
        known = [self._best[trial]] if trial in self._best else []
        best = representative_of([*known, *checkpoint], self.space.objectives, self.space.requirements)
        self._live.pop(trial, None)
        if self._known is not None:
            self._known.observe(checkpoint, self._values[trial])
        if known and best is known[0]:
            return
        (losses,) = to_losses(self.space.objectives, [best.scores]).tolist()
        self._best[trial] = best
        self._told[trial] = self._trial(trial, TrialState.COMPLETE, losses)
        if len(self._told) > MOST:
            self._thin_out()

    def fail(self, trial: str) -> None:
        """The trial ends for a failure. Without a score samplers learn nothing from it but that it is not running."""
        if trial not in self._best:
            self._failed.append(self._trial(trial, TrialState.FAIL))
        self.end(trial)

    def end(self, trial: str) -> None:
        """The trial has no more checkpoints to come."""
        self._live.pop(trial, None)

    def study(self) -> optuna.Study:
        """The table as an Optuna study."""
        return study_of(self._trials(len(self._values)), len(self.space.objectives), _optuna_sampler(self.kind, 0))

    def _trials(self, number: int) -> list[FrozenTrial]:
        """What the sampler is told for the proposal of this number.

        A live trial without a score is RUNNING, which TPE takes for a bad one (the constant liar), so that parallel
        proposals differ. Of very many an even sample will do.
        """
        running = list(self._live.values())
        if len(running) > LIARS:
            chosen = np.random.default_rng([self.seed, number]).choice(len(running), LIARS, replace=False)
            running = [running[i] for i in sorted(chosen)]
        return [*self._told.values(), *self._failed, *running]

    def _thin_out(self) -> None:
        """Half of what was told stays: the best of it, which samplers learn most from, and of the rest an even sample.

        So what is long ago and was not good fades, a half at a time.
        """
        names = list(self._told)
        scores = [self._best[name].scores for name in names]
        losses = ranking_losses(self.space.objectives, self.space.requirements, scores)
        order = order_selection(losses, REFERENCE_LOSS)
        best, rest = order[: MOST // 8], order[MOST // 8 :]
        self._thinned += 1
        generator = np.random.default_rng([self.seed, self._thinned])
        kept = np.concatenate([best, generator.choice(rest, MOST // 2 - len(best), replace=False)])
        self._told = {names[i]: self._told[names[i]] for i in np.sort(kept)}

    def _trial(self, trial: str, state: TrialState, losses: list[float] | None = None) -> FrozenTrial:
        parameters = self._values[trial]
        distributions = {name: self._distributions[name] for name in parameters}
        missed = {}
        if losses is not None:  # above 0 is missed, which every sampler of Optuna's understands
            missed = {str(each): each.excess(self._best[trial].scores) for each in self.space.requirements}
        return create_trial(
            state=state, values=losses, params=parameters, distributions=distributions, constraints=missed
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
        warnings.simplefilter(
            "ignore", optuna.exceptions.ExperimentalWarning
        )  # `constant_liar`, there since Optuna 2.8
        return TPESampler(n_startup_trials=1, multivariate=False, constant_liar=True, seed=seed)


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
