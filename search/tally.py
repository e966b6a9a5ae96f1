"""How far a sweep is, kept up as its ledger grows."""

from collections import Counter
from dataclasses import dataclass

from analysis.growing import GrowingFront
from search.journal import Ledger
from spaces import REFERENCE_LOSS, Objective, Observation, Space, to_losses


@dataclass(frozen=True)
class Progress:
    """How far a sweep is."""

    trials: int
    """How many there are to be."""
    running: int
    """Started and not ended."""
    finished: int
    stopped: int
    failed: int
    reached: tuple[tuple[int, int], ...]
    """(rung, how many trials were scored at it)."""
    front: int
    """Observations on the front."""
    hypervolume: float
    best: tuple[tuple[Objective, Observation], ...]
    """Each objective's best observation."""
    busy: float
    """Seconds of work of all trials so far."""

    @property
    def ended(self) -> int:
        return self.finished + self.stopped + self.failed

    def seconds_left(self, workers: int) -> float | None:
        """From what the trials took so far; the running ones are taken to be half way. None before the first end."""
        if self.ended == 0:
            return None
        each = self.busy / (self.ended + self.running / 2)
        return each * (self.trials - self.ended - self.running / 2) / workers


class Tally:
    """Follows one ledger: every observation is looked at once, however often it is asked."""

    def __init__(self, space: Space) -> None:
        self._objectives = space.objectives
        self._front = GrowingFront([REFERENCE_LOSS] * len(space.objectives))
        self._best: list[tuple[float, Observation]] = []
        self._rungs, self._reached = space.rungs, Counter[int]()
        self._busy, self._seen = 0.0, 0

    def hypervolume(self, ledger: Ledger) -> float:
        """What the observations so far dominate: 0 is nothing, 1 all from the nadir to the ideal."""
        self._follow(ledger)
        return self._front.volume

    def progress(self, ledger: Ledger, trials: int) -> Progress:
        """How far the sweep is on its way to so many trials."""
        self._follow(ledger)
        best = tuple((o, seen) for o, (_, seen) in zip(self._objectives, self._best, strict=False))
        return Progress(
            trials=trials,
            running=len(ledger.proposals) - len(ledger.endings),
            finished=ledger.statuses["finished"],
            stopped=ledger.statuses["stopped"],
            failed=ledger.statuses["failed"],
            reached=tuple((rung, self._reached[rung]) for rung in self._rungs),
            front=len(self._front),
            hypervolume=self._front.volume,
            best=best,
            busy=self._busy,
        )

    def _follow(self, ledger: Ledger) -> None:
        new = ledger.table[self._seen :]
        self._seen += len(new)
        for observation, row in zip(new, to_losses(self._objectives, [o.scores for o in new]).tolist(), strict=True):
            self._front.add(row, observation.key)
            self._busy += observation.cost.total
            if not observation.label:
                self._reached[observation.steps] += 1
            pairs = [(loss, observation) for loss in row]
            self._best = [
                min(pair, key=lambda seen: seen[0]) for pair in zip(self._best or pairs, pairs, strict=True)
            ]  # the earlier one where they are equal
