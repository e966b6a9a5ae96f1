"""What matters, as figures: how much each coordinate decides, what its values do, and which the front has."""

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.coordinates import DRAWN, STEPS, Coordinates, coordinates
from analysis.effects import Effect, effects
from analysis.importance import Importance, Importances, importances
from analysis.pareto import non_dominated
from analysis.report.figures import COLOURS, DASHES, INK, Figure, axis, layout, rgba
from analysis.report.material import Material
from spaces import Choice, Objective, Observation, Parameter, front_losses

FAINT = 300
"""So many trials are drawn behind those of the front; of more, so many are drawn by lot."""
SHOWN = 9
"""Coordinates with an effect of their own figure."""
ALWAYS = (STEPS, "rank", "dropout", "targets")
"""What people ask for first, where it varies."""
_SYMBOLS = ("circle", "square", "diamond", "triangle-up")


def matter_figures(material: Material) -> dict[str, Figure]:
    """All of them; empty where nothing varies. The same material gives the same figures."""
    table = coordinates(material.observations, material.space)
    if not table.parameters:
        return {}
    found = importances(material.observations, material.space)
    losses = front_losses(material.objectives, material.requirements, [o.scores for o in table.observations])
    front = frozenset(table.observations[i].trial for i in np.flatnonzero(non_dominated(losses)))
    lines = parallel_figure(table, material.objectives, front, np.random.default_rng(0))
    figures = importance_figures(found)
    figures |= effect_figures(effects(material.observations, material.space), material.objectives, found)
    return figures | ({"parallel": lines} if lines else {})


def importance_figures(found: Importances) -> dict[str, Figure]:
    """For reaching the front, and for each objective; empty where there are too few trials."""
    parts = {"front": ("reaching the front", found.front)} if found.front else {}
    parts |= {name: (name, several) for name, several in found.objectives.items() if several}
    return {f"importance {key}": _importance(title, several) for key, (title, several) in parts.items()}


def _importance(title: str, several: Sequence[Importance]) -> Figure:
    """Points with their intervals, filled where they are more than chance, which is a tick."""
    names = [_broken(each.name, 14) for each in several]
    shares = np.array([each.share for each in several])
    arms = {"array": [e.high - e.share for e in several], "arrayminus": [e.share - e.low for e in several]}
    points = {
        "type": "scatter", "mode": "markers", "name": "share, 95 % interval", "x": _round(shares), "y": names,
        "error_x": {"type": "data", "symmetric": False, "color": INK, "thickness": 1.5, "width": 4,
                    **{key: _round(values) for key, values in arms.items()}},
        "marker": {"size": 10, "symbol": ["circle" if e.tells else "circle-open" for e in several],
                   "color": COLOURS[1], "line": {"width": 2, "color": COLOURS[1]}},
        "hovertemplate": "%{y}: %{x:.2f}<extra></extra>",
    }  # fmt: skip
    chance = {
        "type": "scatter", "mode": "markers", "name": "chance", "x": _round([e.chance for e in several]), "y": names,
        "marker": {"symbol": "line-ns", "size": 14, "line": {"width": 2, "color": "#999999"}},
        "hovertemplate": "chance: %{x:.2f}<extra></extra>",
    }  # fmt: skip
    most = max([e.high for e in several] + [e.chance for e in several] + [0.05])
    across = axis("share", "", range=[-0.02 * most, min(1.02, 1.08 * most)])
    up = axis("", autorange="reversed", type="category") | {"title": {"text": ""}}
    head = {"text": f"<b>{html.escape(title)}</b>", "font": {"size": 14}, "x": 0.02, "xanchor": "left", "y": 0.99}
    margins = {"l": 8, "r": 12, "t": 30, "b": 46}
    look = layout(90 + 28 * len(several), title=head, xaxis=across, yaxis=up, margin=margins, showlegend=False)
    return {"data": [points, chance], "layout": look}


def effect_figures(found: Sequence[Effect], objectives: Sequence[Objective], matter: Importances) -> dict[str, Figure]:
    """One for each coordinate, those first that people ask for and those that matter most."""
    rank = {each.name: i for i, each in enumerate(matter.front)}
    order = sorted(found, key=lambda e: (e.name not in ALWAYS, rank.get(e.name, len(rank))))
    return {f"effect {each.name}": _effect(each, objectives) for each in order[:SHOWN] if len(each.bins) > 1}


def _effect(effect: Effect, objectives: Sequence[Objective]) -> Figure:
    """Its objectives one above the other, over the same bins."""
    labels = [each.label.replace(" to ", "<br>to ") for each in effect.bins]
    count = len(objectives)
    height, gap = 1 / count, 0.06 if count > 1 else 0.0
    traces: list[dict[str, Any]] = []
    axes: dict[str, Any] = {}
    for i, objective in enumerate(objectives):
        suffix = "" if i == 0 else str(i + 1)
        means = [each.means[objective.name] for each in effect.bins]
        arms = [(0.0, 0.0) if m.low is None or m.high is None else (m.value - m.low, m.high - m.value) for m in means]
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers" if effect.ordered else "markers", "name": objective.name,
                "x": labels, "y": _round([m.value for m in means]), "xaxis": "x", "yaxis": f"y{suffix}",
                "error_y": {"type": "data", "symmetric": False, "arrayminus": _round([low for low, _ in arms]),
                            "array": _round([high for _, high in arms]), "color": INK, "thickness": 1.3, "width": 4},
                "line": {"color": COLOURS[(i + 1) % len(COLOURS)], "dash": DASHES[i], "width": 1.5},
                "marker": {"size": 9, "symbol": _SYMBOLS[i % len(_SYMBOLS)], "color": COLOURS[(i + 1) % len(COLOURS)]},
                "customdata": [each.trials for each in effect.bins],
                "hovertemplate": "%{x}: %{y:.3f}, %{customdata} trials<extra>" + objective.name + "</extra>",
            }
        )  # fmt: skip
        better = "higher" if objective.direction == "maximize" else "lower"
        low, high = i * height, (i + 1) * height
        axes[f"yaxis{suffix}"] = axis(objective.name, f"{better} is better", domain=[low + gap * (i > 0), high])
    axes["xaxis"] = axis(
        effect.name.replace("_", " "), "", type="category", anchor="y", tickangle=0, tickfont={"size": 11}
    )
    return {
        "data": traces,
        "layout": layout(110 + 150 * count, showlegend=False, margin={"l": 66, "r": 10, "t": 10, "b": 50}, **axes),
    }


def parallel_figure(
    table: Coordinates, objectives: Sequence[Objective], front: frozenset[str], generator: np.random.Generator
) -> Figure | None:
    """A line for each trial through the values of its recipe and the scores of its last checkpoint; those of `front`,
    names of trials, are strong. None where nothing varies.
    """
    fields = [p for p in table.parameters if p.name not in (STEPS, DRAWN)]
    if not fields or not table.observations:
        return None
    last: dict[str, tuple[Observation, Any]] = {}
    for o, row in zip(table.observations, table.rows, strict=True):
        if not o.label and (o.trial not in last or o.steps >= last[o.trial][0].steps):
            last[o.trial] = o, row
    if not last:
        return None
    others = [trial for trial in last if trial not in front]
    faint = sorted(generator.choice(others, FAINT, replace=False).tolist()) if len(others) > FAINT else others
    wobble = {trial: float(generator.uniform(-0.02, 0.02)) for trial in last}
    spans = [_span([o.scores[each.name] for o, _ in last.values()]) for each in objectives]

    def heights(trial: str) -> list[float | None]:
        o, row = last[trial]
        places = [_place(p, row[p.name], wobble[trial]) if p.name in row else None for p in fields]
        scored = [
            (o.scores[each.name] - low) / (high - low) for each, (low, high) in zip(objectives, spans, strict=True)
        ]
        return [None if y is None else round(y, 4) for y in (*places, *scored)]

    ways = {"maximize": "higher", "minimize": "lower"}
    names = [
        *(_broken(p.name) for p in fields),
        *(f"<b>{o.name}</b><br>{ways[o.direction]} is<br>better" for o in objectives),
    ]
    xs = list(range(len(names)))
    quiet = {
        "type": "scatter",
        "mode": "lines",
        "hoverinfo": "skip",
        "line": {"color": rgba("#666666", 0.22), "width": 1},
    }
    behind: dict[str, list[Any]] = {"x": [], "y": []}
    for trial in faint:
        behind["x"] += [*xs, None]
        behind["y"] += [*heights(trial), None]
    traces: list[dict[str, Any]] = [{**quiet, **behind, "name": "other trials"}]
    for i, trial in enumerate(sorted(front & last.keys())):
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": trial, "x": xs, "y": heights(trial),
                "line": {"color": COLOURS[i % len(COLOURS)], "width": 2,
                         "dash": DASHES[i // len(COLOURS) % len(DASHES)]},
                "marker": {"size": 5, "symbol": _SYMBOLS[i % len(_SYMBOLS)]}, "hoverinfo": "name",
            }
        )  # fmt: skip
    notes = [note for i, p in enumerate(fields) for note in _notes(i, p)]
    for i, (low, high) in enumerate(spans, start=len(fields)):
        notes += [_note(i, 0, f"{low:.2f}"), _note(i, 1, f"{high:.2f}")]
    lines = [
        {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "layer": "below", "line": {"color": "#999999", "width": 1}}
        for x in xs
    ]
    across = {
        "tickvals": xs, "ticktext": names, "range": [-0.4, len(names) - 0.6], "side": "top",
        "showgrid": False, "zeroline": False, "fixedrange": True, "tickfont": {"size": 11}, "tickangle": 0,
    }  # fmt: skip
    up = {"visible": False, "range": [-0.08, 1.08], "fixedrange": True}
    legend = {"orientation": "h", "y": -0.03, "yanchor": "top", "x": 0, "font": {"size": 11}}
    return {
        "data": traces,
        "layout": layout(480, xaxis=across, yaxis=up, annotations=notes, shapes=lines, legend=legend,
                         margin={"l": 8, "r": 30, "t": 72, "b": 60}),
    }  # fmt: skip


def _place(parameter: Parameter, value: Any, wobble: float) -> float:
    """From 0 to 1; a choice's values have room for a wobble, so that lines can be told apart."""
    if isinstance(parameter, Choice):
        return _level(parameter, parameter.values.index(value)) + wobble
    return float(parameter.quantile(value))


def _level(parameter: Choice, i: int) -> float:
    return 0.04 + 0.92 * i / max(1, len(parameter.values) - 1)


def _notes(x: int, parameter: Parameter) -> list[dict[str, Any]]:
    """What is at which height of a coordinate's line."""
    if isinstance(parameter, Choice):
        return [_note(x, _level(parameter, i), "none" if v is None else str(v)) for i, v in enumerate(parameter.values)]
    return [_note(x, 0, f"{parameter.low:.3g}"), _note(x, 1, f"{parameter.high:.3g}")]


def _note(x: int, y: float, text: str) -> dict[str, Any]:
    about = {"showarrow": False, "xanchor": "left", "xshift": 4, "bgcolor": "rgba(255,255,255,0.75)", "borderpad": 0}
    return {"x": x, "y": y, "text": html.escape(text), "font": {"size": 10, "color": INK}, **about}


def _broken(name: str, width: int = 0) -> str:
    """A name in lines of about so many characters."""
    lines = [""]
    for word in html.escape(name).split("_"):
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _round(values: Sequence[float] | np.ndarray) -> list[float | None]:
    return [round(float(v), 5) if math.isfinite(v) else None for v in values]
