"""The front as a picture: drawn by plotly to explore and by matplotlib to show."""

import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.frontplot import Floats, FrontPlot, prepare
from spaces import Objective, Observation, Requirements

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes

FRONT, KNEE, BASE, INK, GRID = "#D55E00", "#CC79A7", "#000000", "#333333", "#E6E6E6"
"""Okabe and Ito's vermillion, purple and black: told apart by any eye, and from viridis."""

EDGE = {"color": INK, "width": 0.5}


def pareto_html(
    observations: Sequence[Observation],
    objectives: Sequence[Objective],
    base_scores: Mapping[str, float] | None,
    space_name: str,
    requirements: Requirements = (),
) -> str:
    """A page that needs no network: hover over a point for its trial, scores and recipe."""
    plot = prepare(observations, objectives, base_scores, space_name, requirements)
    figure = _figure(plot).to_html(
        include_plotlyjs=True,
        full_html=False,
        default_height="100vh",
        config={"displaylogo": False, "responsive": True},
    )
    head = f'<meta charset="utf-8"><title>{html.escape(plot.title)}</title><style>body {{ margin: 0 }}</style>'
    return f"<!DOCTYPE html>\n<html><head>{head}</head><body>{figure}</body></html>\n"


def pareto_png(
    observations: Sequence[Observation],
    objectives: Sequence[Objective],
    base_scores: Mapping[str, float] | None,
    space_name: str,
    requirements: Requirements = (),
) -> bytes:
    """The same as a picture, 1440 x 960."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=160, layout="constrained")
    _draw(figure.add_subplot(), prepare(observations, objectives, base_scores, space_name, requirements))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _figure(plot: FrontPlot) -> "go.Figure":
    import plotly.graph_objects as go

    figure = go.Figure()
    gap = np.full((1, 2), np.nan)
    tracks = np.vstack([gap, *(part for path in plot.paths for part in (path, gap))])
    figure.add_scatter(
        x=tracks[:, 0],
        y=tracks[:, 1],
        mode="lines",
        name="a trial's way",
        hoverinfo="skip",
        line={"color": "rgba(90,90,90,0.28)", "width": 1},
    )
    figure.add_scatter(
        x=plot.stairs[:, 0],
        y=plot.stairs[:, 1],
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        line={"color": FRONT, "width": 2.5},
    )
    behind = np.setdiff1d(np.arange(len(plot.points)), plot.front)
    _add_points(figure, plot, behind, "scored checkpoint", {"size": 8, "opacity": 0.55, "line": EDGE})
    _add_points(figure, plot, plot.front, "front", {"size": 13, "opacity": 1.0, "line": {"color": FRONT, "width": 2.5}})
    if plot.knee is not None:
        _add_mark(
            figure,
            plot.points[plot.knee],
            f"knee: {plot.names[plot.knee]}",
            plot.hover[plot.knee],
            {"symbol": "circle-open", "size": 25, "color": KNEE, "line": {"width": 3.5}},
        )
    if plot.base is not None:
        _add_mark(
            figure,
            plot.base,
            "untuned base",
            plot.base_hover,
            {"symbol": "x", "size": 13, "color": BASE, "line": {"color": "white", "width": 1}},
        )
    subtitle = {"text": "<br>".join(map(html.escape, plot.summary)), "font": {"size": 12, "color": "#666666"}}
    figure.update_layout(
        template="simple_white",
        font={"family": "system-ui, sans-serif", "size": 14, "color": INK},
        title={"text": html.escape(plot.title), "font": {"size": 18}, "subtitle": subtitle, "x": 0.02},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
        hoverlabel={"align": "left", "bgcolor": "white", "font": {"size": 12}},
        margin={"t": 100, "r": 20, "b": 120},
        coloraxis=_color_axis(plot.steps),
        hovermode="closest",
    )
    for update, title, about, extent in zip(
        (figure.update_xaxes, figure.update_yaxes), plot.axis_titles, plot.about_axes, plot.ranges, strict=True
    ):
        text = f"<b>{html.escape(title)}</b><br><span style='font-size:12px'>{html.escape(about)}</span>"
        update(title=text, range=extent, showgrid=True, gridcolor=GRID, zeroline=False)
    return figure


def _add_points(
    figure: "go.Figure", plot: FrontPlot, chosen: NDArray[np.int64], name: str, marker: dict[str, object]
) -> None:
    figure.add_scatter(
        x=plot.points[chosen, 0],
        y=plot.points[chosen, 1],
        mode="markers",
        name=name,
        hovertext=[plot.hover[i] for i in chosen],
        hoverinfo="text",
        marker={**marker, "color": np.log(plot.steps[chosen]), "coloraxis": "coloraxis"},
    )


def _add_mark(
    figure: "go.Figure", point: Sequence[float] | Floats, name: str, hover: str, marker: dict[str, object]
) -> None:
    figure.add_scatter(
        x=[point[0]],
        y=[point[1]],
        mode="markers",
        name=name,
        marker=marker,
        hovertext=hover,
        hoverinfo="text",
    )


def _color_axis(steps: NDArray[np.int64]) -> dict[str, object]:
    """Steps by their logarithm, since rungs grow by factors."""
    ticks = _ticks(steps)
    low, high = _color_limits(steps)
    return {
        "colorscale": "Viridis",
        "cmin": low,
        "cmax": high,
        "showscale": len(ticks) > 0,
        "colorbar": {
            "title": "steps",
            "tickvals": np.log(ticks),
            "ticktext": [str(t) for t in ticks],
            "thickness": 14,
            "len": 0.9,
            "outlinewidth": 0,
        },
    }


def _ticks(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """The step counts that occur, at most eight of them."""
    rungs = np.unique(steps)
    return rungs[np.unique(np.linspace(0, len(rungs) - 1, min(len(rungs), 8)).round().astype(int))]


def _color_limits(steps: NDArray[np.int64]) -> tuple[float, float]:
    if len(steps) == 0 or steps.min() == steps.max():
        middle = float(np.log(steps[0])) if len(steps) else 0.0
        return middle - 1.0, middle + 1.0
    return float(np.log(steps.min())), float(np.log(steps.max()))


def _draw(axes: "Axes", plot: FrontPlot) -> None:
    from matplotlib.collections import LineCollection

    low, high = _color_limits(plot.steps)
    colors = {"cmap": "viridis", "vmin": low, "vmax": high}
    axes.add_collection(LineCollection(plot.paths, colors="#5A5A5A", alpha=0.28, linewidths=0.8, zorder=1))
    axes.plot(*plot.stairs.T, color=FRONT, linewidth=2, zorder=2)
    behind = np.setdiff1d(np.arange(len(plot.points)), plot.front)
    shades = np.log(plot.steps)
    axes.scatter(
        *plot.points[behind].T,
        c=shades[behind],
        s=26,
        alpha=0.55,
        linewidths=0.5,
        edgecolors=INK,
        zorder=3,
        label="scored checkpoint",
        **colors,
    )
    drawn = axes.scatter(
        *plot.points[plot.front].T,
        c=shades[plot.front],
        s=75,
        edgecolors=FRONT,
        linewidths=2,
        zorder=4,
        label="front",
        **colors,
    )
    if plot.knee is not None:
        axes.scatter(
            *plot.points[plot.knee],
            s=300,
            facecolors="none",
            edgecolors=KNEE,
            linewidths=2.5,
            zorder=5,
            label=f"knee: {plot.names[plot.knee]}",
        )
    if plot.base is not None:
        axes.scatter(*plot.base, s=90, marker="X", c=BASE, edgecolors="white", zorder=5, label="untuned base")
    (x_title, y_title), (x_range, y_range) = plot.axis_titles, plot.ranges
    axes.set(xlim=x_range, ylim=y_range)
    axes.set_xlabel(f"{x_title}\n{plot.about_axes[0]}")
    axes.set_ylabel(f"{y_title}\n{plot.about_axes[1]}")
    axes.grid(color=GRID, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(plot.title, loc="left", fontsize=14, pad=40)
    axes.text(0, 1.075, " · ".join(plot.summary), transform=axes.transAxes, fontsize=9, color="#666666")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, fontsize=9)
    _label_front(axes, plot)
    if len(plot.steps):
        ticks = _ticks(plot.steps)
        bar = axes.figure.colorbar(drawn, ax=axes, label="steps", pad=0.015, aspect=35)
        bar.set_ticks(np.log(ticks), labels=[str(tick) for tick in ticks])
        bar.minorticks_off()
        bar.outline.set_visible(False)


def _label_front(axes: "Axes", plot: FrontPlot) -> None:
    """Names beside the front, on the side where nothing is; one that would hide another is not drawn."""
    size = axes.figure.get_size_inches() * 72
    spans = np.array([high - low for low, high in plot.ranges])
    right, up = plot.better
    taken: list[Floats] = []
    ends = [plot.front[0], plot.front[-1]] if len(plot.front) else []
    for i in dict.fromkeys([*([] if plot.knee is None else [plot.knee]), *ends, *plot.front]):
        place = plot.points[i] / spans * size
        if all(abs(place[0] - other[0]) > 62 or abs(place[1] - other[1]) > 12 for other in taken):
            taken.append(place)
            axes.annotate(
                plot.names[i],
                plot.points[i],
                (9 * right, 6 * up),
                textcoords="offset points",
                zorder=6,
                fontsize=8,
                color=INK,
                ha="left" if right > 0 else "right",
                va="bottom" if up > 0 else "top",
            )
