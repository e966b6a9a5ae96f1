"""A confirmation's slow company: MLflow, plots and pruning, in one thread beside the driver."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace as replaced
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.confirmed import Confirmation
from search.confirm.adapters import best_seeds, prune
from search.confirm.choose import Search
from search.confirm.summary import standing_of, summary
from search.journal import Ended, Event, Judged, Ledger, Observed, Proposed
from search.recording.drawing import replace
from search.recording.recorder import Call, Recorder
from search.views.show import Found, found_in
from spaces import Observation, Space

if TYPE_CHECKING:
    from search.storage.depot import AtHome
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
                begun = event.recipe, event.seed, event.time, of
                self._backlog.append(Call(lambda t: t.trial_started(trial, *begun), trial))
            case Observed(main=main, time=at):
                folder = Path(event.folder)
                call = Call(lambda t: t.observed(event.observations, folder, at), main.trial, checkpoint=True)
                self._backlog.append(call)
            case Ended(trial=trial):
                call = Call(lambda t: t.trial_ended(trial, event.status, event.reason, event.time), trial)
                self._backlog.append(call)
            case Judged(time=at):
                said, look = self._summary(), len(self._ledger.judged)
                self._backlog.append(Call(lambda t: t.confirmed(said, look, at)))

    def _summary(self) -> Confirmation:
        return summary(self._ledger, self._search, self._space, self._folder)

    def _prune(self) -> None:
        prune(self._ledger, None, self._search, self._folder / "trials")

    def _front(self) -> list[Observation]:
        return list(best_seeds(self._ledger, self._summary(), self._search, self._space.objectives).values())

    def _found(self, status: str) -> Found:
        standing = standing_of(self._folder, self._searched, self._space)
        how = {"running": status == "running", "over": status.startswith("finished")}
        return found_in(self._depot.config, self._searched, self._status, standing and replaced(standing, **how))

    def _paint(self, found: Found) -> list[Path]:
        said = self._summary()
        content = {"over": self._ledger.closed is not None, "candidates": [each.to_json() for each in said.candidates]}
        replace(self._folder / CONFIRMED, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
        return [*super()._paint(found), self._folder / CONFIRMED]

    def _last(self, status: str) -> list[Call]:
        kept, at = self._front(), self._ledger.latest
        keys = {(o.trial, o.steps) for o in kept}
        if status not in ("interrupted", "failed"):
            self._attempt(lambda: prune(self._ledger, keys, self._search, self._folder / "trials"), "pruning")
        return [
            Call(lambda tracking: self._settle(tracking, kept)),
            Call(lambda tracking: tracking.finish(self._status, at, status)),
        ]
