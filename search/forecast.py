"""What a sweep that is yet to be run would reach: simulated many times over, by what was measured before.

The scheduler, sampler and budget are the production's (`search/simulate.py`); scores, noise and seconds are those of a
surrogate of earlier observations. So what it says is as good as that, and it says how good that is.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from analysis.growing import GrowingFront
from analysis.surrogate import Error, Scored, Surrogate, held_out
from search.budget import Plan
from search.config import SamplerKind
from search.journal import Ended, Event, Ledger, Observed, Proposed, events
from search.rungs import SchedulerKind
from search.simulate import Charges, Clock, Rung, simulate, virtual
from search.views.show import find
from spaces import REFERENCE_LOSS, Cost, InputError, Observation, Recipe, Space, front_losses

LEAST_RUNS = 8
"""From fewer runs nothing is to be learned of the recipes in between."""
GRID = 10
"""So many moments of a sweep are looked at."""


@dataclass(frozen=True)
class Measured:
    """What is known of a space's recipes."""

    scored: Scored
    names: tuple[str, ...]
    """Of the m scores."""
    charges: Charges
    """Beside a trial's own seconds."""
    in_words: str
    """Where it is from."""


@dataclass(frozen=True)
class Simulated:
    """One simulated sweep."""

    seconds: float
    trials: int
    ended: dict[str, int]
    """Trials by how they ended: `stopped at 50`, `finished`, ..."""
    front: int
    volumes: tuple[float, ...]
    """Hypervolume as scored, at the end of each GRID-th of the time."""
    worth: float
    """Hypervolume of all checkpoints without the noise."""
    spent: dict[str, float]
    """Shares of the workers' time."""


class Forecast:
    """Simulates sweeps of a space."""

    def __init__(self, space: Space, measured: Measured, speed: float = 1.0) -> None:
        """`speed`: how many times as fast the devices are as those that were measured."""
        self.space, self._measured, self._speed = space, measured, speed
        self._surrogate = Surrogate(space, measured.scored)

    def errors(self) -> dict[str, Error]:
        """How well the surrogate predicts runs of recipes that it never saw, by score."""
        return dict(
            zip(self._measured.names, held_out(self.space, self._measured.scored, self._surrogate), strict=True)
        )

    def run(
        self, plan: Plan, workers: int, seed: int, sampler: SamplerKind, scheduler: SchedulerKind, gpus: float = 0.0,
        promote: bool = False,
    ) -> Simulated:  # fmt: skip
        """One sweep with so many workers; `gpus` of a trial is what a budget of GPU seconds counts by."""
        clock, known = Clock(), dict[tuple[Recipe, int], tuple[np.ndarray, np.ndarray]]()
        state = virtual(self.space, clock, plan, seed, sampler, scheduler, gpus=gpus, promote=promote)
        if workers > 1:
            state.look_ahead()

        def task(recipe: Recipe, steps: int, trial: int) -> Rung:
            if (recipe, trial) not in known:
                known[recipe, trial] = self._curve(recipe, trial)
            scores, training = known[recipe, trial]
            at = self.space.rungs.index(steps)
            cost = Cost(
                train=float(training[at]) / self._speed,
                score=self._surrogate.scoring / self._speed,
                load=self._surrogate.loading if at == 0 else 0.0,
            )
            return Rung(dict(zip(self._measured.names, scores[at].tolist(), strict=True)), cost)

        seconds = simulate(state, task, self.space, workers, clock, self._measured.charges)
        return self._seen(state.ledger, seconds, workers)

    def _curve(self, recipe: Recipe, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """What a trial scores at each rung (r x m), and the seconds that it trains to each (r)."""
        points, rungs = [self._point(recipe)], self.space.rungs
        noise = self._surrogate.draw(np.random.default_rng(seed), len(rungs))
        return self._surrogate.mean(points, rungs)[0] + noise, self._surrogate.training(points, rungs)[0]

    def _point(self, recipe: Recipe) -> dict[str, Any]:
        point = self.space.point(recipe)
        if point is None:
            raise ValueError(f"{recipe} is not of the space {self.space.name}")
        return point

    def _seen(self, ledger: Ledger, seconds: float, workers: int) -> Simulated:
        seen, ends = list(ledger.observed.values()), [seconds * (i + 1) / GRID for i in range(GRID)]
        rows = self._losses([event.main.scores for event in seen])
        front, volumes = GrowingFront([REFERENCE_LOSS] * len(self.space.objectives)), list[float]()
        for event, row in zip(seen, rows, strict=True):
            while len(volumes) < GRID and event.time > ends[len(volumes)]:
                volumes.append(front.volume)
            front.add(row, event.main.key)
        volumes += [front.volume] * (GRID - len(volumes))
        return Simulated(
            seconds=seconds,
            trials=len(ledger.proposals),
            ended=dict(_ended(ledger)),
            front=len(front),
            volumes=tuple(volumes),
            worth=self._worth(ledger.table),
            spent=_spent(ledger.table, seconds * workers),
        )

    def _worth(self, table: Sequence[Observation]) -> float:
        points = [self._point(o.recipe) for o in table]
        steps = np.array([o.steps for o in table], dtype=np.int64)
        front = GrowingFront([REFERENCE_LOSS] * len(self.space.objectives))
        if table:
            scores = self._surrogate.predicted(points, steps).tolist()
            named = [dict(zip(self._measured.names, row, strict=True)) for row in scores]
            for row, o in zip(self._losses(named), table, strict=True):
                front.add(row, o.key)
        return front.volume

    def _losses(self, scores: Sequence[dict[str, float]]) -> list[list[float]]:
        return front_losses(self.space.objectives, self.space.requirements, scores).tolist()


def _ended(ledger: Ledger) -> Counter[str]:
    how = Counter(
        f"stopped at {end.steps}" if end.status == "stopped" else end.status for end in ledger.endings.values()
    )
    how["held by the budget"] = ledger.running
    how["paused to the end"] = len(ledger.paused)
    return how


def _spent(table: Sequence[Observation], whole: float) -> dict[str, float]:
    """Shares of the workers' time."""
    parts = {"training": "train", "scoring": "score", "loading": "load"}
    shares = {name: sum(getattr(o.cost, part) for o in table) / max(whole, 1e-9) for name, part in parts.items()}
    return shares | {"checkpoints, proposals and waiting": max(0.0, 1 - sum(shares.values()))}


def score_names(space: Space) -> tuple[str, ...]:
    """All that counts in a space."""
    return tuple(dict.fromkeys(each.name for each in (*space.objectives, *space.requirements)))


def of_sweeps(home: Path, names: Sequence[str], space: Space) -> Measured:
    """What earlier sweeps measured. InputError where there is too little, or it is of other recipes."""
    runs, values, steps, scores, training, scoring, loading = [], [], [], [], [], [], []
    wanted, outside, devices, told = score_names(space), 0, set[str](), list[Charges]()
    for name in names:
        found = find(home, name)
        told.append(charges_in(events(found.config.folder)))
        before = dict(zip(found.space.rungs, (0, *found.space.rungs), strict=False))
        for trial, proposal in found.ledger.proposals.items():
            point = space.point(proposal.recipe)
            seen = [event for (of, _), event in found.ledger.observed.items() if of == trial]
            if point is None:
                outside += bool(seen)
                continue
            loads = 0.0
            for event in seen:
                if not all(math.isfinite(event.main.scores.get(name, math.nan)) for name in wanted):
                    raise InputError("--from", f"{event.main.name} of {found.config.name} lacks a score of "
                                     f"{', '.join(wanted)}: nothing can be said of that")  # fmt: skip
                runs.append(f"{name}/{trial}")
                values.append(point)
                steps.append(event.main.steps)
                scores.append([event.main.scores[name] for name in wanted])
                training.append(event.main.cost.train / (event.main.steps - before.get(event.main.steps, 0)))
                scoring.append(sum(o.cost.score for o in event.observations))
                loads += sum(o.cost.load for o in event.observations)
                devices.add(event.main.cost.device)
            loading.append(loads)
    _check_enough("--from", len(set(runs)), outside, space)
    made = Scored(_numbered(runs), values, np.array(steps), np.array(scores), np.array(training), np.array(scoring),
                  float(np.mean(loading)))  # fmt: skip
    on = ", ".join(sorted(device for device in devices if device))
    left_out = f", {outside} trials of other recipes left out" if outside else ""
    said = f"{len(steps)} checkpoints of {len(set(runs))} trials of {', '.join(names)}{left_out}" + (
        f", on {on}" if on else ""
    )
    charges = Charges(
        *(median(getattr(each, part) for each in told) for part in ("checkpoint", "report", "suggestion"))
    )
    return Measured(made, wanted, charges, said)


def of_table(path: Path, space: Space) -> Measured:
    """A table of `benchmarks.table pack`. InputError where it is none, or of other recipes."""
    import pandas as pd

    wanted = score_names(space)
    try:
        table = pd.read_parquet(path).sort_values(["recipe", "seed", "steps"])
        columns = [f"score.{name}" for name in wanted]
        table[[*columns, "seconds.train", "seconds.score"]]
    except (OSError, ValueError) as error:
        raise InputError("--table", f"{path} cannot be read as parquet ({str(error).splitlines()[0]})") from None
    except KeyError as error:
        raise InputError("--table", f"{path} is no table of checkpoints: {error.args[0]}") from None
    fields = [name for name in table.columns if name.startswith("field.")]
    points = [
        _inside(space, {name.removeprefix("field."): row[name] for name in fields}) for row in table.to_dict("records")
    ]
    kept = np.array([point is not None for point in points])
    inside = table[kept]
    runs = [f"{recipe}/{seed}" for recipe, seed in zip(inside["recipe"], inside["seed"], strict=True)]
    _check_enough("--table", len(set(runs)), len(table) - len(inside), space)
    steps = inside["steps"].to_numpy(np.int64)
    first = np.r_[True, np.array(runs[1:]) != np.array(runs[:-1])]
    before = np.where(first, 0, np.r_[0, steps[:-1]])
    made = Scored(
        runs=_numbered(runs),
        values=[point for point in points if point is not None],
        steps=steps,
        scores=inside[columns].to_numpy(float),
        training=inside["seconds.train"].to_numpy(float) / (steps - before),
        scoring=inside["seconds.score"].to_numpy(float),
        loading=0.0,
    )
    said = (
        f"{len(steps)} checkpoints of {len(set(runs))} runs in {path.name}, which says nothing of loading and waiting"
    )
    return Measured(made, wanted, Charges(), said)


def charges_in(happened: Iterable[Event]) -> Charges:
    """What a sweep took beside training, scoring and loading, by the times of its journal: medians, which time without
    a driver does not move."""
    since, rungs, proposals = dict[str, float](), list[float](), list[float]()
    last: Event | None = None
    for event in happened:
        match event:
            case Proposed(trial=trial):
                since[trial] = event.time
                if isinstance(last, Ended):
                    proposals.append(event.time - last.time)
            case Observed(main=main):
                cost = sum(o.cost.total for o in event.observations)
                if main.trial in since:
                    rungs.append(max(0.0, event.time - since[main.trial] - cost))
                since[main.trial] = event.time
        last = event
    return Charges(checkpoint=median(rungs) if rungs else 0.0, suggestion=median(proposals) if proposals else 0.0)


def _inside(space: Space, row: dict[str, Any]) -> dict[str, Any] | None:
    """A row's values as the space has them. Parquet knows no column of numbers and None, and makes None NaN, and of
    whole numbers beside it fractions."""
    given = {name: value for name, value in row.items() if not (isinstance(value, float) and math.isnan(value))}
    values: dict[str, Any] = {}
    for parameter in space.parameters:
        if space.active(parameter, values):
            value = given.get(parameter.name)
            value = (
                int(value) if isinstance(value, float) and value.is_integer() and not parameter.has(value) else value
            )
            if not parameter.has(value):
                return None
            values[parameter.name] = value
    return values


def _numbered(names: Sequence[str]) -> np.ndarray:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])


def _check_enough(option: str, runs: int, outside: int, space: Space) -> None:
    if runs < LEAST_RUNS:
        others = f", and {outside} of others" if outside else ""
        wrong = f"{runs} runs with recipes of the space {space.name}{others}: it should be {LEAST_RUNS} at least"
        raise InputError(option, wrong)


def over_seeds(
    forecast: Forecast, plan: Plan, workers: int, seeds: int, sampler: SamplerKind, scheduler: SchedulerKind,
    gpus: float, ready: Callable[[int], None], promote: bool = False,
) -> list[Simulated]:  # fmt: skip
    """One sweep for each seed; `ready` hears how many are done."""
    found = []
    for seed in range(seeds):
        found.append(forecast.run(plan, workers, seed, sampler, scheduler, gpus, promote))
        ready(seed + 1)
    return found
