"""The sweep's slow company: MLflow, plots and pruning, in one thread beside the driver."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.paces import paces
from search.confirm.summary import Standing, standing_of
from search.front import front_of
from search.journal import Ended, Event, Ledger, Observed, Promoted, Proposed
from search.recording import story
from search.recording.about import About, about
from search.recording.allowance import Allowance
from search.recording.drawing import BASE_SCORES, draw, replace, shrink, warm_up
from search.rungs import Pause
from search.storage.pruning import ADAPTER
from search.tracking.outage import BackOff, Unreachable, in_short
from search.views.show import Found, found_in
from search.views.tally import Tally
from spaces import InputError, Observation, Space
from trainables.checkpoints.checksums import check

if TYPE_CHECKING:
    from search.storage.depot import AtHome, Depot
    from search.tracking import Tracking

REFRESH_SECONDS = 20.0
REFRESH_SHARE = 0.01
"""At most this share of a processor's time goes into what the sweep's page shows: plots, table, description."""
FIRST_COST = 1.25
"""Processor seconds that they are taken to need before it was seen."""
PATIENCE = 3
"""After so many failures in a row MLflow is asked again only after a while."""
TELL_AFTER = 5.0
"""Seconds: a shorter outage is not worth a line."""
END_PATIENCE = 60.0
"""Seconds that a sweep's end waits for MLflow while nothing is taken."""
END_LIMIT = 600.0
"""Seconds that a sweep's end waits for MLflow at most, however much is still taken."""


@dataclass(frozen=True)
class Missing:
    """What MLflow still lacks when a sweep's end has waited long enough."""

    checkpoints: int
    """Scored checkpoints that are not, or not wholly, recorded."""
    scored: int
    """All that the sweep scored."""
    reason: str

    def __str__(self) -> str:
        what = (
            f"{self.checkpoints} of {self.scored} scored checkpoints" if self.checkpoints else "the sweep's last state"
        )
        return f"MLflow lacks {what}: it {self.reason}"


@dataclass(frozen=True)
class Call:
    """Something that MLflow is to be told. It may be repeated."""

    do: Callable[["Tracking"], None]
    trial: str | None = None
    """Calls about one trial keep their order."""
    checkpoint: bool = False


class Recorder:
    """Takes events from the driver at once and works them off in the background, in order.

    What MLflow does not take stays in a backlog and is tried again, with growing pauses, until it does. Nothing
    here stops the sweep: the journal has it all, and a resumed sweep hands its whole history over again.
    """

    def __init__(
        self,
        open_tracking: Callable[[], "Tracking"],
        opened: Callable[[str], None],
        history: Sequence[Event],
        space: Space,
        depot: "AtHome | Depot",
        complain: Callable[[str], None],
    ) -> None:
        """`opened` hears the parent run's id once MLflow is there."""
        self._open_tracking, self._on_opened, self._space = open_tracking, opened, space
        self._depot, self._folder, self._complain = depot, depot.config.folder, complain
        self._ledger, self._tally, self._tracking = Ledger(), Tally(space), None
        self._meter, gpus = depot.config.meter, depot.config.gpus_per_trial
        self._costs = "worker_seconds" if gpus == 0 else "GPU_seconds"
        self._backlog: deque[Call] = deque([Call(self._tell)])
        self._back_off = BackOff(time.monotonic)
        self._last_taken = time.monotonic()
        self._given = self._recorded = 0
        """Scored checkpoints that came in, and those of them that MLflow took."""
        self._complete = False
        self._reason, self._told, self._complaints = "has not answered yet", False, set[tuple[str, str]]()
        self._page = Allowance(REFRESH_SHARE, REFRESH_SECONDS, FIRST_COST, time.monotonic())
        self._shown: Found | None = None
        self._painted: list[Path] = []
        self._queue: queue.SimpleQueue[Event | str] = queue.SimpleQueue()
        self._opened: Future[bool] = Future()
        self._given_up = threading.Event()
        for event in history:
            self._given += isinstance(event, Observed)
            self._ledger.add(event)
            self._note(event)
        self._attempt(lambda: self._look("running"), "plots")
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def opened(self) -> bool:
        """Waits for the first attempt to open MLflow: whether it is there. InputError for what will not mend itself."""
        return self._opened.result()

    def put(self, event: Event) -> None:
        """Of the driver's thread alone."""
        self._given += isinstance(event, Observed)
        self._queue.put(event)

    def close(self, status: str, patience: float | None = None) -> Missing | None:
        """Works off what is left, draws the final plots, keeps the front's adapters.

        Returns when all is done, or with what is missing when MLflow takes nothing for `patience` seconds. Ctrl-C does
        not wait.
        """
        patience = END_PATIENCE if patience is None else patience
        self._queue.put(status)
        began, told = time.monotonic(), False
        try:
            while self._thread.is_alive():
                self._thread.join(0.2)
                now = time.monotonic()
                idle = now - max(began, self._last_taken)
                if idle > TELL_AFTER and not told:
                    told = True
                    self._complain(f"record: waiting up to {patience:.0f} s for MLflow (Ctrl-C does not wait)")
                if idle > patience or now - began > END_LIMIT:
                    break
        except KeyboardInterrupt:
            pass
        self._given_up.set()
        if self._complete:
            return None
        return Missing(self._given - self._recorded, self._given, self._reason)

    def _run(self) -> None:
        """A mistake of ours in here must not leave the sweep waiting."""
        try:
            self._work()
        except Exception as error:
            self._reason = in_short(error)
            self._complain(f"record: stopped ({self._reason}); the sweep goes on without MLflow")
            if not self._opened.done():
                self._opened.set_result(False)

    def _work(self) -> None:
        self._catch_up()
        if self._opened.exception() is not None:
            return
        self._attempt(warm_up, "plots")
        while (status := self._take_in()) is None:
            self._catch_up()
            if self._queue.empty() and time.monotonic() >= self._page.at:
                self._draw("running")
        self._draw(status)
        self._backlog.extend(self._last(status))
        while self._backlog and not self._given_up.is_set():
            self._catch_up()
            if self._backlog:
                self._given_up.wait(self._back_off.seconds_left)
        self._complete = not self._backlog

    def _last(self, status: str) -> list[Call]:
        """What MLflow is to hear at the end."""
        front, at = self._front(), self._ledger.latest
        return [
            Call(lambda tracking: self._settle(tracking, front)),
            Call(lambda tracking: tracking.finish(status, at)),
        ]

    def _settle(self, tracking: "Tracking", front: Sequence[Observation]) -> None:
        """What the front comes to. It fails, and is tried again, until MLflow has the runs of all its trials."""
        folders = [(o, Path(self._ledger.observed[o.trial, o.steps].folder)) for o in front]
        tracking.keep_adapters([(o, folder) for o, folder in folders if self._whole(folder / ADAPTER)])
        tracking.mark_front(front)
        self._tell(tracking)

    def _prune(self) -> None:
        self._depot.prune(self._ledger)

    def _front(self) -> list[Observation]:
        """Whose adapters MLflow keeps."""
        return front_of(self._ledger.table, self._space.objectives, self._space.requirements)

    def _found(self, status: str) -> Found:
        """What the page is about."""
        return found_in(self._depot.config, self._ledger, status, self._standing())

    def _look(self, status: str) -> Found:
        """Takes in what the page is about as it is now."""
        self._shown = self._found(status)
        return self._shown

    def _paint(self, found: Found) -> list[Path]:
        """Draws the plots; what MLflow gets of them."""
        table = self._folder / story.TABLE
        replace(table, story.table(found))
        standing = found.standing.confirmation if found.standing else None
        plots = draw(found.ledger.table, found.base, self._space, self._folder, standing)
        return [*plots, shrink(plots[-1]), table]

    @cached_property
    def _about(self) -> About:
        return about(self._depot.config, self._ledger)

    def _standing(self) -> Standing | None:
        """Of an earlier confirmation, which a sweep that goes on has too."""
        try:
            return standing_of(self._folder, self._ledger, self._space)
        except InputError as error:
            self._tell_once("plots", f"{error}; they go without it")
            return None

    def _whole(self, adapter: Path) -> bool:
        try:
            check(adapter)
        except InputError as error:
            self._tell_once("record", f"{error}; MLflow goes without it")
            return False
        return True

    def _take_in(self) -> str | None:
        """Waits for events, or until MLflow is to be tried again; the status when the sweep is over."""
        try:
            item = self._queue.get(timeout=self._back_off.seconds_left if self._backlog else None)
            scored = False
            while not isinstance(item, str):
                self._ledger.add(item)
                self._note(item)
                scored = scored or isinstance(item, Observed | Ended)
                if self._queue.empty():
                    break
                item = self._queue.get()
            if scored:
                self._attempt(self._prune, "pruning")
            return item if isinstance(item, str) else None
        except queue.Empty:
            return None

    def _note(self, event: Event) -> None:
        """Puts on the backlog what MLflow is to hear of an event that the ledger has."""
        match event:
            case Proposed(trial=trial):
                begun = event.recipe, event.seed, event.time
                self._backlog.append(Call(lambda t: t.trial_started(trial, *begun), trial))
            case Observed(main=main, time=at):
                folder = Path(event.folder)
                call = Call(lambda t: t.observed(event.observations, folder, at), main.trial, checkpoint=True)
                self._backlog.append(call)
                value, over = self._tally.hypervolume(self._ledger), self._costs_so_far()
                self._backlog.append(Call(lambda t: t.hypervolume(value, at, **over)))
                if isinstance(event.decision, Pause):
                    self._backlog.append(Call(lambda t: self._pause(t, main.trial), main.trial))
            case Promoted(trial=trial):
                first = self._ledger.proposals[trial]
                begun = first.recipe, first.seed, first.time
                self._backlog.append(Call(lambda t: t.trial_started(trial, *begun), trial))
            case Ended(trial=trial):
                call = Call(lambda t: t.trial_ended(trial, event.status, event.reason, event.time), trial)
                self._backlog.append(call)

    def _pause(self, tracking: "Tracking", trial: str) -> None:
        """What is told anew, of a journal that goes on, may be over."""
        if trial in self._ledger.paused:
            tracking.trial_paused(trial)

    def _costs_so_far(self) -> dict[str, float]:
        """What the front so far took, by the names of its curves."""
        ledger = self._ledger
        spent = self._meter.gpu_seconds(ledger)
        return {"trials": ledger.scored, "seconds": ledger.seconds, self._costs: spent}

    def _catch_up(self) -> None:
        """One pass over what MLflow lacks, unless it is left alone for a while.

        A call that fails stays, and so do the later ones about the same trial; after `PATIENCE` failures in a row
        the pass is over.
        """
        if self._back_off.seconds_left > 0 or not self._open():
            return
        row, progress, stuck, again = 0, False, set[str](), deque[Call]()
        while self._backlog and row < PATIENCE and not self._given_up.is_set():
            call = self._backlog.popleft()
            if call.trial in stuck:
                again.append(call)
            elif self._takes(call):
                row, progress = 0, True
            else:
                row += 1
                again.append(call)
                stuck |= {call.trial} if call.trial else set()
        self._backlog.extendleft(reversed(again))
        if self._backlog:
            self._back_off.pause(progress)
        else:
            self._succeeded()

    def _takes(self, call: Call) -> bool:
        try:
            call.do(self._tracking)
        except FileNotFoundError as error:  # somebody deleted what was to be copied: nobody will bring it back
            self._tell_once("record", f"{error.filename} is gone, and MLflow goes without it")
        except Exception as error:  # whatever a server, a database or a disk can do
            self._failed(error)
            return False
        self._recorded += call.checkpoint
        self._last_taken = time.monotonic()
        return True

    def _open(self) -> bool:
        if self._tracking is None:
            try:
                self._tracking = self._open_tracking()
                self._on_opened(self._tracking.parent_run_id)
            except Exception as error:
                self._tracking = None
                if not self._opened.done():
                    mistake = isinstance(error, InputError) and not isinstance(error, Unreachable)
                    self._opened.set_exception(error) if mistake else self._opened.set_result(False)
                self._failed(error)
                self._back_off.pause()
                return False
            self._last_taken = time.monotonic()
        if not self._opened.done():
            self._opened.set_result(True)
        return True

    def _failed(self, error: Exception) -> None:
        self._reason = in_short(error)
        self._back_off.failed()
        if self._back_off.failing_for >= TELL_AFTER and not self._told:
            self._told = True
            self._complain(
                f"record: MLflow {self._reason}; the sweep goes on, what is missing is written when it answers again"
            )

    def _succeeded(self) -> None:
        if self._told:
            self._complain(f"record: MLflow answers again after {self._back_off.failing_for:.0f} s, nothing is missing")
        self._told = False
        self._back_off.end()

    def _draw(self, status: str) -> None:
        """Draws what the page shows; MLflow gets it with what else it is to hear."""
        if not self._ledger.observed:
            if status != "running":
                self._attempt(lambda: self._look(status), "plots")
                self._backlog.append(Call(self._tell))
            return
        began = time.thread_time()
        self._page.begin()
        self._depot.fetch(self._folder / BASE_SCORES)
        self._attempt(lambda: setattr(self, "_painted", self._paint(self._look(status))), "plots")
        if not any(call.do == self._upload for call in self._backlog):
            self._backlog.append(Call(self._upload))
        self._page.spend(time.thread_time() - began, time.monotonic())

    def _tell(self, tracking: "Tracking") -> None:
        if self._shown is not None:
            tracking.tell(story.page(self._shown, tracking.addresses, self._about))

    def _upload(self, tracking: "Tracking") -> None:
        began = time.thread_time()
        devices = paces(self._ledger.table, self._space.rungs)
        words = "; ".join(pace.in_words for pace in devices) if len(devices) > 1 else ""
        tracking.plots(self._painted, [story.TABLE], words)
        tracking.mark_front(self._front())
        self._tell(tracking)
        self._page.spend(time.thread_time() - began, time.monotonic())

    def _attempt(self, call: Callable[[], None], what: str) -> None:
        """What fails here, on this machine, is told once for each kind."""
        try:
            call()
        except Exception as error:
            self._tell_once(what, f"{in_short(error)} (the sweep goes on)")

    def _tell_once(self, what: str, text: str) -> None:
        if (what, text) not in self._complaints:
            self._complaints.add((what, text))
            self._complain(f"{what}: {text}")
