"""A confirmation's slow company: MLflow, plots and pruning, in one thread beside the driver."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.confirmed import Confirmation
from search.confirm.adapters import best_seeds, prune
from search.confirm.choose import Search
from search.confirm.summary import summary
from search.journal import Ended, Event, Judged, Ledger, Observed, Proposed
from search.pruning import ADAPTER
from search.recorder import Call, Recorder, base_scores, draw, replace
from spaces import Space

if TYPE_CHECKING:
    from search.depot import AtHome
    from search.tracking import Tracking

CONFIRMED = "confirmed.json"
"""The confirmed front, in the sweep's folder and as its artifact."""


class ConfirmRecorder(Recorder):
    """Tells MLflow of a confirmation in the run of the sweep that it belongs to."""

    def __init__(
        self,
        open_tracking: Callable[[], "Tracking"],
        opened: Callable[[str], None],
        history: Sequence[Event],
        space: Space,
        depot: "AtHome",
        complain: Callable[[str], None],
        searched: Ledger,
        status: str,
    ) -> None:
        """`searched` is the sweep's own ledger, `status` what it has come to."""
        self._searched, self._search, self._status = searched, Search(searched), status
        super().__init__(open_tracking, opened, history, space, depot, complain)

    def _note(self, event: Event) -> None:
        match event:
            case Proposed(trial=trial, values=values):
                of = str(values["of"])
                self._backlog.append(Call(lambda t: t.trial_started(trial, event.recipe, event.seed, of), trial))
            case Observed(main=main, time=at):
                folder = Path(event.folder)
                call = Call(lambda t: t.observed(event.observations, folder, at), main.trial, checkpoint=True)
                self._backlog.append(call)
            case Ended(trial=trial):
                self._backlog.append(Call(lambda t: t.trial_ended(trial, event.status, event.reason), trial))
            case Judged(time=at):
                said, look = self._summary(), len(self._ledger.judged)
                self._backlog.append(Call(lambda t: t.confirmed(said, look, at)))

    def _summary(self) -> Confirmation:
        return summary(self._ledger, self._search, self._space, self._folder)

    def _prune(self) -> None:
        prune(self._ledger, None, self._search, self._folder / "trials")

    def _paint(self) -> list[Path]:
        said = self._summary()
        content = {"over": self._ledger.closed is not None, "candidates": [each.to_json() for each in said.candidates]}
        replace(self._folder / CONFIRMED, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
        base = base_scores(self._folder)
        return [*draw(self._searched.table, base, self._space, self._folder, said), self._folder / CONFIRMED]

    def _last(self, status: str) -> list[Call]:
        objectives = self._space.objectives
        kept = list(best_seeds(self._ledger, self._summary(), self._search, objectives).values())
        keys = {(o.trial, o.steps) for o in kept}
        if status not in ("interrupted", "failed"):
            self._attempt(lambda: prune(self._ledger, keys, self._search, self._folder / "trials"), "pruning")
        folders = [(o, Path(self._ledger.observed[o.trial, o.steps].folder)) for o in kept]
        whole = [(o, folder) for o, folder in folders if self._whole(folder / ADAPTER)]
        return [
            Call(lambda tracking: tracking.keep_adapters(whole)),
            Call(lambda tracking: tracking.finish(self._status, status)),
        ]
