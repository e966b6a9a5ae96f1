import re

from benchmarks.methods import PLAIN, SCORES, differences, methods, table
from spaces.stages import switches

UNTUNED = dict.fromkeys(SCORES, 0.5)


def row(seed: int, value: float) -> dict[str, object]:
    return {"seed": seed, "scores": dict.fromkeys(SCORES, value), "parameters": 1234}


def test_every_method_is_another_recipe_and_its_stages_are_within_the_steps():
    recipes = methods(200)
    assert len(set(recipes.values())) == len(recipes) > 20
    assert all(set(switches(recipe)) <= {100} for recipe in recipes.values())


def test_the_tables_have_means_and_intervals_over_seeds():
    rows = {PLAIN: [row(0, 0.1), row(1, 0.3)], "other": [row(0, 0.2), row(1, 0.5)], "one": [row(0, 0.7)]}
    shown = table(rows, {PLAIN: 1.0, "other": 1.25, "one": 0.5}, UNTUNED, 200)
    assert f"| {PLAIN} | 0.20 ± 1.27 |" in shown  # t(0.975, 1) = 12.71, standard error 0.1
    assert "| one | 0.70 | 0.70 | 0.70 | 0.70 | 0.50 | 1,234 | 1 |" in shown
    paired = differences(rows)
    assert (
        "| other | 0.15 ± 0.64 |" in paired and "| one | 0.60 |" in paired and not re.search(rf"^\\| {PLAIN}", paired)
    )
