"""Which of several sweeps is better, and whether that is more than luck, in rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.against import repeats, versus
from analysis.course import Course
from analysis.pareto import Floats
from spaces import REFERENCE_LOSS, Objective, Observation, Requirements, front_losses

ENOUGH = 6
"""Pairs from which on a test of their signs can tell: with fewer its p is above 0.05 whatever they are."""


@dataclass(frozen=True)
class Verdict:
    """One group against another at the same cost."""

    at: str
    """The cost, such as `after 24 trials`."""
    first: float
    """Mean hypervolume."""
    second: float
    difference: float
    low: float | None
    """The 95 % interval over pairs; None where there are fewer than three."""
    high: float | None
    p: float | None
    pairs: int
    """Of sweeps; 1 is one against one, whose p is over pairs of trials."""

    @property
    def in_words(self) -> str:
        """Whether it is a difference."""
        if self.p is None:
            return "cannot be told: repeat both three times or more"
        if 1 < self.pairs < ENOUGH:
            return f"cannot be told: the test has p {self.p:.2g}, and from {ENOUGH} pairs on it can be below 0.05"
        return f"significant, p {self.p:.2g}" if self.p < 0.05 else f"no significant difference, p {self.p:.2g}"


def verdicts(
    first: Sequence[tuple[Course, Sequence[Observation]]],
    second: Sequence[tuple[Course, Sequence[Observation]]],
    objectives: Sequence[Objective],
    requirements: Requirements,
) -> list[Verdict]:
    """At as many trials as all have, and at the time that all took. Sweeps are paired by their places.

    One sweep against one is tested by swapping pairs of trials, repeats by the signs of the differences of pairs.
    """
    count = min(len(first), len(second))
    pairs = [(a, b) for a, b in zip(first[:count], second[:count], strict=True) if len(a[1]) and len(b[1])]
    if not pairs:
        return []
    courses = [course for pair in pairs for course, _ in pair]
    trials, seconds = (min(getattr(c, name)[-1] for c in courses) for name in ("trials", "seconds"))
    costs = [(f"after {int(trials)} trials", "trials", trials), (f"after {seconds:.0f} s", "seconds", seconds)]
    if len(pairs) == 1:
        losses = [_by_trial(table, objectives, requirements) for _, table in pairs[0]]
        found = versus(*losses, REFERENCE_LOSS)
        kept = Verdict(
            f"after {found.trials} trials", found.first, found.second, found.difference, None, None, found.p, 1
        )
        _, name, most = costs[1]
        volumes = [volume_at(course, name, most) for course, _ in pairs[0]]
        return [kept, Verdict(costs[1][0], *volumes, volumes[0] - volumes[1], None, None, None, 1)]
    rows = []
    for at, name, most in costs:
        mine, theirs = ([volume_at(pair[side][0], name, most) for pair in pairs] for side in (0, 1))
        told = repeats(mine, theirs)
        means = float(np.mean(mine)), float(np.mean(theirs))
        rows.append(Verdict(at, *means, told.difference, told.low, told.high, told.p, told.pairs))
    return rows


def volume_at(course: Course, name: str, most: float) -> float:
    """The hypervolume that a sweep had reached when `trials` or `seconds` were so many."""
    before = int(np.searchsorted(getattr(course, name), most, side="right"))
    return float(course.volume[before - 1]) if before else 0.0


def _by_trial(
    table: Sequence[Observation], objectives: Sequence[Objective], requirements: Requirements
) -> list[Floats]:
    """Losses of each trial's observations, in the order in which trials were scored first."""
    losses = front_losses(objectives, requirements, [o.scores for o in table])
    rows: dict[str, list[int]] = {}
    for i, o in enumerate(table):
        rows.setdefault(o.trial, []).append(i)
    return [losses[of] for of in rows.values()]
