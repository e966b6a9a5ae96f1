"""How far a sweep is, kept up as its ledger grows."""

import math
from collections import Counter
from dataclasses import dataclass

from analysis.growing import GrowingFront
from search.journal import Ledger
from spaces import REFERENCE_LOSS, Objective, Observation, Space, front_losses


@dataclass(frozen=True)
class Speed:
    """What one kind of device did so far, and is doing."""

    steps: int
    """Optimizer steps, scored."""
    seconds: float
    """That they took, with all that goes with them."""
    trials: int
    """That were last seen there; of those that run, or of all where none does."""


@dataclass(frozen=True)
class Progress:
    """How far a sweep is."""

    trials: int | None
    """How many there are to be; None where no number bounds them."""
    running: int
    """Started, and neither ended nor paused."""
    finished: int
    stopped: int
    failed: int
    reached: tuple[tuple[int, int], ...]
    """(rung, how many trials were scored at it)."""
    front: int
    """Observations on the front."""
    hypervolume: float
    best: tuple[tuple[Objective, Observation], ...]
    """Each objective's best observation, of those that meet what is required."""
    speeds: tuple[Speed, ...]
    """Of each device that trials ran on."""
    paused: int = 0
    """That wait at a rung for a promotion."""

    @property
    def busy(self) -> float:
        """Seconds of work of all trials so far, on whatever device."""
        return sum(speed.seconds for speed in self.speeds)

    @property
    def ended(self) -> int:
        return self.finished + self.stopped + self.failed

    def seconds_left(self, workers: int) -> float | None:
        """From the steps that trials took so far; the running ones are taken to be half way, and the paused to stay
        so. None before the first end or pause, and without a number of trials.

        Each device is taken to go on at its own pace, with as many of the workers as it has of the running trials.
        """
        working = sum(speed.trials for speed in self.speeds)
        rate = sum(s.steps / s.seconds * s.trials / working for s in self.speeds if s.seconds and s.trials) * workers
        if self.ended + self.paused == 0 or rate == 0 or self.trials is None:
            return None
        done = self.ended + self.paused + self.running / 2
        return sum(speed.steps for speed in self.speeds) / done * (self.trials - done) / rate


class Tally:
    """Follows one ledger: every observation is looked at once, however often it is asked."""

    def __init__(self, space: Space) -> None:
        self._objectives, self._requirements = space.objectives, space.requirements
        self._front = GrowingFront([REFERENCE_LOSS] * len(space.objectives))
        self._best: list[tuple[float, Observation]] = []
        self._rungs, self._reached = space.rungs, Counter[int]()
        self._before = dict(zip(space.rungs, (0, *space.rungs), strict=False))
        self._steps, self._seconds, self._seen = Counter[str](), Counter[str](), 0
        self._where: dict[str, str] = {}
        self._ended_on = Counter[str]()

    def hypervolume(self, ledger: Ledger) -> float:
        """What the observations so far dominate: 0 is nothing, 1 all from the nadir to the ideal."""
        self._follow(ledger)
        return self._front.volume

    def progress(self, ledger: Ledger, trials: int | None) -> Progress:
        """How far the sweep is on its way to so many trials."""
        self._follow(ledger)
        best = tuple((o, seen) for o, (_, seen) in zip(self._objectives, self._best, strict=False))
        return Progress(
            trials=trials,
            running=ledger.running,
            finished=ledger.statuses["finished"],
            stopped=ledger.statuses["stopped"],
            failed=ledger.statuses["failed"],
            reached=tuple((rung, self._reached[rung]) for rung in self._rungs),
            front=len(self._front),
            hypervolume=self._front.volume,
            best=best,
            speeds=self._speeds(ledger),
            paused=len(ledger.paused),
        )

    def _speeds(self, ledger: Ledger) -> tuple[Speed, ...]:
        for trial in [trial for trial in self._where if trial in ledger.endings or trial in ledger.paused]:
            self._ended_on[self._where.pop(trial)] += 1
        at = Counter(self._where.values()) or self._ended_on
        return tuple(Speed(self._steps[d], self._seconds[d], at[d]) for d in sorted(self._seconds))

    def _follow(self, ledger: Ledger) -> None:
        new = ledger.table[self._seen :]
        self._seen += len(new)
        rows = front_losses(self._objectives, self._requirements, [o.scores for o in new]).tolist()
        for observation, row in zip(new, rows, strict=True):
            self._front.add(row, observation.key)
            device = observation.cost.device
            self._seconds[device] += observation.cost.total
            if not observation.label:
                self._reached[observation.steps] += 1
                self._steps[device] += observation.steps - self._before.get(observation.steps, 0)
                self._where[observation.trial] = device
            if any(map(math.isnan, row)):
                continue
            pairs = [(loss, observation) for loss in row]
            self._best = [
                min(pair, key=lambda seen: seen[0]) for pair in zip(self._best or pairs, pairs, strict=True)
            ]  # the earlier one where they are equal
