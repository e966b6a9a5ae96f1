"""Observations as a table. Their way through MLflow and back is in tests/search/tracking/test_tracking.py."""

import numpy as np

from analysis.observations import frame
from spaces import Cost, Inference, Observation, Recipe


def test_a_row_for_each_observation_with_recipe_scores_and_costs():
    first = Observation("t0000", Recipe(rank=4), 7, 50, {"identity": 0.5}, {}, Cost(2.0, 1.0, 0.5, "NVIDIA L4", 7, 24))
    drawn = Inference(guidance=5)
    scores = {"identity": 0.6, "pose": 0.9}
    second = Observation("t0001", Recipe(text_encoder="lora"), 8, 100, scores, {}, Cost(), drawn, drawn.name)
    table = frame([first, second])
    assert table.trial.tolist() == ["t0000", "t0001"] and table.steps.tolist() == [50, 100]
    assert table["rank"].tolist() == [4, 16] and table.text_encoder.tolist() == ["frozen", "lora"]
    assert table["seconds.train"].tolist() == [2.0, 0.0]
    assert table.device.tolist() == ["NVIDIA L4", ""] and table.peak_memory[0] == 7 and np.isnan(table.peak_memory[1])
    assert table.label.tolist() == ["", "cfg5-cn1-lora1"] and table.guidance.tolist() == [3.0, 5.0]
    assert np.isnan(table.pose[0]) and table.pose[1] == 0.9
    assert set(Recipe.model_fields) < set(table.columns)


def test_a_table_of_nothing_has_its_columns():
    assert len(frame([])) == 0
    assert {"trial", "steps", "rank"} < set(frame([]).columns)
