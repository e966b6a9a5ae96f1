"""Several sweeps of one panel on one page: their fronts, how they grew, and which is better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis import against
from analysis.attainment import band
from analysis.course import Course
from analysis.frontplot import stairs
from analysis.pareto import Floats, non_dominated
from analysis.report.figures import COLOURS, DASHES, INK, Figure, axis, layout, rgba, time_unit
from analysis.report.page import page
from analysis.report.verdicts import Verdict, verdicts
from spaces import Objective, Observation, Requirements, front_losses

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")


@dataclass(frozen=True, eq=False)
class Run:
    """One sweep."""

    name: str
    observations: Sequence[Observation]
    course: Course
    on_gpus: bool


@dataclass(frozen=True, eq=False)
class Group:
    """Sweeps that are repeats of one another, or one sweep."""

    name: str
    runs: Sequence[Run]


@dataclass(frozen=True)
class Row:
    """A sweep in the table."""

    group: str
    name: str
    trials: int
    seconds: float
    worked: float
    front: int
    volume: float


def rows_of(groups: Sequence[Group], objectives: Sequence[Objective], requirements: Requirements) -> list[Row]:
    """In the order of the groups."""
    found = []
    for group in groups:
        for run in group.runs:
            grown, front = run.course, _front(run, objectives, requirements)
            last = (
                (int(grown.trials[-1]), float(grown.seconds[-1]), float(grown.worker_seconds[-1]))
                if len(front)
                else (0, 0.0, 0.0)
            )
            found.append(Row(group.name, run.name, *last, len(front), grown.last))
    return found


def coverage(groups: Sequence[Group], objectives: Sequence[Objective], requirements: Requirements) -> list[list[float]]:
    """g x g: the share of the column's front that some point of the row's weakly
    dominates, of the groups' sweeps together. NaN where the column has no front.
    """
    fronts = [_united(group, objectives, requirements) for group in groups]
    return [[against.coverage(mine, theirs) for theirs in fronts] for mine in fronts]


def _united(group: Group, objectives: Sequence[Objective], requirements: Requirements) -> Floats:
    """Losses of the front of all of a group's observations, k x m."""
    losses = front_losses(objectives, requirements, [o.scores for run in group.runs for o in run.observations])
    return losses[non_dominated(losses)]


def _front(run: Run, objectives: Sequence[Objective], requirements: Requirements) -> list[Observation]:
    """From the best in the first objective on."""
    losses = front_losses(objectives, requirements, [o.scores for o in run.observations])
    front = np.flatnonzero(non_dominated(losses))
    return [run.observations[i] for i in front[np.lexsort(losses[front].T[::-1])]] if len(front) else []


def fronts_figure(groups: Sequence[Group], objectives: Sequence[Objective], requirements: Requirements) -> Figure:
    """The fronts in the first two objectives, a colour and a symbol for each group, other observations faint."""
    x, y = objectives[0], objectives[1]
    traces: list[dict[str, Any]] = []
    for g, group in enumerate(groups):
        colour, symbol = COLOURS[g % len(COLOURS)], SYMBOLS[g % len(SYMBOLS)]
        traces += _attained(group, objectives, requirements, colour)
        behind = [o for run in group.runs for o in run.observations]
        faint = {"size": 4, "color": rgba(colour, 0.22), "symbol": symbol}
        traces.append(_points(behind, objectives, faint) | {"showlegend": False, "hoverinfo": "skip"})
        for k, run in enumerate(group.runs):
            front = _front(run, objectives, requirements)
            named = {"name": group.name, "legendgroup": group.name, "showlegend": k == 0}
            if len(objectives) == 2 and front and len(group.runs) == 1:
                edge = stairs(np.array([[o.scores[x.name], o.scores[y.name]] for o in front]), (x, y))
                line = {"color": colour, "width": 2, "dash": DASHES[g % len(DASHES)]}
                traces.append({"type": "scatter", "mode": "lines", "x": _rounded(edge[:, 0]), "y": _rounded(edge[:, 1]),
                               "line": line, "hoverinfo": "skip", **named, "showlegend": False})  # fmt: skip
            marker = {"size": 10, "symbol": symbol, "color": colour, "line": {"color": INK, "width": 0.8}}
            texts = [f"{run.name}: {o.name}" for o in front]
            hover = "%{text}<br>" + f"{x.name} %{{x:.3f}}<br>{y.name} %{{y:.3f}}<extra></extra>"
            traces.append(_points(front, objectives, marker) | named | {"text": texts, "hovertemplate": hover})
    shown = [o for group in groups for run in group.runs for o in run.observations]
    ranges = [_extent([o.scores[each.name] for o in shown]) for each in (x, y)]
    axes = [axis(f"{o.name} ({_better(o)} is better)", o.about, range=r) for o, r in zip((x, y), ranges, strict=True)]
    return {"data": traces, "layout": layout(560, xaxis=axes[0], yaxis=axes[1], hovermode="closest")}


def _attained(
    group: Group, objectives: Sequence[Objective], requirements: Requirements, colour: str
) -> list[dict[str, Any]]:
    """Of repeats with two objectives: what half of them attain, and between what most and what few do a band."""
    if len(objectives) != 2 or len(group.runs) < 2:
        return []
    fronts = [front_losses(objectives, requirements, [o.scores for o in run.observations]) for run in group.runs]
    fronts = [front[~np.isnan(front).any(axis=1)] for front in fronts]
    found = band([front for front in fronts if len(front)])
    ideal, nadir = (np.array([getattr(o, name) for o in objectives]) for name in ("ideal", "nadir"))
    edges = [
        stairs(ideal + corners * (nadir - ideal), (objectives[0], objectives[1]))
        for corners in (found.best, found.worst, found.median)
    ]
    outline = np.vstack([edges[0], edges[1][::-1]])
    quiet = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "legendgroup": group.name}
    about = f"{group.name}: what three in four to one in four attain"
    shade = {"fill": "toself", "fillcolor": rgba(colour, 0.16), "line": {"width": 0}, "name": about}
    middle = {"line": {"color": colour, "width": 3.5}, "name": f"{group.name}: what half of {found.fronts} attain"}
    return [
        {**quiet, "x": _rounded(outline[:, 0]), "y": _rounded(outline[:, 1]), **shade},
        {**quiet, "x": _rounded(edges[2][:, 0]), "y": _rounded(edges[2][:, 1]), **middle},
    ]


def _points(
    observations: Sequence[Observation], objectives: Sequence[Objective], marker: dict[str, Any]
) -> dict[str, Any]:
    x, y = (_rounded([o.scores[each.name] for o in observations]) for each in objectives[:2])
    return {"type": "scatter", "mode": "markers", "x": x, "y": y, "marker": marker}


def growth_figures(groups: Sequence[Group]) -> dict[str, Figure]:
    """Hypervolume over trials, time and work, a line for each sweep in its group's colour."""
    runs = [run for group in groups for run in group.runs]
    unit, called = time_unit(max((float(run.course.seconds[-1]) for run in runs if len(run.course.seconds)), default=0))
    worked, worked_called = time_unit(
        max((float(run.course.worker_seconds[-1]) for run in runs if len(run.course.worker_seconds)), default=0)
    )
    whose = "GPUs" if all(run.on_gpus for run in runs) else "workers"
    return {
        "hypervolume over trials": _growth(groups, lambda c: c.trials, "trials", "scored so far"),
        "hypervolume over time": _growth(groups, lambda c: c.seconds / unit, "time", f"{called} since the start"),
        "hypervolume over work": _growth(
            groups, lambda c: c.worker_seconds / worked, "work", f"{worked_called} of {whose}"
        ),
    }


def _growth(groups: Sequence[Group], across: Any, title: str, about: str) -> Figure:
    lines, top = [], 0.0
    for g, group in enumerate(groups):
        for k, run in enumerate(group.runs):
            thin = run.course.thinned()
            top = max(top, thin.last)
            lines.append(
                {
                    "type": "scatter", "mode": "lines", "name": group.name, "legendgroup": group.name,
                    "showlegend": k == 0,
                    "x": [0.0, *_rounded(across(thin))], "y": [0.0, *_rounded(thin.volume)],
                    "line": {"shape": "hv", "color": COLOURS[g % len(COLOURS)], "dash": DASHES[g % len(DASHES)],
                             "width": 1.8},
                    "hovertemplate": f"{run.name}: %{{y:.4f}} at %{{x:.4g}}<extra></extra>",
                }
            )  # fmt: skip
    up = axis("hypervolume", "higher is better", range=[0, min(1.02, top * 1.12) or 1])
    return {"data": lines, "layout": layout(320, xaxis=axis(title, about, rangemode="tozero"), yaxis=up)}


def compare_html(
    groups: Sequence[Group], objectives: tuple[Objective, ...], requirements: Requirements, facts: Mapping[str, str],
    command: str,
) -> str:  # fmt: skip
    """The page of several sweeps, all scored on one panel."""
    figures = {"fronts": fronts_figure(groups, objectives, requirements)} | growth_figures(groups)
    rows = rows_of(groups, objectives, requirements)
    covered = coverage(groups, objectives, requirements)
    judged = [
        (group.name, verdict) for group in groups[1:] for verdict in _judged(groups[0], group, objectives, requirements)
    ]
    return page(
        "compare.html.j2", ("charts.js", "start.js"), {"figures": figures}, groups=groups, objectives=objectives,
        requirements=requirements, facts=facts, rows=rows, repeats=any(len(group.runs) > 1 for group in groups),
        judged=judged,
        covered=list(zip(groups, covered, strict=True)), command=command,
    )  # fmt: skip


def _judged(first: Group, second: Group, objectives: Sequence[Objective], requirements: Requirements) -> list[Verdict]:
    ours, theirs = ([(run.course, run.observations) for run in group.runs] for group in (first, second))
    return verdicts(ours, theirs, objectives, requirements)


def _better(objective: Objective) -> str:
    return "higher" if objective.direction == "maximize" else "lower"


def _extent(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    margin = max(0.07 * (high - low), 0.02)
    return low - margin, high + margin


def _rounded(values: Sequence[float] | Floats) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
