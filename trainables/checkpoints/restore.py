"""Going on from the newest checkpoint that is whole."""

from collections.abc import Sequence
from pathlib import Path

from spaces import InputError
from trainables.finetune import FineTune

KEPT = 2
"""So many of a trial's states are kept while it runs: the newest, and the one to go on from should that be damaged."""


def restore(finetune: FineTune, states: Sequence[Path]) -> list[str]:
    """Loads the newest of the states, oldest first, that is whole; deletes those that are not. What to tell of them."""
    notes = []
    for state in reversed(states):
        try:
            finetune.load_state(state)
            break
        except (InputError, ValueError) as error:
            notes.append(str(error))
            state.unlink()
    if not notes:
        return []
    return [f"{'; '.join(notes)}; it is trained on from step {finetune.steps} again"]


def drop_old(states: Sequence[Path]) -> None:
    """Deletes all states but the newest of scored checkpoints, and folders that are empty then.

    What was saved between two rungs is not needed any more when the next is scored.
    """
    scored = [state for state in states if (state.parent / "observation.json").exists()]
    for state in states:
        if state not in scored[-KEPT:]:
            state.unlink()
            if not any(state.parent.iterdir()):
                state.parent.rmdir()
