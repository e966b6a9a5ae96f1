"""What a confirmation came to, as the plots and the terminal show it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.racing import Verdict


@dataclass(frozen=True)
class Confirmed:
    """A candidate's scores over fresh seeds, on a panel that the search never saw."""

    key: tuple[str, int, str]
    """Trial, steps and label of the search's observation."""
    name: str
    layer: int
    """0: on the front as the search scored it, 1: behind that."""
    seeds: int
    """How often it was trained and scored."""
    means: Mapping[str, float]
    """By objective; empty without a score."""
    halves: Mapping[str, float]
    """Half the width of each mean's 95 % interval over seeds; empty while there is one seed only."""
    chance: float | None
    """The probability of being on the front of all candidates."""
    verdict: Verdict
    on_front: bool
    """Whether no other candidate's means dominate its own, and it is not decided that it is off the front."""
    failure: str | None = None
    """Why a training of it failed."""
    missed: tuple[str, ...] = ()
    """Requirements that its means do not meet, which keeps it off the front."""
    rounds: tuple[tuple[float, ...], ...] = ()
    """Its losses in each round, whose seed all candidates share; NaN where it was not scored."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name, "trial": self.key[0], "steps": self.key[1], "label": self.key[2], "layer": self.layer,
            "seeds": self.seeds, "means": dict(self.means), "halves": dict(self.halves), "chance": self.chance,
            "verdict": self.verdict, "on_front": self.on_front, "failure": self.failure,
            "missed": list(self.missed),
        }  # fmt: skip


@dataclass(frozen=True)
class Confirmation:
    """All of it, the best in the first objective first."""

    candidates: Sequence[Confirmed]
    knee: Confirmed | None
    """Of the confirmed front."""
    base: Mapping[str, float] | None
    """The untuned base's scores on this panel."""

    @property
    def front(self) -> list[Confirmed]:
        return [candidate for candidate in self.candidates if candidate.on_front]

    def of(self, key: tuple[str, int, str]) -> Confirmed | None:
        """The candidate that an observation of the search is."""
        return next((candidate for candidate in self.candidates if candidate.key == key), None)
