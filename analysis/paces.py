"""How fast each device was. Seconds of one are never added to another's, nor compared by a decision."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spaces import Observation


@dataclass(frozen=True)
class Pace:
    """What a device did of a sweep."""

    device: str
    """Its name; empty for records from before it was asked."""
    steps: int
    """Optimizer steps behind its checkpoints, each rung's own."""
    seconds: float
    """Training, scoring and loading."""
    train: float
    """Training alone."""
    peak_memory: int
    """Bytes at most of one trial; 0 is not measured."""

    @property
    def in_words(self) -> str:
        """One line."""
        memory = f", at most {self.peak_memory / 1e9:.1f} GB a trial" if self.peak_memory else ""
        step = f"{self.train / self.steps:.3g} s a step" if self.steps else "no step"
        return f"{self.device or 'unknown device'}: {step}, {self.seconds:.0f} s for {self.steps} steps in all{memory}"


def paces(observations: Iterable[Observation], rungs: Sequence[int]) -> list[Pace]:
    """By device, in the order of their names. A checkpoint's steps are those since the rung before."""
    before = dict(zip(rungs, (0, *rungs), strict=False))
    found: dict[str, list[Observation]] = {}
    for observation in observations:
        found.setdefault(observation.cost.device, []).append(observation)
    return [
        Pace(
            device=device,
            steps=sum(o.steps - before.get(o.steps, 0) for o in seen if not o.label),
            seconds=sum(o.cost.total for o in seen),
            train=sum(o.cost.train for o in seen),
            peak_memory=max(o.cost.peak_memory for o in seen),
        )
        for device, seen in sorted(found.items())
    ]
