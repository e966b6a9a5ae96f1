"""How the hypervolume of a sweep's front grew: over trials, over seconds and over seconds of GPUs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.growing import GrowingFront
from analysis.pareto import Floats
from spaces import REFERENCE_LOSS, Objective, Observation, Requirements, front_losses


@dataclass(frozen=True, eq=False)
class Course:
    """Steps of a curve that never falls: at each entry something was scored, from there on the volume is this."""

    trials: np.ndarray
    """How many trials had a score by then."""
    seconds: Floats
    """Since the sweep's start, the time without a driver left out."""
    worker_seconds: Floats
    """That all trials together had taken, of GPUs or, without any, of workers."""
    volume: Floats
    """Below the reference, 0 to 1."""

    @property
    def last(self) -> float:
        return float(self.volume[-1]) if len(self.volume) else 0.0

    def thinned(self) -> "Course":
        """Where the volume grew, and the end: the same curve in fewer points."""
        grew = np.diff(self.volume, prepend=0.0) > 0
        if len(grew):
            grew[-1] = True
        return Course(self.trials[grew], self.seconds[grew], self.worker_seconds[grew], self.volume[grew])


def course(
    observations: Sequence[Observation],
    seconds: Sequence[float],
    worker_seconds: Sequence[float],
    objectives: Sequence[Objective],
    requirements: Requirements = (),
) -> Course:
    """n observations in the order of arrival, each with its time and what it cost by itself (n each)."""
    front = GrowingFront([REFERENCE_LOSS] * len(objectives))
    seen, trials, volume = set[str](), [], []
    losses = front_losses(objectives, requirements, [o.scores for o in observations]).tolist()
    for o, row in zip(observations, losses, strict=True):
        front.add(row, o.key)
        seen.add(o.trial)
        trials.append(len(seen))
        volume.append(front.volume)
    return Course(
        np.array(trials, dtype=np.int64),
        np.array(seconds, dtype=float),
        np.cumsum(np.array(worker_seconds, dtype=float)),
        np.array(volume, dtype=float),
    )
