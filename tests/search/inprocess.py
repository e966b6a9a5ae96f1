"""A sweep without Ray: one trial after the other in this process, all else as it is."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest
from rich.console import Console

from search import sweep
from search.config import SweepConfig
from search.rungs import Continue
from search.trials.attempts import Attempts
from search.views.live import PlainLines
from tests.search.curves import Curves

Before = Callable[[str, int], None]
"""Called with a trial's name and how many of its rungs are scored, before the next."""


def without_ray(patch: pytest.MonkeyPatch, before: Before = lambda trial, rungs: None) -> None:
    """Until the patch is undone, `search.sweep` runs its trials here."""

    def fit(config: SweepConfig, state: Attempts, *_: object) -> sweep.Fit:
        state.look_ahead()
        while (given := state.next_trial()) is not None:
            trial, rungs = Curves.__new__(Curves), 0
            recipe, job = given.recipe.model_dump(), config.job.model_dump(mode="json")
            settings = {"job": job, "trial": given.trial, "recipe": recipe, "seed": given.seed}
            trial.setup(settings | ({} if given.score is None else {"score": given.score}))
            before(given.trial, rungs)
            while isinstance(state.record(trial.step()), Continue):
                rungs += 1
                before(given.trial, rungs)
        return sweep.Fit(gave_up=False, most=None)

    patch.setattr(sweep, "_ray", lambda config: nullcontext(1))
    patch.setattr(sweep, "_fit", fit)


class Lines(PlainLines):
    """What a person would see, in `text`."""

    def __init__(self, config: SweepConfig) -> None:
        self.console = Console(width=200, record=True, quiet=True)
        super().__init__(self.console, config.space, config.trials)
        self.said: list[str] = []

    def _line(self, text: str) -> None:
        self.said.append(text)

    @property
    def text(self) -> str:
        return "\n".join(self.said)
