"""Plotly's figures as plain data: what all of them look like, and how the hypervolume grew."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.course import Course

INK, GRID, MUTED = "#333333", "#E6E6E6", "#666666"
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's, the front's vermillion first, without the yellow that paper swallows."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
"""Beside the colours, so that lines are told apart in grey too."""
Figure = dict[str, Any]


def axis(title: str, about: str = "", **more: Any) -> dict[str, Any]:
    """An axis with its name in bold, and below it in small what it measures."""
    text = f"<b>{title}</b>" + (f"<br><span style='font-size:11px'>{about}</span>" if about else "")
    line = {"showgrid": True, "gridcolor": GRID, "zeroline": False, "linecolor": INK, "showline": True}
    return {"title": {"text": text, "standoff": 8}, "ticks": "outside", "automargin": True, **line, **more}


def layout(height: int, **more: Any) -> dict[str, Any]:
    """Of every figure. The page's script gives it its width."""
    return {
        "height": height,
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
        "plot_bgcolor": "white",
        "paper_bgcolor": "white",
        "margin": {"l": 60, "r": 16, "t": 16, "b": 56},
        "hoverlabel": {"bgcolor": "white", "align": "left", "font": {"size": 12, "color": INK}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        **more,
    }


def rgba(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def time_unit(most: float) -> tuple[float, str]:
    """Seconds to divide by, and what that is called, for times of up to so many seconds."""
    return (1.0, "s") if most < 180 else (60.0, "min") if most < 3 * 3600 else (3600.0, "h")


def course_figures(courses: Mapping[str, Course], on_gpus: bool) -> dict[str, Figure]:
    """Hypervolume over trials, over time and over time of GPUs or workers; the first sweep's line is the strong one."""
    whose = "GPUs" if on_gpus else "workers"
    thin = {name: each.thinned() for name, each in courses.items()}
    unit, called = time_unit(_most([each.seconds for each in courses.values()]))
    worked, worked_called = time_unit(_most([each.worker_seconds for each in courses.values()]))
    return {
        "hypervolume over trials": _course_figure(
            {n: (c.trials, c.volume) for n, c in thin.items()}, "trials", "scored so far"
        ),
        "hypervolume over time": _course_figure(
            {n: (c.seconds / unit, c.volume) for n, c in thin.items()}, "time", f"{called} since the start"
        ),
        "hypervolume over work": _course_figure(
            {n: (c.worker_seconds / worked, c.volume) for n, c in thin.items()}, "work", f"{worked_called} of {whose}"
        ),
    }


def _course_figure(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str, about: str) -> Figure:
    lines = []
    for i, (name, (x, y)) in enumerate(curves.items()):
        x, y = [0.0, *map(float, x)], [0.0, *map(float, y)]
        lines.append(
            {
                "type": "scatter", "mode": "lines", "name": name,
                "x": [float(f"{value:.6g}") for value in x], "y": [round(value, 6) for value in y],
                "line": {"shape": "hv", "color": COLOURS[i % len(COLOURS)], "width": 3 if i == 0 else 1.8,
                         "dash": DASHES[i % len(DASHES)]},
                "hovertemplate": "%{y:.4f} at %{x:.4g}<extra>" + name + "</extra>",
            }
        )  # fmt: skip
    top = max((max(line["y"]) for line in lines), default=0.0)
    return {
        "data": lines,
        "layout": layout(
            300,
            xaxis=axis(title, about, rangemode="tozero"),
            yaxis=axis("hypervolume", "higher is better", range=[0, min(1.02, top * 1.12) or 1]),
            showlegend=len(lines) > 1,
        ),
    }


def _most(values: Sequence[Sequence[float]]) -> float:
    return max((float(max(each)) for each in values if len(each)), default=0.0)
