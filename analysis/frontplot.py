"""What the picture of a front holds, whatever draws it: points, the front, its stairs and knee, words."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.pareto import hypervolume, knee, non_dominated
from spaces import REFERENCE_LOSS, Objective, Observation, Requirements, front_losses, to_losses, violation

Floats = NDArray[np.float64]


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


def prepare(
    observations: Sequence[Observation],
    objectives: Sequence[Objective],
    base_scores: Mapping[str, float] | None,
    space_name: str,
    requirements: Requirements = (),
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
    varied = _varied(complete)
    shown = np.vstack([points, [base]]) if base else points
    return FrontPlot(
        title=f"{x.name} versus {y.name} · space {space_name}",
        summary=_summary(observations, complete, objectives, losses, base_scores, requirements),
        axis_titles=(_axis_title(x), _axis_title(y)),
        about_axes=(x.about, y.about),
        ranges=(_range(shown[:, 0], x), _range(shown[:, 1], y)),
        better=(_sign(x), _sign(y)),
        points=points,
        steps=np.array([o.steps for o in complete], dtype=np.int64),
        names=[o.name for o in complete],
        hover=[_hover(o, objectives, varied, requirements) for o in complete],
        paths=_paths(complete, points),
        front=front,
        stairs=_stairs(points[front], (x, y)) if len(objectives) == 2 else np.zeros((0, 2)),
        knee=knee(losses),
        base=base,
        base_hover="<b>untuned base</b><br>" + _lines(base_scores or {}, objectives),
    )


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


def _stairs(front: Floats, objectives: tuple[Objective, Objective]) -> Floats:
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


def _varied(observations: Sequence[Observation]) -> set[str]:
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
