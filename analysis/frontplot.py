"""What the picture of a front holds, whatever draws it: points, the front, its stairs and knee, words."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.confirmed import Confirmation, Confirmed
from analysis.pareto import hypervolume, knee, non_dominated
from spaces import REFERENCE_LOSS, Objective, Observation, Requirements, front_losses, to_losses, violation

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ConfirmedPlot:
    """The confirmed front: means over fresh seeds on a panel that is new."""

    points: Floats
    """k x 2, from the best in the first objective on."""
    halves: Floats
    """k x 2: half the widths of the means' intervals; 0 where there is none."""
    steps: NDArray[np.int64]
    names: list[str]
    hover: list[str]
    before: Floats
    """k x 2: what the search scored."""
    stairs: Floats
    knee: int | None
    base: tuple[float, float] | None
    base_hover: str
    lost: NDArray[np.int64]
    """Indices of the plot's points that are on the front as scored and not on this one."""


@dataclass(frozen=True)
class FrontPlot:
    """What is drawn, in the units of the first two objectives."""

    title: str
    summary: tuple[str, ...]
    """A few short lines below the title."""
    axis_titles: tuple[str, str]
    about_axes: tuple[str, str]
    """What the two measure, in one line each."""
    ranges: tuple[tuple[float, float], tuple[float, float]]
    better: tuple[int, int]
    """+1 where larger is better, else -1."""
    points: Floats
    """n x 2, all finite."""
    steps: NDArray[np.int64]
    """Of each point."""
    names: list[str]
    """`t0007@200` or `t0007@200:LABEL` for each point."""
    hover: list[str]
    """HTML for each point: trial, steps, how it was drawn, scores, and of the recipe what the sweep varies."""
    paths: list[Floats]
    """Each trial's points in the order of steps, for each way to draw; a trial with one point has none."""
    front: NDArray[np.int64]
    """Indices of the front's points, from the best in the first objective on."""
    stairs: Floats
    """Border of what the front dominates, k x 2; empty with three or more objectives: no line then."""
    knee: int | None
    base: tuple[float, float] | None
    base_hover: str
    confirmed: ConfirmedPlot | None = None


def prepare(
    observations: Sequence[Observation],
    objectives: Sequence[Objective],
    base_scores: Mapping[str, float] | None,
    space_name: str,
    requirements: Requirements = (),
    confirmation: Confirmation | None = None,
) -> FrontPlot:
    """The front over all objectives, seen in the first two. Without observations that lack one (NaN); those that miss
    a requirement are there, and on no front."""
    complete = [o for o in observations if all(np.isfinite(o.scores[axis.name]) for axis in objectives)]
    losses = front_losses(objectives, requirements, [o.scores for o in complete])
    x, y = objectives[0], objectives[1]
    points = np.array([[o.scores[x.name], o.scores[y.name]] for o in complete]).reshape(-1, 2)
    front = np.flatnonzero(non_dominated(losses))
    front = front[np.lexsort(losses[front].T[::-1])]
    base = (base_scores[x.name], base_scores[y.name]) if base_scores else None
    varied = varied_fields(complete)
    shown = np.vstack([points, [base]]) if base else points
    confirmed = None
    if confirmation is not None and confirmation.front:
        confirmed = _confirmed(confirmation, objectives, complete, points, front)
        ends = [confirmed.points - confirmed.halves, confirmed.points + confirmed.halves]
        shown = np.vstack([shown, *ends, *([[confirmed.base]] if confirmed.base else [])])
    return FrontPlot(
        title=f"{x.name} versus {y.name} · space {space_name}",
        summary=_summary(observations, complete, objectives, losses, base_scores, requirements)
        + (_of_confirmation(confirmation) if confirmation and confirmed else ()),
        axis_titles=(_axis_title(x), _axis_title(y)),
        about_axes=(x.about, y.about),
        ranges=(_range(shown[:, 0], x), _range(shown[:, 1], y)),
        better=(_sign(x), _sign(y)),
        points=points,
        steps=np.array([o.steps for o in complete], dtype=np.int64),
        names=[o.name for o in complete],
        hover=[_hover(o, objectives, varied, requirements) + _said_of(o, confirmation, objectives) for o in complete],
        paths=_paths(complete, points),
        front=front,
        stairs=stairs(points[front], (x, y)) if len(objectives) == 2 else np.zeros((0, 2)),
        knee=knee(losses),
        base=base,
        base_hover="<b>untuned base</b><br>" + _lines(base_scores or {}, objectives),
        confirmed=confirmed,
    )


def _confirmed(
    confirmation: Confirmation,
    objectives: Sequence[Objective],
    observations: Sequence[Observation],
    points: Floats,
    front: NDArray[np.int64],
) -> ConfirmedPlot:
    """The knee is the confirmation's own; the search's points are found again by their keys."""
    x, y = objectives[0], objectives[1]
    at = {o.key: i for i, o in enumerate(observations)}
    members = confirmation.front
    means = np.array([[each.means[x.name], each.means[y.name]] for each in members])
    halves = np.array([[each.halves.get(x.name, 0.0), each.halves.get(y.name, 0.0)] for each in members])
    on = {each.key for each in members}
    base = confirmation.base
    return ConfirmedPlot(
        points=means,
        halves=halves,
        steps=np.array([each.key[1] for each in members], dtype=np.int64),
        names=[each.name for each in members],
        hover=[f"<b>{html.escape(each.name)}</b>, confirmed" + _odds(each, objectives) for each in members],
        before=points[[at[each.key] for each in members]],
        stairs=stairs(means, (x, y)) if len(objectives) == 2 else np.zeros((0, 2)),
        knee=None if confirmation.knee is None else members.index(confirmation.knee),
        base=(base[x.name], base[y.name]) if base else None,
        base_hover="<b>untuned base</b>, on the panel of the confirmation<br>" + _lines(base or {}, objectives),
        lost=np.array([i for i in front if observations[i].key not in on], dtype=np.int64),
    )


def _of_confirmation(confirmation: Confirmation) -> tuple[str, ...]:
    scored = [each for each in confirmation.candidates if each.layer == 0]
    kept = sum(each.on_front for each in scored)
    behind = len(confirmation.front) - kept
    more = f" and {behind} from behind it" if behind else ""
    return (f"confirmed: {kept} of the {len(scored)} of the front that were tried again{more}",)


def _said_of(observation: Observation, confirmation: Confirmation | None, objectives: Sequence[Objective]) -> str:
    """What a confirmation says of an observation of the search, for its hover."""
    each = confirmation.of(observation.key) if confirmation else None
    if each is None:
        return ""
    return f"<br><br><b>{'confirmed' if each.on_front else 'not confirmed'}</b>" + _odds(each, objectives)


def _odds(each: Confirmed, objectives: Sequence[Objective]) -> str:
    lines = [
        f"{o.name} {each.means[o.name]:.3f}" + (f" ± {each.halves[o.name]:.3f}" if o.name in each.halves else "")
        for o in objectives
        if o.name in each.means
    ]
    chance = "" if each.chance is None else f"on the front with a probability of {each.chance:.0%}"
    seeds = f"{each.seeds} fresh seeds, on a panel that is new"
    return "<br>" + "<br>".join(part for part in [*lines, chance, seeds] if part)


def _summary(
    observations: Sequence[Observation],
    complete: Sequence[Observation],
    objectives: Sequence[Objective],
    losses: Floats,
    base_scores: Mapping[str, float] | None,
    requirements: Requirements,
) -> tuple[str, ...]:
    if not observations:
        return ("no checkpoint scored yet",)
    trials, on_front = len({o.trial for o in observations}), non_dominated(losses).sum()
    checkpoints = len({(o.trial, o.steps) for o in observations})
    drawn = f" ({len(observations)} observations)" if len(observations) > checkpoints else ""
    parts = [f"trials: {trials}, scored checkpoints: {checkpoints}{drawn}, on the front: {on_front}"]
    if len(objectives) > 2:
        parts[0] += f" of {', '.join(o.name for o in objectives)}"
    volume = f"hypervolume {hypervolume(losses, REFERENCE_LOSS):.3f}"
    if base_scores:
        volume += f", untuned base {hypervolume(to_losses(objectives, [base_scores]), REFERENCE_LOSS):.3f}"
    parts.append(volume)
    if len(complete) < len(observations):
        parts.append(f"{len(observations) - len(complete)} without a number left out")
    if requirements:
        met = sum(violation(requirements, o.scores) == 0 for o in complete)
        parts.append(f"{met} meet {', '.join(map(str, requirements))}; the others are on no front")
    return tuple(parts)


def _axis_title(objective: Objective) -> str:
    way = "higher" if objective.direction == "maximize" else "lower"
    return f"{objective.name} ({way} is better)"


def _sign(objective: Objective) -> int:
    return 1 if objective.direction == "maximize" else -1


def _range(values: Floats, objective: Objective) -> tuple[float, float]:
    """Around the values with a margin; the whole scale without any."""
    values = values if len(values) else np.array([objective.ideal, objective.nadir])
    low, high = float(np.min(values)), float(np.max(values))
    margin = max(0.08 * (high - low), 0.04 * abs(objective.ideal - objective.nadir))
    return low - margin, high + margin


def _paths(observations: Sequence[Observation], points: Floats) -> list[Floats]:
    rows: dict[tuple[str, str], list[int]] = {}
    for i in sorted(range(len(observations)), key=lambda i: observations[i].steps):
        rows.setdefault((observations[i].trial, observations[i].label), []).append(i)
    return [points[indices] for indices in rows.values() if len(indices) > 1]


def stairs(front: Floats, objectives: tuple[Objective, Objective]) -> Floats:
    """The border from the second objective's nadir to the first's, by way of every point of the front.

    Between neighbours it turns where both are only just matched: at the next one's first objective, which is
    the worse of the two, and this one's second.
    """
    if len(front) == 0:
        return np.zeros((0, 2))
    x, y = objectives
    first = np.repeat(np.append(front[:, 0], x.nadir), 2)[:-1]
    second = np.repeat(np.append(y.nadir, front[:, 1]), 2)[1:]
    return np.column_stack([first, second])


def varied_fields(observations: Sequence[Observation]) -> set[str]:
    """The recipe's fields that are not the same everywhere; all of them where there is one recipe."""
    recipes = [o.recipe.flat() for o in observations]
    names = {name for recipe in recipes for name in recipe}
    varied = {name for name in names if len({str(recipe.get(name)) for recipe in recipes}) > 1}
    return varied or names


def _hover(
    observation: Observation, objectives: Sequence[Objective], varied: set[str], requirements: Requirements
) -> str:
    recipe = "<br>".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {html.escape(str(value))}"
        for name, value in observation.recipe.flat().items()
        if name in varied
    )
    head = f"<b>{html.escape(observation.trial)}</b> at {observation.steps} steps, seed {observation.seed}"
    drawn = observation.inference.name
    missed = [str(each) for each in requirements if each.excess(observation.scores) > 0]
    head += f"<br>misses {html.escape(', '.join(missed))}" if missed else ""
    return f"{head}<br>{_lines(observation.scores, objectives)}<br>drawn as {drawn}<br><br>{recipe}"


def _lines(scores: Mapping[str, float], objectives: Sequence[Objective]) -> str:
    """Scores one to a line, the objectives bold and first."""
    first = [o.name for o in objectives if o.name in scores]
    rest = [name for name in scores if name not in first]
    return "<br>".join(
        [f"<b>{name} {scores[name]:.3f}</b>" for name in first]
        + [f"{html.escape(name)} {scores[name]:.3f}" for name in rest]
    )
