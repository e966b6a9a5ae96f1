"""Which running trials have come to a stand: pure bookkeeping over a clock that never jumps."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass


@dataclass
class _Seen:
    since: float
    """When the last sign of life came in, by the driver's own clock."""
    beat: Hashable = None


class Watchdog:
    """Follows trials from their start; a result, or a beat unlike the one before, is a sign of life."""

    def __init__(self, limit: float, clock: Callable[[], float]) -> None:
        """`limit`: seconds without a sign after which a trial hangs; 0 is never."""
        self.limit, self._clock = limit, clock
        self._seen: dict[str, _Seen] = {}

    @property
    def trials(self) -> list[str]:
        """Those that are followed."""
        return list(self._seen)

    def started(self, trial: str) -> None:
        """A process took the trial up, or it gave a result and goes on."""
        self._seen[trial] = _Seen(self._clock())

    def over(self, trial: str) -> None:
        """The trial ended, or its process did."""
        self._seen.pop(trial, None)

    def beat(self, trial: str, value: Hashable) -> None:
        """What the trial last said of itself; None when it has said nothing yet."""
        seen = self._seen.get(trial)
        if seen is not None and value is not None and value != seen.beat:
            self._seen[trial] = _Seen(self._clock(), value)

    def hanging(self) -> list[str]:
        """The trials without a sign of life for too long."""
        now = self._clock()
        return [t for t, seen in list(self._seen.items()) if 0 < self.limit <= now - seen.since]
