"""The front as a picture: drawn by plotly to explore and by matplotlib to show."""

import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.confirmed import Confirmation
from analysis.frontplot import ConfirmedPlot, Floats, FrontPlot, prepare
from spaces import Objective, Observation, Requirements

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

FRONT, KNEE, BASE, INK, GRID = "#D55E00", "#CC79A7", "#000000", "#333333", "#E6E6E6"
"""Okabe and Ito's vermillion, purple and black: told apart by any eye, and from viridis."""

EDGE = {"color": INK, "width": 0.5}


def pareto_html(
    observations: Sequence[Observation],
    objectives: Sequence[Objective],
    base_scores: Mapping[str, float] | None,
    space_name: str,
    requirements: Requirements = (),
    confirmation: Confirmation | None = None,
) -> str:
    """A page that needs no network: hover over a point for its trial, scores and recipe."""
    plot = prepare(observations, objectives, base_scores, space_name, requirements, confirmation)
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
    confirmation: Confirmation | None = None,
) -> bytes:
    """The same as a picture, 1440 x 960."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=160, layout="constrained")
    _draw(figure.add_subplot(), prepare(observations, objectives, base_scores, space_name, requirements, confirmation))
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
        line={"color": FRONT, "width": 2.5} if plot.confirmed is None else {"color": FRONT, "width": 1, "dash": "dot"},
        opacity=1.0 if plot.confirmed is None else 0.5,
    )
    confirmed, behind = plot.confirmed, np.setdiff1d(np.arange(len(plot.points)), plot.front)
    if confirmed is None:
        _add_points(figure, plot, behind, "scored checkpoint", {"size": 8, "opacity": 0.55, "line": EDGE})
        front = {"size": 13, "opacity": 1.0, "line": {"color": FRONT, "width": 2.5}}
        _add_points(figure, plot, plot.front, "front", front)
    else:
        _add_points(figure, plot, behind, "scored checkpoint", {"size": 7, "opacity": 0.3, "line": EDGE})
        pale = {"size": 11, "opacity": 0.3, "line": {"color": FRONT, "width": 2}}
        _add_points(figure, plot, confirmed.lost, "front as scored, not confirmed", pale)
        kept = {**pale, "opacity": 0.65}
        _add_points(figure, plot, np.setdiff1d(plot.front, confirmed.lost), "front as scored, confirmed", kept)
        _add_confirmed(figure, confirmed)
    if plot.knee is not None and confirmed is None:
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
        margin={"t": max(100, 64 + 17 * len(plot.summary)), "r": 20, "b": 120},
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


def _add_confirmed(figure: "go.Figure", confirmed: ConfirmedPlot) -> None:
    """Means with their intervals, their border, and thin lines from what the search scored."""
    gap = np.full((1, 2), np.nan)
    ways = np.vstack([np.vstack([a, b, gap]) for a, b in zip(confirmed.before, confirmed.points, strict=True)])
    thin = {"color": INK, "width": 1, "dash": "dot"}
    quiet = {"hoverinfo": "skip", "showlegend": False, "mode": "lines"}
    figure.add_scatter(x=ways[:, 0], y=ways[:, 1], line=thin, opacity=0.5, **quiet)
    figure.add_scatter(x=confirmed.stairs[:, 0], y=confirmed.stairs[:, 1], line={"color": FRONT, "width": 2.5}, **quiet)
    bars = {"color": INK, "thickness": 1.5, "width": 5}
    figure.add_scatter(
        x=confirmed.points[:, 0],
        y=confirmed.points[:, 1],
        error_x={"array": confirmed.halves[:, 0], **bars},
        error_y={"array": confirmed.halves[:, 1], **bars},
        mode="markers",
        name="confirmed: mean, 95 % interval",
        hovertext=confirmed.hover,
        hoverinfo="text",
        marker={
            "symbol": "diamond",
            "size": 14,
            "line": {"color": FRONT, "width": 2.5},
            "color": np.log(confirmed.steps),
            "coloraxis": "coloraxis",
        },
    )
    if confirmed.knee is not None:
        _add_mark(
            figure,
            confirmed.points[confirmed.knee],
            f"knee: {confirmed.names[confirmed.knee]}",
            confirmed.hover[confirmed.knee],
            {"symbol": "circle-open", "size": 27, "color": KNEE, "line": {"width": 3.5}},
        )
    if confirmed.base is not None:
        _add_mark(
            figure,
            confirmed.base,
            "untuned base, new panel",
            confirmed.base_hover,
            {"symbol": "x-open", "size": 12, "color": BASE, "line": {"width": 2}},
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
    confirmed = plot.confirmed
    pale = confirmed is not None
    axes.plot(
        *plot.stairs.T,
        color=FRONT,
        linewidth=1 if pale else 2,
        zorder=2,
        ls=":" if pale else "-",
        alpha=0.5 if pale else 1,
    )
    behind = np.setdiff1d(np.arange(len(plot.points)), plot.front)
    shades = np.log(plot.steps)
    axes.scatter(
        *plot.points[behind].T,
        c=shades[behind],
        s=26,
        alpha=0.3 if pale else 0.55,
        linewidths=0.5,
        edgecolors=INK,
        zorder=3,
        label="scored checkpoint",
        **colors,
    )
    faded = {"alpha": np.where(np.isin(plot.front, confirmed.lost), 0.25, 0.65)} if pale else {}
    drawn = axes.scatter(
        *plot.points[plot.front].T,
        c=shades[plot.front],
        s=75,
        edgecolors=FRONT,
        linewidths=2,
        zorder=4,
        label="front as scored" if pale else "front",
        **colors,
        **faded,
    )
    if confirmed is not None:
        drawn = _draw_confirmed(axes, confirmed, colors)
    if plot.knee is not None and not pale:
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
    top, rest = (plot.summary[:-1], plot.summary[-1:]) if pale else (plot.summary, ())
    said = "\n".join(" · ".join(line) for line in (top, rest) if line)
    axes.text(0, 1.03 if pale else 1.075, said, transform=axes.transAxes, fontsize=9, color="#666666")
    if pale:
        axes.figure.legend(loc="outside lower center", ncols=6, frameon=False, fontsize=8, markerscale=0.7)
    else:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, fontsize=9)
    _label_front(axes, plot)
    if len(plot.steps):
        ticks = _ticks(plot.steps)
        bar = axes.figure.colorbar(drawn, ax=axes, label="steps", pad=0.015, aspect=35)
        bar.set_ticks(np.log(ticks), labels=[str(tick) for tick in ticks])
        bar.minorticks_off()
        bar.outline.set_visible(False)


def _draw_confirmed(axes: "Axes", confirmed: ConfirmedPlot, colors: dict[str, object]) -> "PathCollection":
    from matplotlib.collections import LineCollection

    ways = list(np.stack([confirmed.before, confirmed.points], axis=1))
    axes.add_collection(LineCollection(ways, colors=INK, alpha=0.5, linewidths=0.8, linestyles="dotted", zorder=4))
    axes.plot(*confirmed.stairs.T, color=FRONT, linewidth=2, zorder=4)
    bars = {"fmt": "none", "ecolor": INK, "elinewidth": 1.1, "capsize": 2.5, "zorder": 5}
    axes.errorbar(*confirmed.points.T, xerr=confirmed.halves[:, 0], yerr=confirmed.halves[:, 1], **bars)
    drawn = axes.scatter(
        *confirmed.points.T,
        c=np.log(confirmed.steps),
        s=85,
        marker="D",
        edgecolors=FRONT,
        linewidths=2,
        zorder=6,
        label="confirmed, 95 % interval",
        **colors,
    )
    if confirmed.knee is not None:
        knee = f"knee: {confirmed.names[confirmed.knee]}"
        at = confirmed.points[confirmed.knee]
        axes.scatter(*at, s=330, facecolors="none", edgecolors=KNEE, linewidths=2.5, zorder=7, label=knee)
    if confirmed.base is not None:
        axes.scatter(*confirmed.base, s=80, marker="x", c=BASE, zorder=5, label="base, new panel")
    return drawn


def _label_front(axes: "Axes", plot: FrontPlot) -> None:
    """Names beside the front, on the side where nothing is; one that would hide another is not drawn."""
    size = axes.figure.get_size_inches() * 72
    spans = np.array([high - low for low, high in plot.ranges])
    right, up = plot.better
    taken: list[Floats] = []
    if plot.confirmed is not None:
        points, names, knee = plot.confirmed.points, plot.confirmed.names, plot.confirmed.knee
    else:
        points, names = plot.points[plot.front], [plot.names[i] for i in plot.front]
        knee = None if plot.knee is None else list(plot.front).index(plot.knee)
    ends = [0, len(points) - 1] if len(points) else []
    for i in dict.fromkeys([*([] if knee is None else [knee]), *ends, *range(len(points))]):
        place = points[i] / spans * size
        if all(abs(place[0] - other[0]) > 62 or abs(place[1] - other[1]) > 12 for other in taken):
            taken.append(place)
            axes.annotate(
                names[i],
                points[i],
                (9 * right, 6 * up),
                textcoords="offset points",
                zorder=6,
                fontsize=8,
                color=INK,
                ha="left" if right > 0 else "right",
                va="bottom" if up > 0 else "top",
            )
