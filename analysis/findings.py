"""What a sweep found, in words that follow from its numbers, each with its interval.

Groups of recipes are compared within rungs and ways to draw (`effects.by_trial`), a trial counting once, and with the
other fields held equal by least squares where there are trials enough for it; rungs within trials. What there is too
little of is said to be too little.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from analysis.choice import Contest, contest_of
from analysis.confirmed import Confirmation
from analysis.coordinates import DRAWN, STEPS, Coordinates, coordinates
from analysis.differences import LEAST, Difference, adjusted_for, paired, superiority, to_json, welch
from analysis.effects import by_trial
from analysis.pareto import Floats, non_dominated
from spaces import Choice, Observation, Range, Recipe, Space

Verdict = Literal["difference", "no significant difference", "too few", "described"]
"""`described` compares nothing."""
CAVEAT = (
    "A search is no experiment: it tried more of what did well, and several fields at a time, so a difference may be "
    "another field's where these could not be held equal. Intervals are 95 % and over trials; of twenty, one misses by "
    "chance."
)
BESIDE = ("pose_hard", "drift", "prompt")
"""Scores that are told beside the objectives."""


_ENOUGH = 3
"""Trials for each number that is fitted."""
_UNUSED = object()


@dataclass(frozen=True)
class Finding:
    """One sentence or two."""

    about: str
    text: str
    verdict: Verdict
    numbers: Mapping[str, Difference]
    """By score, or by what else was measured."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"about": self.about, "text": self.text, "verdict": self.verdict, "numbers": to_json(self.numbers)}


@dataclass(frozen=True)
class Contrast:
    """Two groups of recipes."""

    about: str
    these: str
    others: str
    fields: tuple[str, ...]
    """Of the recipe, which tell them apart."""
    belongs: Callable[[Recipe], bool | None]
    """Whether a recipe is one of these; None where it is neither."""


def findings(
    observations: Sequence[Observation], space: Space, confirmation: Confirmation | None = None, seed: int = 0
) -> tuple[Finding, ...]:
    """Where the front is, what steps did, and what each way to train bought and cost; of what varied in the sweep."""
    table = coordinates(observations, space)
    if not table.observations:
        return ()
    contest = contest_of(observations, space, confirmation, seed)
    seen = [name for name in BESIDE if any(math.isfinite(o.scores.get(name, math.nan)) for o in table.observations)]
    scores = list(dict.fromkeys([*(o.name for o in space.objectives), *seen]))
    found = [_held(table, contest, name) for name in ("rank", STEPS) if table.of(name) is not None]
    found += [_of_steps(table, scores)] if table.of(STEPS) is not None else []
    means = {score: by_trial(table, score) for score in scores}
    found += [_of(table, contrast, means) for contrast in _contrasts(table)]
    return tuple(each for each in found if each is not None)


def _contrasts(table: Coordinates) -> list[Contrast]:
    middle = float(np.median([o.recipe.dropout or 0.0 for o in table.observations]))
    kv, drops = "Training keys and values of cross-attention alone", f"Dropout above {middle:.2g}"
    some = lambda field, belongs: lambda r: None if getattr(r, field) is None else belongs(r)  # noqa: E731
    all_of = [
        Contrast("text encoder", "Tuning the text encoder", "leaving it", ("text_encoder",),
                 lambda r: r.text_encoder == "lora"),
        Contrast("K/V alone", kv, "more of the UNet", ("targets", "unet"), _keys_and_values),
        Contrast("rank", "A rank of 16 or more", "less", ("rank",), some("rank", lambda r: r.rank >= 16)),
        Contrast("dropout", drops, "less of it", ("dropout",), some("dropout", lambda r: r.dropout > middle)),
        Contrast("token", "An embedding of the token's own", "none", ("token",), lambda r: r.token == "trained"),
        Contrast("pose in training", "The ControlNet in the training loop", "never", ("pose_from",),
                 lambda r: r.pose_from is not None),
        Contrast("prior", "Rehearsing the class", "not", ("prior", "prior_weight"), lambda r: r.prior != "none"),
    ]  # fmt: skip
    return [each for each in all_of if {each.belongs(o.recipe) for o in table.observations} >= {True, False}]


def _keys_and_values(recipe: Recipe) -> bool | None:
    if recipe.unet == "frozen":
        return None
    return recipe.unet == "full-kv" or recipe.targets == "cross-kv"


def _of(table: Coordinates, contrast: Contrast, all_means: Mapping[str, Mapping[str, float]]) -> Finding:
    sides = {o.trial: contrast.belongs(o.recipe) for o in table.observations}
    sides = {trial: side for trial, side in sides.items() if side is not None}
    these = sum(sides.values())
    others, equal = len(sides) - these, _others(table, contrast, sides)
    numbers = {}
    for score, means in all_means.items():
        there = np.array([trial in means for trial in sides])
        group, values = np.array(list(sides.values()))[there], np.array([means[t] for t in sides if t in means])
        numbers[score] = (welch(values[group], values[~group]) if equal is None
                          else adjusted_for(equal[there], group, values))  # fmt: skip
    said = f"{contrast.these} ({_count(these)}) against {contrast.others} ({others})"
    if min(these, others) < LEAST:
        return Finding(contrast.about, f"{said}: too few trials to say.", "too few", numbers)
    return _told(contrast.about, f"{said}{'' if equal is None else ', other fields equal'}", numbers)


def _others(table: Coordinates, contrast: Contrast, sides: Mapping[str, bool]) -> Floats | None:
    """The other fields as numbers, one row for each trial; None where there are too few trials to hold them equal."""
    rows = {o.trial: row for o, row in zip(table.observations, table.rows, strict=True)}
    columns = []
    for parameter in table.parameters:
        tied = {parameter.name, *(field for field, _ in parameter.when)} & {*contrast.fields, STEPS, DRAWN}
        if tied:
            continue
        own = [rows[trial].get(parameter.name, _UNUSED) for trial in sides]
        if isinstance(parameter, Choice):
            columns += [[float(value == one) for value in own] for one in parameter.values[1:]]
        else:
            columns.append([0.5 if value is _UNUSED else parameter.quantile(value) for value in own])
    found = np.array(columns, dtype=float).reshape(-1, len(sides)).T
    found = found[:, np.ptp(found, axis=0) > 0]
    return found if found.shape[1] and len(sides) >= _ENOUGH * (found.shape[1] + 2) else None


def _told(about: str, said: str, numbers: Mapping[str, Difference]) -> Finding:
    """The scores that differ, then those that do not."""
    clear = [f"{name} {each.in_words}" for name, each in numbers.items() if each.clear]
    same = [f"{name} {each.in_words}" for name, each in numbers.items() if not each.clear and each.low is not None]
    parts = [", ".join(clear)] if clear else []
    parts += [f"no significant difference in {', '.join(same)}"] if same else []
    return Finding(
        about, f"{said}: {'; '.join(parts)}.", "difference" if clear else "no significant difference", numbers
    )


def _of_steps(table: Coordinates, scores: Sequence[str]) -> Finding:
    """From the first rung to the last that enough trials were scored at, in these trials."""
    at: dict[int, dict[tuple[str, str], Mapping[str, float]]] = {}
    for o in table.observations:
        at.setdefault(o.steps, {})[o.trial, o.label] = o.scores
    first, *later = sorted(at)
    both = lambda steps: {trial for trial, _ in at[first].keys() & at[steps].keys()}  # noqa: E731
    last = max((steps for steps in later if len(both(steps)) >= LEAST), default=later[-1])
    trials = both(last)
    said = f"From {first} to {last} steps, in the {_count(len(trials))} scored at both"
    numbers = {}
    for score in scores:
        gains: dict[str, list[float]] = {}
        for key in at[first].keys() & at[last].keys():
            gain = at[last][key].get(score, math.nan) - at[first][key].get(score, math.nan)
            if math.isfinite(gain):
                gains.setdefault(key[0], []).append(gain)
        numbers[score] = paired(np.array([np.mean(values) for values in gains.values()]))
    if len(trials) < LEAST:
        return Finding("training on", f"{said}: too few trials to say.", "too few", numbers)
    return _told("training on", said, numbers)


def _held(table: Coordinates, contest: Contest, name: str) -> Finding | None:
    """Which values of a field the front has, how far that range moves, and whether others have others."""
    value = {o.key: row[name] for o, row in zip(table.observations, table.rows, strict=True) if name in row}
    members = [contest.members[i] for i in np.flatnonzero(contest.front) if contest.members[i].key in value]
    if not members or not (name == STEPS or isinstance(table.of(name), Range)):
        return None
    own = [value[o.key] for o in members]
    front = f"The front's {name} {'are' if name == STEPS else 'is'} {_range(own)}"
    said = f"{front}, of {_range(list(value.values()))} tried{_moves(contest, value)}"
    if name == STEPS:
        return Finding(name, f"{said}. {_by_rung(table, members)}.", "described", {})
    on = {o.trial for o in members}
    trials = {o.trial: value[o.key] for o in table.observations if o.key in value}
    groups = [np.array([v for t, v in trials.items() if (t in on) is side], dtype=float) for side in (True, False)]
    more = superiority(*groups)
    if more.low is None:
        return Finding(name, f"{said}; too few trials to say whether that is chance.", "too few", {"above": more})
    share = f"{more.value + 0.5:.0%} of pairs ({more.low + 0.5:.0%} to {more.high + 0.5:.0%})"
    said += f". A trial of the front has more than one that is not on it in {share}"
    if more.clear:
        return Finding(name, f"{said}.", "difference", {"above": more})
    return Finding(name, f"{said}: no significant difference.", "no significant difference", {"above": more})


def _by_rung(table: Coordinates, members: Sequence[Observation]) -> str:
    parts = []
    for steps in sorted({o.steps for o in table.observations}):
        scored, own = sum(o.steps == steps for o in table.observations), sum(o.steps == steps for o in members)
        parts.append(f"{own} of {scored} at {steps}")
    return f"On it are {', '.join(parts)}"


def _moves(contest: Contest, value: Mapping[tuple[str, int, str], float]) -> str:
    """Where the range's ends are in the draws."""
    if contest.drawn is None:
        return ""
    values = np.array([value.get(o.key, math.nan) for o in contest.members], dtype=float)
    ends = []
    for each in contest.drawn:
        own = values[non_dominated(each)]
        own = own[np.isfinite(own)]
        if len(own):
            ends.append((own.min(), own.max()))
    if not ends:
        return ""
    low, high = np.quantile(np.array(ends), (0.025, 0.975), axis=0, method="inverted_cdf").T.tolist()
    what = "other seeds" if contest.source == "seeds" else "other pictures"
    return f" (with {what} from {_range(low)} up to {_range(high)})"


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _count(trials: int) -> str:
    return f"{trials} trial{'' if trials == 1 else 's'}"
