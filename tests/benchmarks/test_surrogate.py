"""The surrogate against curves that are known: what it predicts between them, and the noise that it found."""

import numpy as np
import pytest

from benchmarks.surrogate import Curves, Surrogate, held_out
from benchmarks.table import RUNGS, packed, points
from benchmarks.tasks import PuppetsTable
from spaces import load_space

SPACE = load_space("puppets")
NOISE = 0.03


def truth(point: dict, steps: int) -> tuple[float, float]:
    """Identity grows with rate, rank and steps; pose falls with them, and less where keys and values alone train."""
    strength = np.log10(point["learning_rate"] / 2e-4) / 1.4 + 0.2 * np.log2(point["rank"] / 2) / 5
    progress = 1 - np.exp(-steps * (0.2 + strength) / 150)
    return 0.7 * progress, 0.95 - 0.4 * strength * progress * (0.5 if point["targets"] == "cross-kv" else 1.0)


def table(recipes: int, seeds: int):
    generator, rows = np.random.default_rng(0), []
    for recipe, point in enumerate(points(SPACE, recipes)):
        for seed in range(seeds):
            luck = generator.normal(0, NOISE, 2)
            for steps in RUNGS:
                identity, pose = truth(point, steps) + luck
                rows.append({
                    "recipe": recipe, "seed": seed, "steps": steps, "base": "b", "values": point, "cells": {},
                    "scores": {"identity": identity, "pose": pose}, "seconds": {"train": steps * 0.1, "score": 3.0},
                })  # fmt: skip
    return packed(rows)


@pytest.fixture(scope="module")
def curves(tmp_path_factory) -> Curves:
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    table(48, 2).to_parquet(path)
    import pandas as pd

    return Curves.of(pd.read_parquet(path), ["identity", "pose"])


def test_curves_keep_the_points_through_parquet(curves):
    assert curves.scores.shape == (96, len(RUNGS), 2)
    drawn = points(SPACE, 48)
    for recipe, values in zip(curves.recipes, curves.values, strict=True):
        assert SPACE.recipe(values) == SPACE.recipe(drawn[recipe])


def test_new_recipes_are_predicted_better_than_by_the_mean_and_noise_has_its_size(curves):
    surrogate = Surrogate(SPACE, curves)
    new = points(SPACE, 64)[48:]
    true = np.array([[truth(point, steps) for steps in RUNGS] for point in new])
    missed = np.sqrt(np.mean((surrogate.mean(new) - true) ** 2, axis=(0, 1)))
    assert (missed < 0.5 * true.std(axis=(0, 1))).all()
    np.testing.assert_allclose(surrogate.seconds(new)[:, -1], RUNGS[-1] * 0.1 + 3.0, rtol=0.05)
    generator = np.random.default_rng(1)
    drawn = np.array([surrogate.noise(generator) for _ in range(400)])
    assert drawn.std() == pytest.approx(NOISE, rel=0.25) and abs(drawn.mean()) < 0.3 * NOISE
    assert np.allclose(drawn, drawn[:, :1])  # a lucky run is lucky at every rung


def test_the_error_on_held_out_recipes_is_between_noise_and_spread(curves):
    for error in held_out(SPACE, curves, folds=4):
        assert error.noise == pytest.approx(NOISE, rel=0.25)
        assert 0.8 * NOISE < error.rmse < 0.12 and error.explained > 0.6


def test_the_task_is_the_space_as_it_is_shipped(tmp_path):
    """The table's first rung is not the space's: nobody scores there, and its steps are paid for at the second."""
    table(24, 2).to_parquet(tmp_path / "table.parquet")
    task = PuppetsTable(tmp_path / "table.parquet")
    assert task.space == SPACE and RUNGS[1:] == SPACE.rungs
    new = points(SPACE, 32)[24:]
    true = 1 - np.array([[truth(point, steps) for steps in SPACE.rungs] for point in new])
    assert np.abs(task.curves(new) - true).mean() < 0.1 and task.noise(np.random.default_rng(0)).shape == (4, 2)
    assert not task.exact().noise(np.random.default_rng(0)).any() and task.noise(np.random.default_rng(0)).all()
    paid = np.array([RUNGS[0] + RUNGS[1], *RUNGS[2:]]) * 0.1 + task.scoring
    np.testing.assert_allclose(task.seconds(new), np.tile(paid, (8, 1)), rtol=0.1)
