"""What matters, against Optuna's own figures and against sweeps where it is known."""

import warnings

import numpy as np
import optuna
import pytest
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from analysis.coordinates import coordinates
from analysis.fanova import fractions
from analysis.importance import _distribution, best_share, importances
from analysis.pareto import order_selection
from spaces import to_losses
from tests.analysis.tables import SPACE, space, sweep


def by_name(found):
    return {each.name: each for each in found}


def test_reaching_the_front_agrees_with_optuna_conditions_and_all():
    table = coordinates(sweep(60, seed=3), space())
    losses = to_losses(space().objectives, [o.scores for o in table.observations])
    place = np.argsort(order_selection(losses, 1.0))
    study = optuna.create_study()
    for row, value in zip(table.rows, place, strict=True):
        distributions = {p.name: _distribution(p) for p in table.parameters if p.name in row}
        params = {name: row[name] for name in distributions}
        study.add_trial(create_trial(params=params, distributions=distributions, value=float(value)))
    expected = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=best_share(losses)))
    found = {each.name: each.share for each in importances(table.observations, space()).front}
    assert set(found) == {"targets", "rank", "dropout", "text_encoder", "text_encoder_rank", "steps"}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("n", [2, 9, 60])
def test_a_forests_variance_is_split_as_optuna_splits_it(n):
    generator = np.random.default_rng(n)
    points = generator.random((n, 3))
    points[:, 2] = np.round(points[:, 2], 1)  # ties
    values = points[:, 0] + points[:, 1] * points[:, 2]
    study = optuna.create_study()
    uniform = {name: optuna.distributions.FloatDistribution(0, 1) for name in "abc"}
    for row, value in zip(points.tolist(), values.tolist(), strict=True):
        study.add_trial(create_trial(params=dict(zip("abc", row, strict=True)), distributions=uniform, value=value))
    expected = FanovaImportanceEvaluator(n_trees=6, seed=5).evaluate(study)
    found = dict(zip("abc", fractions(points, values, [0, 0, 0], 6, 5), strict=True))
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_choice_explains_what_its_values_do():
    points = np.array([[k % 3, (k * 7 % 30) / 30] for k in range(60)], dtype=float)
    values = (points[:, 0] == 2).astype(float)
    assert fractions(points, values, [3, 0], 8, 0) == pytest.approx([1.0, 0.0], abs=0.01)
    assert fractions(points, np.zeros(60), [3, 0], 8, 0).tolist() == [0.0, 0.0]


def test_what_matters_is_told_from_what_does_not():
    found = importances(sweep(60), space())
    identity = by_name(found.objectives["identity"])
    assert {each.name for each in found.objectives["identity"][:2]} == {"rank", "steps"}
    assert all(identity[name].tells for name in ("rank", "steps"))
    assert identity["dropout"].low == 0 and identity["dropout"].share < 0.1
    assert all(0 <= each.low <= each.share <= each.high <= 1 for each in (*found.front, *identity.values()))


def test_of_noise_next_to_nothing_is_said_to_matter():
    told = 0
    for seed in range(2):
        table = sweep(24, seed)
        generator = np.random.default_rng(seed)
        for o in table:
            o.scores.update(identity=generator.random(), pose=generator.random())
        found = importances(table, space(), seed)
        told += sum(each.tells for each in (*found.front, *found.objectives["identity"], *found.objectives["pose"]))
    assert told <= 0.15 * 2 * 18


def test_of_few_trials_or_one_recipe_nothing_is_said():
    assert importances([], space()).front == ()
    few = importances(sweep(3), space())
    assert few.front == () and few.objectives == {"identity": (), "pose": ()} and few.trials == 3
    fixed = space(SPACE.split("recipe:")[0] + "recipe: {rank: 4}\n")
    same = sweep(20, rungs=(100,), of=fixed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert importances(same, fixed).front == ()


def test_what_misses_a_requirement_does_not_count_as_near_the_front():
    strict, table = space(SPACE + "require: [pose_hard >= 0.6]\n"), sweep(30)
    found, again, free = importances(table, strict), importances(table, strict), importances(table, space())
    assert found.front != free.front and found.objectives == free.objectives
    assert found == again, "the same numbers each time"
