"""Something that is worked out beside the driver's loop, to be ready when it is asked for."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
GRACE = 0.002
"""Seconds in which whoever asked goes on first: a thread of Python that computes lets no other in for 5 ms."""


def begun(work: Callable[[], T]) -> Future[T]:
    """The work's result to come, or what it raised. Its thread does not outlive the process."""
    future: Future[T] = Future()

    def run() -> None:
        time.sleep(GRACE)
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="ahead", daemon=True).start()
    return future
