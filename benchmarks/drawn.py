"""The contest as a picture: what is missing against the cost, and the surfaces that half of the runs attain."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PLAIN = 6
"""So many methods have full lines, the others dashed ones."""


def draw(found: dict[str, list[dict[str, Any]]], methods: Sequence[str], trainings: float, path: Path) -> None:
    """A column for each task; below, the surfaces of those with two objectives."""
    figure = Figure(figsize=(4.2 * len(found), 8.2), layout="constrained")
    axes = figure.subplots(2, len(found), squeeze=False)
    for column, (task, rows) in enumerate(found.items()):
        _curves(axes[0, column], rows, methods, trainings)
        axes[0, column].set_title(task)
        _surfaces(axes[1, column], rows, methods)
    axes[0, 0].set_ylabel("share of the hypervolume that is missing")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=110)


def _style(number: int) -> dict[str, Any]:
    return {"color": f"C{number % 10}", "linestyle": "-" if number < PLAIN else "--", "lw": 2.5 if number == 0 else 1.2}


def _curves(axes: Axes, rows: list[dict[str, Any]], methods: Sequence[str], trainings: float) -> None:
    """Medians over seeds; of the first method the quartiles too."""
    for number, name in enumerate(methods):
        curves = np.array([row["missing"] for row in rows if row["method"] == name])
        if len(curves) == 0:
            continue
        at = np.arange(1, curves.shape[1] + 1) * trainings / curves.shape[1]
        axes.plot(at, np.median(curves, axis=0), label=name, **_style(number))
        if number == 0:
            axes.fill_between(at, *np.quantile(curves, [0.25, 0.75], axis=0), alpha=0.2, color="C0", lw=0)
    axes.axhline(0.05, color="0.6", lw=0.8, linestyle=":")
    axes.set(yscale="log", xlabel="full trainings", ylim=(None, 1))


def _surfaces(axes: Axes, rows: list[dict[str, Any]], methods: Sequence[str]) -> None:
    """The second loss that half of the runs have reached at or below each first loss (Fonseca and Fleming 1996)."""
    if not rows or len(rows[0]["front"][0]) != 2:
        axes.axis("off")
        return
    at = np.linspace(0, 1, 201)
    for number, name in enumerate(methods):
        fronts = [np.array(row["front"]) for row in rows if row["method"] == name]
        reached = [[front[front[:, 0] <= x, 1].min(initial=np.inf) for x in at] for front in fronts]
        if reached:
            axes.step(at, np.median(reached, axis=0), where="post", **_style(number))
    axes.set(xlabel="first loss", ylabel="second loss, attained by half of the runs", xlim=(0, 1), ylim=(0, 0.6))
