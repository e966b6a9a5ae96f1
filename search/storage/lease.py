"""Who drives a sweep that is on a storage: one driver at a time, on whichever machine.

Each driver's lease is a file of its own, `lease/000003.json`, which only one can make. The newest term holds; a driver
that finds a newer one than its own stops. What a driver writes under its term, nobody of another term reads as the
newest, so one that was cut off and comes back destroys nothing.
"""

import getpass
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import uuid4

from search.storage.claims import claims_of
from spaces import InputError
from trainables.storage import StorageError, Store

BEAT = 15.0
"""Seconds between signs of life."""
EXPIRY = 90.0
"""Seconds of silence after which a driver is taken for dead."""
FOLDER = "lease"
_HELD: set[str] = set()
"""Tokens of the leases that this process has not released."""


@dataclass(frozen=True)
class Holder:
    """A driver, as its lease tells of it."""

    user: str
    host: str
    machine: str
    """Of this start of the machine and this space of process ids; empty where it cannot be told."""
    pid: int
    token: str
    since: float
    """Seconds since the epoch, by the holder's clock: to be read by people."""
    released: bool = False
    beats: int = 0

    def __str__(self) -> str:
        return f"{self.user}@{self.host} (process {self.pid})"

    @property
    def is_gone(self) -> bool:
        """Whether it was a process of this machine that is not there any more, or drives the sweep no more."""
        if not self.machine or self.machine != _machine():
            return False
        if self.pid == os.getpid():  # which could not tell a storage that was away that it had stopped
            return self.token not in _HELD
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    @classmethod
    def me(cls) -> "Holder":
        return cls(_user(), socket.gethostname(), _machine(), os.getpid(), uuid4().hex, time.time())


class Lease:
    """The right to drive a sweep, kept alive in a thread until it is released or somebody else has it."""

    def __init__(self, store: Store, take_over: bool, note: Callable[[str], None], lost: Callable[[str], None]) -> None:
        """Takes the lease; InputError when another driver has it.

        That of a driver that is dead or was silent for long is taken over, `take_over` takes it from a living one;
        `note` hears of both. `lost` hears, from another thread, who took this one.
        """
        self._store, self._lost = Store(store.address, patience=BEAT), lost
        claims, me = claims_of(store), Holder.me()
        term, holder = newest(store)
        handover = 0.0
        if holder is not None and not holder.released:
            silence = max(0.0, claims.age(_name(term)))
            if holder.is_gone:
                note(f"storage: {holder}, who drove this sweep, is gone; going on in its place")
            elif silence >= EXPIRY:
                note(f"storage: {holder}, who drove this sweep, was silent for {silence:.0f} s; going on in its place")
            elif take_over:
                handover = 2 * BEAT
                note(f"storage: taking the sweep over from {holder}; it has {handover:.0f} s to stop")
            else:
                raise _refused(store, holder, silence)
        self.term, self._me = term + 1, me
        if not claims.create(_name(self.term), _written(me)):
            raise _refused(store, newest(store)[1] or me, 0.0)
        _HELD.add(me.token)
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()
        time.sleep(handover)  # what it still does until it notices belongs to the sweep

    def release(self) -> None:
        """Gives it back. A storage that does not take this hears no more of the driver, which is the same later."""
        if self._released.is_set():
            return
        self._released.set()
        _HELD.discard(self._me.token)
        self._thread.join()
        try:
            if self._holds():
                self._store.write(_name(self.term), _written(replace(self._me, released=True)))
        except (StorageError, OSError):
            return

    def _keep(self) -> None:
        while not self._released.wait(BEAT):
            try:
                if not self._holds():
                    _, holder = newest(self._store)
                    self._lost(str(holder or "another driver"))
                    return
                self._me = replace(self._me, beats=self._me.beats + 1)
                self._store.write(_name(self.term), _written(self._me))
            except (StorageError, OSError):  # until it answers, nobody else can take the lease either
                continue

    def _holds(self) -> bool:
        term, holder = newest(self._store)
        return term == self.term and holder is not None and holder.token == self._me.token


def newest(store: Store) -> tuple[int, Holder | None]:
    """The newest term and who has it; 0 and None before the first."""
    terms = sorted(int(Path(name).stem) for name in store.files(FOLDER) if Path(name).stem.isdigit())
    if not terms:
        return 0, None
    content = store.read(_name(terms[-1]))
    try:
        return terms[-1], Holder(**json.loads(content or b""))
    except (ValueError, TypeError):
        raise InputError(store.address / _name(terms[-1]), "is not a driver's lease") from None


def is_driven(store: Store) -> bool:
    """Whether a driver has the sweep, as far as this machine's clock tells: to be shown, not to be built on."""
    term, holder = newest(store)
    if holder is None or holder.released or holder.is_gone:
        return False
    return time.time() - store.files(FOLDER)[_name(term)].changed < EXPIRY


def _refused(store: Store, holder: Holder, silence: float) -> InputError:
    name = store.address.root.rpartition("/")[2]
    after = f"a driver that is silent for {EXPIRY:.0f} s may be followed, `posefront resume {name} --take-over` at once"
    return InputError(store.address, f"the sweep is driven by {holder}, heard of {silence:.0f} s ago; {after}")


def _name(term: int) -> str:
    return f"{FOLDER}/{term:06d}.json"


def _written(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name
        return str(os.getuid())


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
