"""What is asked of Ray for a trial, given what it needs and which cards there are: pure.

A card is shared in equal parts, so that requests come in few sizes: a trial that ends can hand its process, with the
base in it, to the next of the same size. A node tells of its card's memory with Ray's custom resource `gpu_gb`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.trials.memory import Need
from spaces import InputError

RESOURCE = "gpu_gb"
"""Of a node: its cards' memory in GB, as their makers say it."""
GB = 10**9
USABLE = 0.97
"""A card of 24 GB has from 23.7 to 25.8 of them."""
CONTEXT = int(0.5 * GB)
"""What each process takes of a card beside what torch holds: CUDA's context and its kernels."""
STEP = 1e-4
"""Ray counts no finer."""


@dataclass(frozen=True)
class Card:
    """One kind of card."""

    memory: float | None
    """GB; None where the node does not tell."""
    cpus: float
    """For each card of a node of this kind."""
    together: int = 1
    """How many a node has."""


@dataclass(frozen=True)
class Request:
    """What Ray is asked for."""

    gpus: float
    """The share of a card; 0 is none."""
    gpu_gb: float = 0.0
    """The same in GB, which a smaller card has not got; 0 where nodes do not tell."""
    memory: int | None = None
    """Bytes that torch may take there; None is all of a card."""

    def resources(self, cpus: float) -> dict[str, float]:
        """As Tune takes them."""
        given = {"cpu": cpus, "gpu": self.gpus}
        return given | {RESOURCE: self.gpu_gb} if self.gpu_gb else given


@dataclass(frozen=True)
class Refused:
    """No card will do."""

    reason: str


def cards_of(nodes: Iterable[Mapping[str, Any]], announced: Sequence[float] = ()) -> tuple[Card, ...]:
    """The kinds of card in `ray.nodes()`, and those that a cluster may start by their GB; smallest first.

    InputError where `gpu_gb` cannot keep cards apart: it is a node's, so that four small cards look like a large one.
    """
    found = {Card(float(memory), math.inf) for memory in announced}
    for node in nodes:
        has = node["Resources"]
        together = math.floor(has.get("GPU", 0))
        if node["Alive"] and together:
            memory = has[RESOURCE] / together if RESOURCE in has else None
            found.add(Card(memory, has.get("CPU", 0) / together, together))
    if len({card.memory for card in found}) > 1 and any(card.memory and card.together > 1 for card in found):
        sizes = ", ".join(f"{card.together} x {card.memory or '?'} GB" for card in sorted(found, key=_size))
        raise InputError("--gpus-per-trial", f"auto: nodes have {sizes} GPUs; where there are cards of several sizes "
                         "each node should have one, or give a number instead of auto")  # fmt: skip
    return tuple(sorted(found, key=_size))


def ask(need: Need, cards: Sequence[Card], cpus: float, seen: Sequence[int] = ()) -> Request | Refused:
    """The smallest equal part of a card that holds the need, on the smallest kind of card that does.

    The whole card where nothing is known of the need. Where nodes do not tell their memory, a share is one of the
    smallest card that a trial has run on (`seen`, bytes): right on all where they are alike, else on none too little.
    """
    if not cards:
        return Request(0.0)
    told = [card.memory for card in cards if card.memory is not None]
    if len(told) < len(cards):
        return _by_share(need, cards, cpus, seen)
    sizes = sorted(set(told))
    if need.proven > sizes[-1] * GB:
        return _refused(need.proven, sizes[-1])
    for size in sizes:
        parts = _parts(need, size * GB, min(card.cpus for card in cards if card.memory == size), cpus)
        if parts == 1:
            return Request(1.0, size)
        if parts:
            share = math.floor(size / parts * 100) / 100
            return Request(_floor(share / sizes[-1]), share, _left(size * GB, parts))
    return Request(1.0, sizes[-1])  # the largest has to do: that it is too little was only guessed


def _by_share(need: Need, cards: Sequence[Card], cpus: float, seen: Sequence[int]) -> Request | Refused:
    if seen and need.proven > max(seen):
        return _refused(need.proven, max(seen) / GB)
    parts = _parts(need, min(seen), min(card.cpus for card in cards), cpus) if seen else 1
    return Request(_floor(1 / parts), 0.0, _left(min(seen), parts)) if parts > 1 else Request(1.0)


def _parts(need: Need, card: float, card_cpus: float, cpus: float) -> int:
    """How many such trials a card and its node's CPUs take at a time; 0 if the card is too small for one."""
    if need.expected is None:
        return 1
    by_memory = math.floor(card * USABLE / (need.expected + CONTEXT))
    return min(by_memory, max(1, math.floor(min(card_cpus / cpus, 1 / STEP) + 1e-9)))


def _left(card: float, parts: int) -> int:
    """Bytes of one of so many parts of a card that are torch's."""
    return int(card * USABLE / parts) - CONTEXT


def _floor(share: float) -> float:
    return max(STEP, round(math.floor(share / STEP + 1e-6) * STEP, 4))


def _refused(proven: int, largest: float) -> Refused:
    return Refused(f"needs more than {proven / GB:.1f} GB of a card, and the largest has {largest:.1f} GB")


def _size(card: Card) -> tuple[float, float, int]:
    return card.memory or 0.0, card.cpus, card.together
