"""A trial's signs of life, by which a driver on any machine sees that it is not stuck.

They go to Ray's own key-value store, so that no disk need be shared. What counts is that a value changes, not when it
was written: clocks of different machines are never compared.
"""

import time

EVERY_SECONDS = 2.0
"""So often at most; a beat is a message to the head."""


class Pulse:
    """Beats for one trial of one sweep. Without a Ray around it does nothing."""

    def __init__(self, sweep: str, trial: str) -> None:
        """`sweep` is what no other sweep on the cluster has, such as its folder."""
        self._key = key(sweep, trial)
        self._count, self._next = 0, 0.0

    def beat(self) -> None:
        """To be called at each step that is done, by whoever does it: not by a thread that lives on when that hangs."""
        import ray

        if time.monotonic() < self._next or not ray.is_initialized():
            return
        from ray.experimental.internal_kv import _internal_kv_put

        self._count += 1
        self._next = time.monotonic() + EVERY_SECONDS
        _internal_kv_put(self._key, f"{time.monotonic()} {self._count}".encode(), overwrite=True)


def key(sweep: str, trial: str) -> bytes:
    """Where the trial's beats are in the store."""
    return f"posefront-pulse:{sweep}:{trial}".encode()
