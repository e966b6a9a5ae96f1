"""The time of events: the wall's when a driver starts, and from there on as steady as a stop-watch."""

import time


class SteadyClock:
    """Seconds since the epoch that neither jump nor go back while a driver runs, whatever becomes of the wall clock."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        return self._offset + time.monotonic()
