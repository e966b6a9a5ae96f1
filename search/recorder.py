"""The sweep's slow company: MLflow, plots and pruning, in one thread beside the driver."""

import json
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.front import front_of
from search.journal import Ended, Event, Ledger, Observed, Proposed
from search.pruning import Pruning
from search.tally import Tally
from spaces import Space

if TYPE_CHECKING:
    from search.tracking import Tracking

REFRESH_SECONDS = 20.0
REFRESH_SHARE = 0.03
"""At most this share of the time goes into drawing plots."""
PATIENCE = 5
"""So many calls of MLflow may fail in a row before it is left alone until the sweep is resumed."""


class Recorder:
    """Takes events from the driver at once and works them off in the background, in order.

    What fails here is told through `complain`, once for each kind, and stops nothing: the journal has it all, and
    a resumed sweep hands its whole history over again.
    """

    def __init__(
        self,
        open_tracking: Callable[[], "Tracking"],
        history: Sequence[Event],
        space: Space,
        folder: Path,
        complain: Callable[[str], None],
    ) -> None:
        self._open_tracking, self._history, self._space = open_tracking, history, space
        self._folder, self._complain = folder, complain
        self._ledger, self._tally = Ledger(), Tally(space)
        self._pruning = Pruning(space.objectives, folder / "trials")
        self._failures, self._complaints = 0, set[str]()
        self._next_drawing = time.monotonic() + REFRESH_SECONDS
        self._queue: queue.SimpleQueue[Event | str] = queue.SimpleQueue()
        self._opened: Future[str] = Future()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def opened(self) -> str:
        """Waits until MLflow is there; the parent run's id. Raises what went wrong, if it did."""
        return self._opened.result()

    def put(self, event: Event) -> None:
        self._queue.put(event)

    def close(self, status: str) -> None:
        """Works off what is left, draws the final plots, keeps the front's adapters; returns when all is done."""
        self._queue.put(status)
        self._thread.join()

    def _work(self) -> None:
        try:
            tracking = self._open_tracking()
        except Exception as error:
            self._opened.set_exception(error)
            return
        self._opened.set_result(tracking.parent_run_id)
        for event in self._history:
            self._take(event, tracking)
        while not isinstance(item := self._queue.get(), str):
            self._take(item, tracking)
            if isinstance(item, Observed):
                value = self._tally.hypervolume(self._ledger)
                self._attempt(tracking.hypervolume, self._ledger.scored, self._ledger.seconds, value)
            if isinstance(item, Observed | Ended):
                self._attempt(self._pruning.prune, self._ledger)
            if self._queue.empty() and time.monotonic() >= self._next_drawing:
                self._draw(tracking)
        self._draw(tracking)
        front = front_of(self._ledger.table, self._space.objectives)
        folders = [Path(self._ledger.observed[o.trial, o.steps].folder) for o in front]
        self._attempt(tracking.keep_adapters, list(zip(front, folders, strict=True)))
        self._attempt(tracking.finish, item)

    def _take(self, event: Event, tracking: "Tracking") -> None:
        self._ledger.add(event)
        match event:
            case Proposed():
                self._attempt(tracking.trial_started, event.trial, event.recipe, event.seed)
            case Observed():
                self._attempt(tracking.observed, event.observations, Path(event.folder))
            case Ended():
                self._attempt(tracking.trial_ended, event.trial, event.status, event.reason)

    def _draw(self, tracking: "Tracking") -> None:
        if not self._ledger.observed:
            return
        began = time.monotonic()
        self._attempt(tracking.refresh, self._ledger.table, base_scores(self._folder), self._space, self._folder)
        now = time.monotonic()
        self._next_drawing = now + max(REFRESH_SECONDS, (now - began) / REFRESH_SHARE)

    def _attempt(self, call: Callable[..., None], *arguments: Any) -> None:
        if self._failures >= PATIENCE:
            return
        try:
            call(*arguments)
            self._failures = 0
        except Exception as error:  # whatever a server, a database or a disk can do; it is told, and it is not lost
            self._failures += 1
            kind = f"{call.__name__}: {type(error).__name__}: {' '.join(str(error).split())}"
            if call.__name__ not in self._complaints:
                self._complaints.add(call.__name__)
                self._complain(f"record: {kind} (the sweep goes on; `posefront resume` makes up for it)")


def base_scores(folder: Path) -> dict[str, float] | None:
    """What the untuned base scored on the sweep's panel, once the first trial has seen to it."""
    path = folder / "panel" / "base.json"
    return json.loads(path.read_text(encoding="utf-8"))["scores"] if path.is_file() else None
