"""What a sweep keeps on disk of its checkpoints."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from search.front import front_of
from search.journal import Ledger
from spaces import Objective

ADAPTER, STATE = "adapter", "state.safetensors"


def prune(ledger: Ledger, objectives: tuple[Objective, ...], trials: Path) -> None:
    """Deletes adapters that left the front, and states that no trial goes on from.

    `trials` has a folder for each trial with its checkpoints' in it. What is dominated stays so, hence its adapter
    may go. The newest checkpoint of a trial that has not ended is left whole, and so is whatever that trial wrote
    since: an interrupted trial goes on from there. Scores and pictures stay.
    """
    on_front = {(o.trial, o.steps) for o in front_of(ledger.table, objectives)}  # drawn in whichever way
    front = {Path(ledger.observed[checkpoint].folder) for checkpoint in on_front}
    for folder in _over(ledger, trials):
        (folder / STATE).unlink(missing_ok=True)
        if folder not in front and (folder / ADAPTER).is_dir():
            shutil.rmtree(folder / ADAPTER)


def _over(ledger: Ledger, trials: Path) -> Iterator[Path]:
    """The checkpoints that no trial goes on from."""
    for trial in ledger.endings:  # a failed one may have left a checkpoint that was never scored
        yield from (trials / trial).glob("step-*")
    for (trial, steps), event in ledger.observed.items():
        if trial not in ledger.endings and steps < ledger.reached(trial):
            yield Path(event.folder)
