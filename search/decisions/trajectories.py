"""What a trial may still add to the front, by how much others gained between the same rungs."""

import math
from collections.abc import Sequence

from analysis.growing import GrowingFront
from spaces import REFERENCE_LOSS, Objective, Observation, Requirements, front_losses, to_losses

LEAST = 2
"""So many curves have to lead from one rung to another before anything is said of what lies between."""


class Trajectories:
    """The curves of all trials, and the front of all their checkpoints.

    A curve is a trial drawn in one way. From a checkpoint to a later rung it may at best go as the best of the others
    did in each objective; where it could get so adds to the front or not. One that is past its best, since
    an earlier checkpoint of its own is as good in all objectives, is not expected to turn.

    It is the same in whatever order observations came, and costs O(rungs + log n) for each with two objectives.
    """

    def __init__(self, objectives: Sequence[Objective], requirements: Requirements = ()) -> None:
        self._objectives, self._requirements = objectives, requirements
        self._curves: dict[tuple[str, str], dict[int, list[float]]] = {}
        self._steepest: dict[tuple[int, int], tuple[int, list[float]]] = {}
        """(from, to) in steps: how many curves, and the largest fall of each loss."""
        self._short: set[tuple[str, str, int]] = set()
        """Checkpoints that miss a requirement: a later one may meet it, so that they are nobody's best."""
        self._front = GrowingFront([REFERENCE_LOSS] * len(objectives))

    def add(self, observations: Sequence[Observation]) -> None:
        """Takes in observations that are new; those that are no numbers are left out."""
        scores = [o.scores for o in observations]
        losses = to_losses(self._objectives, scores).tolist()
        counted = front_losses(self._objectives, self._requirements, scores).tolist()
        for observation, row, on in zip(observations, losses, counted, strict=True):
            if not all(map(math.isfinite, row)):
                continue
            curve = self._curves.setdefault((observation.trial, observation.label), {})
            for steps, known in curve.items():
                earlier, later = (known, row) if steps < observation.steps else (row, known)
                between = min(steps, observation.steps), max(steps, observation.steps)
                self._fell(between, [b - a for a, b in zip(earlier, later, strict=True)])
            curve[observation.steps] = row
            if on != row:
                self._short.add((observation.trial, observation.label, observation.steps))
            self._front.add(on, observation.key)

    def may_add(self, observation: Observation, rungs: Sequence[int]) -> bool:
        """Whether its curve can still add to the front after this checkpoint, which was taken in."""
        name, at = (observation.trial, observation.label), observation.steps
        curve = self._curves[name]
        own = curve[at]
        for steps, row in curve.items():
            passed = steps < at and (*name, steps) not in self._short
            if passed and all(a <= b for a, b in zip(row, own, strict=True)):
                return False
        for rung in rungs:
            if rung <= at:
                continue
            count, falls = self._steepest.get((at, rung), (0, own))
            if count < LEAST or self._front.would_grow([a + b for a, b in zip(own, falls, strict=True)]):
                return True
        return False

    def _fell(self, between: tuple[int, int], by: list[float]) -> None:
        count, falls = self._steepest.get(between, (0, by))
        self._steepest[between] = count + 1, [min(a, b) for a, b in zip(falls, by, strict=True)]


def over(
    table: Sequence[Observation], objectives: Sequence[Objective], requirements: Requirements
) -> Trajectories:  # fmt: skip
    """The trajectories of a whole table; of two observations with one key the last counts."""
    made = Trajectories(objectives, requirements)
    made.add(list({o.key: o for o in table}.values()))
    return made


def none_left(steps: int) -> str:
    return f"at {steps} steps nothing that it may become adds to the front"
