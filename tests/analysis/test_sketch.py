"""The plot of characters."""

import numpy as np
import pytest

from analysis.sketch import ASCII, HEIGHT, WIDTH, Marks, legend, sketch
from spaces import OBJECTIVES

AXES = (OBJECTIVES["identity"], OBJECTIVES["drift"])


@pytest.mark.parametrize("marks", [Marks(), ASCII])
def test_marks_are_where_the_points_are_and_the_pick_is_over_all(marks):
    points = np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5], [0.5, 0.5]])
    lines = sketch(points, [1, 3], 3, (0.0, 1.0), {1: "t0001@400", 3: "t0002@50"}, AXES, marks)
    assert len(lines) == HEIGHT + 3 and max(map(len, lines)) <= 79
    rows = [line[7:] for line in lines[1 : HEIGHT + 1]]
    assert rows[-1][0] == marks.seen and rows[0][0] == marks.base and rows[0][WIDTH - 1] == marks.front
    assert rows[0].endswith(f"{marks.front} t0001@400") and any(f"{marks.pick} t0002@50" in row for row in rows)
    assert "drift (lower is better)" in lines[0] and "identity (higher is better)" in lines[-1]
    assert lines[1].startswith(" 1.00") and lines[HEIGHT].startswith(" 0.00")
    assert "\n".join([*lines, legend(marks, "pick", "front", True)]).isascii() == (marks is ASCII)


def test_one_point_many_at_one_place_and_none():
    assert sketch(np.zeros((0, 2)), [], None, None, {}, AXES) == []
    for count in (1, 3):
        lines = sketch(np.full((count, 2), 0.25), list(range(count)), 0, None, {0: "a", 1: "b"}, AXES)
        assert sum(line.count("◆") for line in lines) == 1 and sum("◆ a" in line for line in lines) == 1
