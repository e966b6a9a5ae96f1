"""Where a driver's sweep is kept: in the home alone, or on a storage as well.

On a storage the journal follows every event within a second or so, and MLflow hears of an event only after the
storage has it, so that a machine that is lost takes nothing with it that anybody was told of. A trial starts only
once its proposal is there. What a trial scored and the journal there lacks, the trial itself finds again.
"""

import _thread
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search import journal
from search.config import SweepConfig
from search.front import front_of
from search.journal import Event, Ledger, Proposed
from search.storage import remote
from search.storage.lease import Lease
from search.storage.pruning import ADAPTER, STATE, Pruning
from trainables.checkpoints.checksums import SUFFIX
from trainables.storage import StorageError

SETTLE = 60.0
"""Seconds that a new trial waits for its proposal to reach a storage that does not answer."""
LAST_PATIENCE = 60.0
"""Seconds that a sweep's end waits for a storage that does not answer."""
_PAUSE = 1.0
"""Seconds between two pushes of the journal at least, so that events in a row go in one."""
_BYTES_PER_SECOND = 2e6
"""The journal goes whole each time: a long one less often."""


class AtHome:
    """The sweep's folder is all there is, or all that is written to."""

    def __init__(self, config: SweepConfig) -> None:
        self.config = config
        self._store = remote.store_of(config.job) if config.job.storage else None
        self._pruning = _pruning(config)

    def start(self, forward: Callable[[Event], None]) -> None:
        self.put = forward

    def fetch(self, path: Path) -> None:
        """Brings a file or folder of the sweep here, if there is a storage that has it."""
        if self._store is not None:
            remote.fetch(self._store, self.config.folder, path)

    def prune(self, ledger: Ledger) -> None:
        """Deletes what nobody needs any more; always of one ledger, as it grows."""
        self._pruning.prune(ledger)

    def drain(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing to give back."""


class Depot:
    """The sweep's folder, and the storage that has all of it. `put` is the driver's; the rest any one thread's."""

    def __init__(self, config: SweepConfig, lease: Lease, note: Callable[[str], None]) -> None:
        self.config, self._lease, self._note = config, lease, note
        self._store, self._folder = remote.store_of(config.job), config.folder
        self._pushing = remote.store_of(config.job, patience=5)
        self._waiting: list[Event] = []
        self._changed = threading.Condition()
        self._taken_in = self._settled = 0
        """Events that came in, and those of them that are on the storage."""
        self._closing = self._urgent = False
        self._out = False
        """Whether the storage does not answer."""
        self._pruning = _pruning(config)
        self._checkpoints: dict[str, dict[str, list[str]]] | None = None
        """Of ended trials: each checkpoint's files of the adapter, on the storage."""

    def start(self, forward: Callable[[Event], None]) -> None:
        """`forward` hears of each event once the storage has it, in order."""
        self._forward = forward
        self._thread = threading.Thread(target=self._work, name="depot", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """An event that the journal has. A new trial's waits until the storage has it too, or does not answer."""
        with self._changed:
            self._waiting.append(event)
            self._taken_in += 1
            number = self._taken_in
            self._urgent |= isinstance(event, Proposed)
            self._changed.notify_all()
            if self._urgent and not self._out:
                self._changed.wait_for(lambda: self._settled >= number or self._out, SETTLE)

    def fetch(self, path: Path) -> None:
        """Brings a file or folder of the sweep here, if the storage has it."""
        remote.fetch(self._store, self._folder, path)

    def prune(self, ledger: Ledger) -> None:
        """Deletes what nobody needs any more, here and on the storage; there, of trials that have ended."""
        self._pruning.prune(ledger)
        if self._checkpoints is None:
            self._checkpoints = {}
            self._take_in(self._store.files("trials"), set(ledger.endings))
        for trial in ledger.endings.keys() - self._checkpoints.keys():
            self._take_in(self._store.files(f"trials/{trial}"), {trial})
        space = self.config.space
        front = front_of(ledger.table, space.objectives, space.requirements)
        on_front = {f"trials/{o.trial}/step-{o.steps:06d}" for o in front}
        for checkpoints in self._checkpoints.values():
            for folder in checkpoints.keys() - on_front:
                self._store.delete(checkpoints.pop(folder))

    def drain(self) -> None:
        """Waits until everybody has heard of all events, the storage as far as it answers."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def close(self) -> None:
        """Takes the journal's end there and gives the lease back."""
        try:
            remote.store_of(self.config.job, LAST_PATIENCE).write(self._journal_name, self._journal())
        except StorageError as error:
            self._note(f"storage: {error}; what it lacks is in {self._folder}: resume the sweep on this machine")
        self._lease.release()

    def _work(self) -> None:
        first, content = True, b""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: first or self._waiting or self._closing)  # noqa: B023 (waited for here)
                events, self._waiting, self._urgent = self._waiting, [], False
            if not events and not first:
                return
            first, content = False, self._journal()
            self._follow(content)
            for event in events:
                self._forward(event)
            with self._changed:
                self._settled += len(events)
                self._changed.notify_all()
                pause = _PAUSE + len(content) / _BYTES_PER_SECOND
                self._changed.wait_for(lambda: self._closing or self._urgent, pause)

    def _follow(self, content: bytes) -> None:
        """Returns when the storage has it, or when the sweep ends and the storage has not answered for long."""
        until = math.inf
        while time.monotonic() < until:
            try:
                self._pushing.write(self._journal_name, content)
            except StorageError as error:
                self._tell(str(error))
                if self._closing and until == math.inf:
                    until = time.monotonic() + LAST_PATIENCE
                time.sleep(1)
                continue
            if self._out:
                self._note("storage: answers again, and has the journal")
                self._out = False
            return

    def _tell(self, error: str) -> None:
        with self._changed:
            told, self._out = self._out, True
            self._changed.notify_all()
        if not told:
            self._note(f"storage: {error}; the sweep goes on, its journal follows when the storage answers")

    def _journal(self) -> bytes:
        return journal.whole_lines(self._folder)

    @property
    def _journal_name(self) -> str:
        return remote.journal_name(self._lease.term)

    def _take_in(self, files: dict[str, Any], trials: set[str]) -> None:
        """Deletes the states of trials that have ended, and learns where their adapters are."""
        states = []
        for trial in trials:
            self._checkpoints.setdefault(trial, {})
        for name in files:
            _, trial, step, *rest = name.split("/")
            if trial in trials and rest[:1] in ([ADAPTER], [ADAPTER + SUFFIX]):
                self._checkpoints[trial].setdefault(f"trials/{trial}/{step}", []).append(name)
            elif trial in trials and rest == [STATE]:
                states.append(name)
        self._store.delete(states)


def _pruning(config: SweepConfig) -> Pruning:
    return Pruning(config.space.objectives, config.folder / "trials", config.space.requirements)


@contextmanager
def opened(
    config: SweepConfig, note: Callable[[str], None], new: bool = False, take_over: bool = False
) -> Iterator[AtHome | Depot]:
    """Holds a sweep for a driver and has its folder made, or made what the storage has.

    InputError when another driver has it, with nothing left behind.
    """
    if config.job.storage is None:
        if new:
            config.save()
        yield AtHome(config)
        return
    store = remote.store_of(config.job)

    def lost(to: str) -> None:
        note(f"storage: {to} took the sweep over; stopping here")
        _thread.interrupt_main(signal.SIGTERM)

    lease = Lease(store, take_over, note, lost)
    try:
        if new:
            config = remote.begin(config, store)
        else:
            remote.bring(config, store, note)
        remote.set_term(config.folder, lease.term)
        yield Depot(config, lease, note)
    finally:
        lease.release()
