"""How much memory a trial will need, from what others took: pure, and the same in whatever order they came.

What one sweep measures is one base's, in one precision and size, so that only what a recipe can change is looked at.
A recipe is bounded by each one that was measured, with what it has more of at prices that are meant to be too high,
and the lowest of these bounds is taken: the closest relative prices it. A price that was too low for what was seen is
raised until it is not. Too low for what was not yet seen is mended by itself (the trial runs out of its share, is told
of here, and goes on with more), too high by the first measurement.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

from search.journal import Ledger
from spaces import Recipe
from spaces.stages import in_the_loop, switches, training

MARGIN = 1.15
"""What was measured is reserved with so much to spare: the same recipe does not take the same memory each time."""
AFTER_RUNNING_OUT = 1.5
"""Who ran out of memory is taken to need so many times what it had."""

_LAYERS = {None: 0, "cross-kv": 1, "cross-attention": 2, "attention": 3, "attention+ff": 4, "transformer": 5}
_MILLIONS = {"cross-kv": 0.05, "cross-attention": 0.1, "attention": 0.2, "attention+ff": 0.37, "transformer": 0.45}
"""Millions of numbers that a rank is in Stable Diffusion 1.5. Of another base it is the proportions that count."""
_FULL_KV, _TEXT_ENCODER, _CONTROLNET = 19.2, 0.074, 0.091


@dataclass(frozen=True)
class Load:
    """What makes one recipe take more memory than another between two rungs. More of anything never takes less."""

    samples: float
    """That go through the models at once: each brings activations of its own."""
    trained: float
    """Millions of numbers that have trained by the end, up to a power of 2: with gradients, two moments and masters."""
    layers: float
    """Of the UNet, whose inputs are kept for the backward pass: 0 none to 5 all."""
    controlnet: float
    """1 while the ControlNet is in the loop, 2 while it trains."""
    words: float
    """1 while the text encoder or the token trains."""
    dora: float
    """1 when weights are decomposed: their norms are part of the graph."""
    dropout: float
    """1 with dropout: what was dropped is kept beside what was not."""
    resized: float
    """1 when pictures are encoded anew at each step."""

    def __le__(self, other: "Load") -> bool:
        """Whether the other has at least as much of everything."""
        return all(mine <= theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True))


PRICES = Load(samples=0, trained=0.01, layers=0.15, controlnet=0.3, words=0.15, dora=0.3, dropout=0.15, resized=0.3)
"""What one more of each adds at most, as a share of the whole; twice the samples may take twice the whole. See
`python -m benchmarks.memory`."""


@dataclass(frozen=True)
class Need:
    """Of memory, in bytes."""

    expected: int | None
    """What to reserve; None when nothing like it was measured."""
    proven: int
    """What it is known not to do with less than; 0 when nothing is."""


def load_of(recipe: Recipe, start: int, stop: int, micro_batch: int | None = None) -> Load:
    """Of a trial that trains from `start` to `stop` steps, the most that any step of these has."""
    steps = [start, *(step for step in switches(recipe) if start < step < stop)]
    trains = frozenset[str]().union(*(training(recipe, step) for step in steps))
    ever = frozenset[str]().union(*(training(recipe, step) for step in (0, *switches(recipe)) if step < stop))
    trained = {
        "unet": _FULL_KV if recipe.unet == "full-kv" else (recipe.rank or 0) * _MILLIONS.get(recipe.targets or "", 0),
        "text_encoder": (recipe.text_encoder_rank or 0) * _TEXT_ENCODER,
        "controlnet": (recipe.controlnet_rank or 0) * _CONTROLNET,
        "token": 0.001 * (recipe.token_vectors or 0),
    }
    rows = recipe.batch_size * (1 if recipe.prior == "none" else 2)
    posed = any(in_the_loop(recipe, step) for step in steps)
    return Load(
        samples=min(rows, micro_batch or rows),
        trained=_power_of_2(sum(trained[part] for part in sorted(ever))),
        layers=_LAYERS["cross-kv" if recipe.unet == "full-kv" else recipe.targets],
        controlnet=2 if "controlnet" in trains else 1 if posed else 0,
        words=float(bool(trains & {"text_encoder", "token"})),
        dora=float(recipe.adapter == "dora"),
        dropout=float(bool(recipe.dropout)),
        resized=float(recipe.size_augmentation),
    )


def predict(load: Load, measured: Iterable[tuple[Load, int]], ran_out: Iterable[tuple[Load, int]] = ()) -> Need:
    """What a load needs, given what loads took and what some had when it was not enough, in bytes."""
    most: dict[Load, int] = {}
    for seen, taken in measured:
        most[seen] = max(taken, most.get(seen, 0))
    short = [(seen, had) for seen, had in ran_out if most.get(seen, 0) <= had]  # else it was measured since
    least = [taken for seen, taken in most.items() if seen <= load]
    floor = [had for seen, had in short if seen <= load]
    proven = max([*least, *(had + 1 for had in floor)], default=0)
    prices = _prices(most, [*most.items(), *short])
    bounds = [taken * _growth(seen, load, prices) for seen, taken in most.items()]
    if not bounds and not floor:
        return Need(None, 0)
    expected = MARGIN * max([min(bounds, default=0), *least])
    return Need(round(max([expected, *(had * AFTER_RUNNING_OUT for had in floor)])), proven)


def measured_in(
    ledger: Ledger, rungs: tuple[int, ...], micro_batch: int | None
) -> tuple[list[tuple[Load, int]], list[tuple[Load, int]]]:
    """What a sweep's trials took of their cards, and what those had that ran out of memory."""
    before = dict(zip(rungs, (0, *rungs), strict=False))
    taken = [
        (load_of(o.recipe, before[o.steps], o.steps, micro_batch), o.cost.peak_memory)
        for o in ledger.table
        if o.cost.peak_memory and o.cost.card_memory and not o.label
    ]
    short = [
        (load_of(ledger.proposals[event.trial].recipe, before[event.steps], event.steps, micro_batch), event.memory)
        for event in ledger.outgrown
    ]
    return taken, short


def _growth(seen: Load, load: Load, prices: tuple[float, ...]) -> float:
    """How many times as much a load takes at most as one that was seen."""
    pairs = zip(astuple(load), astuple(seen), prices, strict=True)
    return max(1.0, load.samples / seen.samples) * (1 + sum(price * max(0.0, new - old) for new, old, price in pairs))


def _prices(most: Mapping[Load, int], took: Iterable[tuple[Load, int]]) -> tuple[float, ...]:
    """PRICES, raised where a load took more, beyond the margin, than another's bound: each time the one that is blamed
    is that of which most of the bound is made. Which pair comes first makes no difference."""
    prices = list(astuple(PRICES))
    for load, taken in took:
        for seen, base in most.items():
            more = [max(0.0, new - old) for new, old in zip(astuple(load), astuple(seen), strict=True)]
            parts = [price * step for price, step in zip(astuple(PRICES), more, strict=True)]
            ratio = taken / (base * MARGIN * max(1.0, load.samples / seen.samples))
            missing = ratio - 1 - sum(parts)
            if missing > 0 and max(parts) > 0:
                blamed = parts.index(max(parts))
                prices[blamed] = max(prices[blamed], astuple(PRICES)[blamed] + missing / more[blamed])
    return tuple(prices)


def _power_of_2(number: float) -> float:
    """The next one, so that ranks that are nearly the same count as the same."""
    return 2.0 ** math.ceil(math.log2(number)) if number > 0 else 0.0
