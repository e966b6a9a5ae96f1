import json

import numpy as np
import pandas as pd

from benchmarks.table import FILE, RUNGS, Collector, left, packed, points, rows
from spaces import load_space


def test_more_recipes_leave_the_first_as_they_were_and_fill_the_space():
    space = load_space("puppets")
    few, many = points(space, 5), points(space, 64)
    assert many[:5] == few
    targets = [point["targets"] for point in many]
    assert {targets.count(name) for name in set(targets)} == {16}
    rates = np.log([point["learning_rate"] for point in many])
    even = (rates - rates.min()) / np.ptp(rates)
    assert abs(np.sort(even) - np.linspace(0, 1, 64)).max() < 0.05


def test_a_fine_tune_that_is_there_is_not_asked_for_again(tmp_path):
    made = [{"recipe": 1, "seed": 0, "steps": steps} for steps in RUNGS]
    (tmp_path / FILE).write_text("".join(json.dumps(row) + "\n" for row in made))
    assert left(tmp_path, recipes=3, seeds=2) == [(0, 0), (2, 0), (0, 1), (1, 1), (2, 1)]


def test_rows_are_made_of_a_real_fine_tune_and_packed(tmp_path):
    collector = Collector(tmp_path, rungs=(1, 2))
    collector.collect(recipe=2, seed=1)
    frame = packed(list(rows(tmp_path)))
    frame.to_parquet(tmp_path / "table.parquet")
    read = pd.read_parquet(tmp_path / "table.parquet")
    assert read["steps"].tolist() == [1, 2] and set(read["recipe"]) == {2} and set(read["seed"]) == {1}
    assert (read["seconds.train"] > 0).all() and read["score.identity"].between(-1, 1).all()
    assert read["field.rank"].tolist() == [points(load_space("puppets"), 3)[2]["rank"]] * 2
    assert len(read["cells.identity"][0]) == 12
