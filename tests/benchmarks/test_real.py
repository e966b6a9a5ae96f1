import pytest

from benchmarks.real import volume
from search.front import hypervolume_of
from spaces import Observation, Recipe, load_space


def test_what_came_too_late_does_not_count():
    space = load_space("puppets")
    scores = [{"identity": 0.5, "pose": 0.6}, {"identity": 0.4, "pose": 0.8}, {"identity": 1.0, "pose": 1.0}]
    rows = [
        {"after": after, "trial": f"{after}", "steps": 50, "scores": each}
        for after, each in zip((10.0, 59.0, 61.0), scores, strict=True)
    ]
    assert volume(rows, space, 60) == (pytest.approx(0.5 * 0.6 + 0.4 * 0.2), 2)
    table = [Observation(row["trial"], Recipe(), 0, 50, row["scores"]) for row in rows]
    assert volume(rows, space, 62) == (pytest.approx(hypervolume_of(table, space.objectives)), 1)
