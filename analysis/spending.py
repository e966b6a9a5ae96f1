"""What the workers of a sweep did with their time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spaces import Cost

PARTS = ("train", "score", "load")
"""Of a cost, in seconds."""


@dataclass(frozen=True)
class Drive:
    """One run of the driver, from its start to its end in order."""

    wall: float
    """Seconds."""
    workers: int
    """How many trials could run at a time."""
    begin: int
    """How many observations were there at its start."""
    end: int
    """And at its end."""


@dataclass(frozen=True)
class Spending:
    """Seconds of workers, by what they were spent on."""

    parts: dict[str, float]
    """`train`, `score` and `load`, of everything that was scored."""
    waited: float | None
    """Neither of these, in the drives that ended in order; None where none did."""
    drives: tuple[Drive, ...]
    outside: float
    """Seconds of the parts in drives that go on or that nothing is known of: a killed driver tells nothing."""

    @property
    def busy(self) -> float:
        return sum(self.parts.values())

    @property
    def total(self) -> float:
        return self.busy + (self.waited or 0.0)

    @property
    def wall(self) -> float:
        """Of the drives that ended in order."""
        return sum(drive.wall for drive in self.drives)

    def shares(self) -> dict[str, float]:
        """Of the total, each part and `wait` where it is known; empty where nothing was spent."""
        seconds = self.parts | ({} if self.waited is None else {"wait": self.waited})
        return {name: value / self.total for name, value in seconds.items()} if self.total > 0 else {}


def spending(costs: Sequence[Cost], drives: Iterable[Drive]) -> Spending:
    """`costs`: of each observation, in the order of arrival."""
    drives = tuple(drives)
    known = [cost for drive in drives for cost in costs[drive.begin : drive.end]]
    busy = sum(cost.total for cost in known)
    capacity = sum(drive.wall * drive.workers for drive in drives)
    parts = {name: sum(getattr(cost, name) for cost in costs) for name in PARTS}
    return Spending(
        parts=parts,
        waited=max(0.0, capacity - busy) if drives else None,
        drives=drives,
        outside=max(0.0, sum(parts.values()) - busy),
    )
