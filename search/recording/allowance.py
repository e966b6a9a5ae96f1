"""When something may be done again that is to take no more than a share of the time."""


class Allowance:
    """A share of all time since the start, spent in pieces, each expected to cost what the one before did."""

    def __init__(self, share: float, least: float, guess: float, now: float) -> None:
        """`least`: seconds between two pieces; `guess`: what the first one costs; `now` by a clock that never jumps."""
        self._share, self._least, self._start = share, least, now
        self._spent, self._piece = 0.0, guess
        self.at = 0.0
        """When the next piece may begin."""
        self._plan(now)

    def begin(self) -> None:
        """A new piece."""
        self._piece = 0.0

    def spend(self, seconds: float, now: float) -> None:
        """Of the latest piece."""
        self._piece += seconds
        self._spent += seconds
        self._plan(now)

    def _plan(self, now: float) -> None:
        self.at = max(now + self._least, self._start + (self._spent + self._piece) / self._share)
