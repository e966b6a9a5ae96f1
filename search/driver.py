"""The process that drives a sweep on this machine: who it is, and how it is told to stop."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import psutil

from search.journal import is_running
from spaces import InputError

FILE = "driver.json"
SLACK = 2.0
"""Seconds by which the start of a process may seem to have moved: it is counted from the machine's own start."""


@dataclass(frozen=True)
class Driver:
    """Kept beside the journal as `driver.json`, written by whoever has the journal's lock."""

    host: str
    pid: int
    started: float
    """Seconds since the epoch: a process id is given out again, together with its start it is not."""

    @classmethod
    def me(cls) -> "Driver":
        return cls(socket.gethostname(), os.getpid(), psutil.Process().create_time())

    def save(self, folder: Path) -> None:
        partial = folder / f"{FILE}.partial"
        partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
        partial.replace(folder / FILE)

    @property
    def process(self) -> psutil.Process | None:
        """The process, if it is one of this machine and still there."""
        if self.host != socket.gethostname():
            return None
        try:
            process = psutil.Process(self.pid)
            return process if abs(process.create_time() - self.started) < SLACK else None
        except psutil.Error:
            return None


def driver_of(folder: Path) -> Driver | None:
    """Who drove the sweep last, None where that was not written down."""
    try:
        return Driver(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def stop(folder: Path, seconds: float) -> bool:
    """Tells the sweep's driver to end as after Ctrl-C; whether it was gone within `seconds`.

    InputError when the sweep does not run, or not in a process that can be told from here.
    """
    if not is_running(folder):
        raise InputError(folder.name, "does not run")
    driver = driver_of(folder)
    process = driver and driver.process
    if process is None:
        where = f"process {driver.pid} on {driver.host}" if driver else "a process that left no name"
        raise InputError(folder.name, f"is run by {where}, which cannot be reached from here; stop it there")
    process.send_signal(signal.SIGTERM)
    until = time.monotonic() + seconds
    while is_running(folder):
        if time.monotonic() >= until:
            return False
        time.sleep(0.2)
    return True


@contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM is what Ctrl-C is; also a decorator."""
    before = signal.getsignal(signal.SIGTERM)
    take_sigterm()
    try:
        yield
    finally:
        if _may_take_signals():
            signal.signal(signal.SIGTERM, before)


def take_sigterm() -> None:
    """From now on SIGTERM is what Ctrl-C is. To be called again after Ray has started, which takes the signal."""
    if _may_take_signals():
        signal.signal(signal.SIGTERM, _interrupt)


def _may_take_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Not by a SIGINT of our own: Ray blocks that in the jobs of a cluster, and shells in what runs behind them."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(number, frame)
