"""A scatter plot of a few lines of text: for a terminal, with no colour and in one character for each mark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.pareto import Floats
from spaces import Objective

WIDTH, HEIGHT = 60, 14
_GUTTER = 7
_BESIDE = 12
"""Columns right of the plot in which a name may end."""


@dataclass(frozen=True)
class Marks:
    """A character for each kind, the later ones over the earlier."""

    seen: str = "·"
    base: str = "○"
    front: str = "●"
    pick: str = "◆"


ASCII = Marks(".", "x", "o", "#")


def sketch(
    points: Floats, front: Sequence[int], pick: int | None, base: tuple[float, float] | None, names: Mapping[int, str],
    objectives: tuple[Objective, Objective], marks: Marks = Marks(), width: int = WIDTH, height: int = HEIGHT,
) -> list[str]:  # fmt: skip
    """Lines of at most `width` + 19 columns. `points`: n x 2 in the objectives' units; `names` of some of them are
    written beside their marks where there is room.
    """
    if not len(points):
        return []
    x, y = objectives
    shown = np.vstack([points, [base]]) if base else points
    low, high = shown.min(axis=0), shown.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    low = np.where(high > low, low, low - 0.5)
    columns = np.rint((shown[:, 0] - low[0]) / span[0] * (width - 1)).astype(int)
    rows = np.rint((1 - (shown[:, 1] - low[1]) / span[1]) * (height - 1)).astype(int)
    grid = np.full((height, width + _BESIDE), " ")
    layers = [(range(len(points)), marks.seen), (range(len(points), len(shown)), marks.base), (front, marks.front)]
    for places, mark in [*layers, ([] if pick is None else [pick], marks.pick)]:
        for i in places:
            grid[rows[i], columns[i]] = mark
    for i in dict.fromkeys([*([] if pick is None else [pick]), *front]):
        _write(grid, rows[i], columns[i], names.get(i, ""))
    ticks = {0: low[1] + span[1], height // 2: low[1] + span[1] * (1 - height // 2 / (height - 1)), height - 1: low[1]}
    lines = [f"{' ' * (_GUTTER - 2)}{_title(y)}"]
    for row in range(height):
        tick = f"{ticks[row]:.2f}" if row in ticks else ""
        lines.append(f"{tick:>{_GUTTER - 2}} {'┤' if tick else '│'}{''.join(grid[row])}".rstrip())
    lines.append(f"{' ' * (_GUTTER - 1)}└{'─' * width}")
    left, right, title = f"{low[0]:.2f}", f"{low[0] + span[0]:.2f}", _title(x)
    lines.append(" " * _GUTTER + left + title.center(width - len(left) - len(right)) + right)
    if marks == ASCII:
        lines = [line.translate(str.maketrans("┤│└─", "||+-")) for line in lines]
    return lines


def legend(marks: Marks, pick: str, front: str, based: bool) -> str:
    """What the marks are."""
    base = f"  {marks.base} untuned base" if based else ""
    return f"{' ' * _GUTTER}{marks.pick} {pick}  {marks.front} {front}  {marks.seen} others{base}"


def _title(objective: Objective) -> str:
    return f"{objective.name} ({'higher' if objective.direction == 'maximize' else 'lower'} is better)"


def _write(grid: np.ndarray, row: int, column: int, name: str) -> None:
    """Right of the mark, or left of it, where nothing else is; else not at all."""
    for start in (column + 2, column - len(name) - 1):
        end = start + len(name)
        if name and start >= 0 and end <= grid.shape[1] and (grid[row, max(start - 1, 0) : end + 1] == " ").all():
            free = grid[row, start:end]
            free[:] = list(name)
            return
