"""What a report is made from. Whoever has a sweep's files gathers it; here nobody reads any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.confirmed import Confirmation
from analysis.course import Course
from analysis.spending import Spending
from analysis.stops import AtRung
from spaces import Objective, Observation, Requirements, Space

Key = tuple[str, int, str]
"""An observation's: trial, steps, label."""


@dataclass(frozen=True, eq=False)
class Strip:
    """A panel's pictures side by side, as one small file."""

    image: bytes
    """WebP."""
    count: int
    side: int
    """Pixels of each picture."""
    joints: np.ndarray | None = None
    """count x J x 3: what the pose judge saw, x and y in shares of the side, third 1 where the joint was found; None
    where that was not kept."""


@dataclass(frozen=True, eq=False)
class Album:
    """The pictures of a sweep that its page shows."""

    reference: tuple[bytes, ...] = ()
    """The subject's own, WebP."""
    targets: Strip | None = None
    """The poses that were asked for."""
    base: Strip | None = None
    """What the untuned base draws."""
    strips: Mapping[Key, Strip] = field(default_factory=dict)
    gone: frozenset[Key] = frozenset()
    """Whose pictures are not on disk any more; what is neither here nor there was left out for its size."""
    prompts: tuple[str, ...] = ()
    """By cell; empty where they were not kept."""
    grades: tuple[str, ...] = ()
    """By cell, `plain` or `hard`; empty where that is not known."""
    limbs: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()
    """What is missing and why, a sentence each."""


@dataclass(frozen=True, eq=False)
class Rival:
    """Another sweep, to hold this one's hypervolume against."""

    name: str
    course: Course


@dataclass(frozen=True, eq=False)
class Material:
    """A sweep."""

    name: str
    status: str
    facts: Mapping[str, str]
    """What the page's head says: subject, base, panel, by name."""
    space: Space
    observations: Sequence[Observation]
    """In the order of arrival, each with all objectives."""
    course: Course
    on_gpus: bool
    """Whether the course's worker seconds are of GPUs."""
    base_scores: Mapping[str, float] | None
    confirmation: Confirmation | None
    knee: Observation | None
    """Of the confirmed front, where there is one."""
    pick: Observation | None
    """The one to take; the knee unless it was asked for otherwise."""
    pick_words: Sequence[str]
    """Why this one, a sentence each."""
    spending: Spending
    stops: Sequence[AtRung]
    devices: Sequence[str] = ()
    """How fast each was, where there were several."""
    album: Album = field(default_factory=Album)
    rivals: Sequence[Rival] = ()
    command: str = ""
    """What wrote this page."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.space.objectives

    @property
    def requirements(self) -> Requirements:
        return self.space.requirements
