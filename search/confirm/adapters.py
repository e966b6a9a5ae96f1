"""Which of a confirmation's adapters are kept: of each candidate on the confirmed front that of its best seed."""

import shutil
from pathlib import Path

from analysis.confirmed import Confirmation
from search.confirm.choose import Search
from search.front import representative_of
from search.journal import Ledger
from search.storage.pruning import ADAPTER, STATE
from spaces import Objective, Observation
from trainables.checkpoints.checksums import SUFFIX


def best_seeds(
    ledger: Ledger, confirmation: Confirmation, search: Search, objectives: tuple[Objective, ...]
) -> dict[tuple[str, int, str], Observation]:
    """By the candidate's key; of its observations the one that dominates the most volume by itself.

    It was chosen on pictures that the search never saw, but it was chosen: the mean says what to expect, not its score.
    """
    found: dict[tuple[str, int, str], Observation] = {}
    for candidate, key in [(c, c.key) for c in ledger.chosen.candidates]:
        each = confirmation.of(key)
        if each is not None and each.on_front:
            wanted = search.recipe(candidate), candidate.steps, candidate.label
            seen = [o for o in ledger.table if (o.recipe, o.steps, o.label) == wanted]
            found[key] = representative_of(seen, objectives)
    return found


def prune(ledger: Ledger, keep: set[tuple[str, int]] | None, search: Search, trials: Path) -> None:
    """Deletes the states of trainings that have ended, and all adapters but those of (trial, steps) to keep.

    None: the race goes on, and whatever is not off the front is kept. OSError when something cannot be deleted.
    """
    off = {name for name, verdict in ledger.judged[-1].verdicts.items() if verdict == "off"} if ledger.judged else set()
    alive = {(search.recipe(c), c.steps) for c in ledger.chosen.candidates if c.name not in off}
    for trial in ledger.endings:
        recipe = ledger.proposals[trial].recipe
        for folder in (trials / trial).glob("step-*"):
            steps = int(folder.name.removeprefix("step-"))
            (folder / STATE).unlink(missing_ok=True)
            wanted = (recipe, steps) in alive if keep is None else (trial, steps) in keep
            if not wanted and (folder / ADAPTER).is_dir():
                shutil.rmtree(folder / ADAPTER)
                (folder / ADAPTER).with_suffix(SUFFIX).unlink(missing_ok=True)
