"""What a sweep keeps on disk of its checkpoints."""

import shutil
from collections import Counter
from itertools import islice
from pathlib import Path

from analysis.growing import GrowingFront
from search.journal import Ledger
from spaces import REFERENCE_LOSS, Objective, Requirements, front_losses
from trainables.checkpoints.checksums import SUFFIX

ADAPTER, STATE = "adapter", "state.safetensors"
KEPT = 2
"""So many of a running trial's checkpoints, as trials themselves keep."""


class Pruning:
    """Deletes adapters that left the front, and states that no trial goes on from.

    What is dominated stays so, hence its adapter may go. The newest two checkpoints of a trial that has not ended are
    left whole, and so is whatever that trial wrote since: an interrupted trial goes on from there, from the older
    where the newer is damaged. Scores and pictures stay.
    It follows one ledger: a checkpoint is looked at when its trial goes on or ends, and when it leaves the front.
    """

    def __init__(self, objectives: tuple[Objective, ...], trials: Path, requirements: Requirements = ()) -> None:
        """`trials` has a folder for each trial with its checkpoints' in it."""
        self._objectives, self._requirements, self._trials = objectives, requirements, trials
        self._grown = GrowingFront([REFERENCE_LOSS] * len(objectives))
        self._front = Counter[Path]()
        """Checkpoints on the front, with how many of the ways to draw them are."""
        self._newest: dict[str, list[Path]] = {}
        """The `KEPT` newest checkpoints of each trial, oldest first."""
        self._over: set[Path] = set()
        """No trial goes on from these."""
        self._due: dict[Path, None] = {}
        """To be looked at; what could not be deleted stays here."""
        self._seen = self._ended = 0

    def prune(self, ledger: Ledger) -> None:
        """Deletes what may go by now. OSError when something cannot be deleted; the next call tries again."""
        self._follow(ledger)
        while self._due:
            folder = next(iter(self._due))
            (folder / STATE).unlink(missing_ok=True)
            if folder not in self._front and (folder / ADAPTER).is_dir():
                shutil.rmtree(folder / ADAPTER)
                (folder / ADAPTER).with_suffix(SUFFIX).unlink(missing_ok=True)
            del self._due[folder]

    def _follow(self, ledger: Ledger) -> None:
        new = ledger.table[self._seen :]
        self._seen += len(new)
        rows = front_losses(self._objectives, self._requirements, [o.scores for o in new]).tolist()
        for seen, row in zip(new, rows, strict=True):
            folder = Path(ledger.observed[seen.trial, seen.steps].folder)
            gone = self._grown.add(row, (folder, seen.label))
            if gone is not None:
                self._front[folder] += 1
                self._left_the_front(Counter(left for left, _ in gone))
            newest = self._newest.setdefault(seen.trial, [])
            if folder not in newest:
                newest.append(folder)
            if len(newest) > KEPT:
                self._is_over(newest.pop(0))
        for trial in islice(reversed(ledger.endings), len(ledger.endings) - self._ended):
            for folder in (self._trials / trial).glob("step-*"):  # a failed one may have one that was never scored
                self._is_over(folder)
        self._ended = len(ledger.endings)

    def _left_the_front(self, gone: Counter[Path]) -> None:
        self._front -= gone
        for folder in gone.keys() & self._over - self._front.keys():
            self._due[folder] = None

    def _is_over(self, folder: Path) -> None:
        self._over.add(folder)
        self._due[folder] = None
