"""How many trials ended at each rung, and what that saved against training all of them to the last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spaces import Observation


@dataclass(frozen=True)
class AtRung:
    """What became of the trials that were scored at a rung."""

    steps: int
    scored: int
    went_on: int
    """Scored at a later rung."""
    stopped: int
    """Ended here by decision; at the last rung none is."""
    failed: int
    """Ended on the way to the next."""
    saved_steps: int
    """That the stopped ones were not trained."""
    saved_seconds: float
    """Estimated: what the rungs beyond took of others on average, times how much more or less than the average the
    trial took until here."""


def stops(
    observations: Sequence[Observation], rungs: Sequence[int], endings: Mapping[str, tuple[str, int]]
) -> list[AtRung]:
    """By rung. `endings`: of each trial that ended its status, and the last rung that it was scored at."""
    at = {steps: i for i, steps in enumerate(rungs)}
    names = list(dict.fromkeys(o.trial for o in observations))
    row = {name: i for i, name in enumerate(names)}
    seconds, scored = np.zeros((len(names), len(rungs))), np.zeros((len(names), len(rungs)), bool)
    for o in observations:
        if o.steps in at:
            seconds[row[o.trial], at[o.steps]] += o.cost.train + o.cost.score
            scored[row[o.trial], at[o.steps]] = True
    usual = _usual(seconds, scored, rungs)
    found = []
    for i, steps in enumerate(rungs):
        here = {status: [] for status in ("finished", "stopped", "failed")}
        for name, (status, last) in endings.items():
            if last == steps and name in row:
                here.setdefault(status, []).append(row[name])
        stopped = here["stopped"]
        until = usual[: i + 1].sum()
        pace = seconds[stopped, : i + 1].sum(axis=1) / until if until > 0 else np.ones(len(stopped))
        found.append(
            AtRung(
                steps=steps,
                scored=int(scored[:, i].sum()),
                went_on=int((scored[:, i] & scored[:, i + 1 :].any(axis=1)).sum()),
                stopped=len(stopped),
                failed=len(here["failed"]),
                saved_steps=len(stopped) * (rungs[-1] - steps),
                saved_seconds=float(pace.sum() * usual[i + 1 :].sum()),
            )
        )
    return found


def _usual(seconds: np.ndarray, scored: np.ndarray, rungs: Sequence[int]) -> np.ndarray:
    """Mean seconds that each rung took of those scored there; of a rung that none reached, by its steps."""
    spans = np.diff([0, *rungs])
    count = scored.sum(axis=0)
    mean = seconds.sum(axis=0) / np.maximum(count, 1)
    per_step = mean[count > 0].sum() / max(spans[count > 0].sum(), 1)
    return np.where(count > 0, mean, per_step * spans)
