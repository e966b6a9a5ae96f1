"""The model of curves, and proposals that come from it."""

from functools import partial

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from search.proposals.encoding import Encoding
from search.proposals.foresight import FIRST, LUCK, MOST, Foresight, Known, changed, most_wanted, next_recipes
from search.proposals.gaussian import Curves, Posterior, Rows, _covariance, _Known, _loss, _prior
from search.sampler import STARTUP_TRIALS, Sampler
from spaces import Space, parse_space
from tests.search.examples import observed, small_space

SPACE = small_space()


def rows(generator: np.random.Generator, n: int) -> Rows:
    features = generator.random((n, 3))
    return Rows(features, generator.choice([0.0, 0.5, 1.0], n), np.arange(n) // 2, np.array([0, 1, 1]))


def test_the_gradient_is_that_of_the_posterior_density():
    generator = np.random.default_rng(0)
    known, losses = _Known.of(rows(generator, 16)), generator.normal(size=16)
    scales = _prior(2)[0] + 0.3 * generator.normal(size=10)
    numeric = approx_fprime(scales, lambda at: _loss(at, known, losses)[0], 1e-6)
    np.testing.assert_allclose(_loss(scales, known, losses)[1], numeric, atol=2e-3)


def test_a_smooth_function_is_learnt_and_far_away_less_is_known():
    generator = np.random.default_rng(1)
    seen = rows(generator, 60)
    truth = lambda x, t: np.sin(3 * x[:, 0]) + 0.5 * t  # noqa: E731
    model = Curves.fitted(seen, truth(seen.features, seen.at))
    posterior, features = Posterior(model.scales, seen, truth(seen.features, seen.at)), generator.random((20, 3))
    mean, deviation = posterior.at(features, np.array([0.0, 1.0]))
    expected = np.column_stack([truth(features, t) for t in (0.0, 1.0)])
    assert np.abs(mean - expected).max() < 0.2
    _, far = posterior.at(np.full((1, 3), 9.0), np.array([0.0]))
    assert far[0, 0] > 2 * deviation.mean()


def test_what_is_expected_is_the_conditional_of_the_covariance_that_is_learnt():
    """By its formula, checkpoint by checkpoint; at what was seen too, where distances are nothing but rounding."""
    generator = np.random.default_rng(4)
    seen, losses, scales = rows(generator, 50), generator.normal(size=50), _prior(2)[0]
    scales = scales + 0.5 * generator.normal(size=10)
    wanted, rungs = np.concatenate([generator.random((20, 3)), seen.features]), np.array([0.0, 0.3, 0.5, 1.0])
    every = Rows(np.repeat(wanted, 4, axis=0), np.tile(rungs, 70), 1000 + np.arange(280), seen.groups)
    both = Rows(*(np.concatenate([getattr(part, f) for part in (seen, every)]) for f in ("features", "at", "trials")),
                seen.groups)  # fmt: skip
    whole = _covariance(scales, _Known.of(both))[0]
    luck = np.exp(2 * scales[-2:]).sum() + 1e-8  # a new trial's and its checkpoint's
    across, weights = whole[50:, :50], np.linalg.solve(whole[:50, :50], whole[:50, 50:])
    posterior = Posterior(scales, seen, losses)
    mean, deviation = posterior.at(wanted, rungs)
    np.testing.assert_allclose(mean.ravel(), losses @ weights, atol=1e-9)
    variance = np.diag(whole)[50:] - luck - (across * weights.T).sum(axis=1)
    np.testing.assert_allclose(deviation.ravel() ** 2, variance, atol=1e-9)
    own = np.argmax(seen.at[:, None] == rungs, axis=1)
    np.testing.assert_allclose(posterior.seen, mean[20:][np.arange(50), own], atol=1e-9)


def test_what_is_drawn_is_spread_as_the_posterior_is():
    generator = np.random.default_rng(5)
    seen, losses, scales = rows(generator, 20), generator.normal(size=20), _prior(2)[0]
    posterior, wanted = Posterior(scales, seen, losses), generator.random((5, 3))
    wanted[4], at = wanted[3] + 1e-5, np.array([0.0, 0.5, 1.0, 0.5, 0.5])
    drawn = np.array([posterior.drawn(wanted, at, generator) for _ in range(8000)])
    mean, deviation = posterior.at(wanted, np.array([0.0, 0.5, 1.0]))
    own = [0, 1, 2, 1, 1]
    np.testing.assert_allclose(drawn.mean(axis=0), mean[np.arange(5), own], atol=0.05)
    np.testing.assert_allclose(drawn.std(axis=0), deviation[np.arange(5), own], rtol=0.05, atol=0.01)
    assert np.abs(drawn[:, 3] - drawn[:, 4]).max() < 0.05 < drawn[:, 3].std()  # one function, and no noise of its own


def test_a_recipe_and_its_point_in_the_cube_say_the_same():
    encoding, generator = Encoding(SPACE), np.random.default_rng(2)
    for _ in range(50):
        point = generator.random(encoding.parameters)
        values = encoding.values(point)
        assert SPACE.recipe(encoding.values(encoding.point(values))) == SPACE.recipe(values)
        (features,) = encoding.features(point[None])
        (again,) = encoding.features(encoding.point(values)[None])
        np.testing.assert_allclose(features, again, atol=1e-9)
        chosen, rank = features[encoding.groups == 3], features[encoding.groups == 4]
        assert ((chosen > 0) == [values["text_encoder"] == name for name in ("frozen", "lora")]).all()
        assert values["text_encoder"] == "lora" or rank == 0.5


def told(sampler: Sampler, trials: range, generator: np.random.Generator) -> None:
    for i in trials:
        values = sampler.propose() if i < 40 else SPACE.sample(generator)
        sampler.accept(f"t{i:04d}", values)
        for steps in (10, 20):
            good = 0.9 - values["dropout"] + steps / 1000
            sampler.observe(
                [observed(f"t{i:04d}", steps, good * values["rank"] / 64, good * (1 - values["rank"] / 64))]
            )
        sampler.end(f"t{i:04d}")


def test_one_that_is_told_the_same_table_at_once_proposes_the_same():
    """As it is after an interruption: scales are learnt from the checkpoints that they were learnt from before."""
    first, again = (Sampler(SPACE, "gp", 4) for _ in range(2))
    told(first, range(STARTUP_TRIALS + 6), np.random.default_rng(0))
    for trial, values in first._values.items():
        again.accept(trial, values)
    for seen in first._known._seen:
        name = list(first._known._trials)[seen.trial]
        identity, pose = (1 - loss for loss in seen.outputs)
        again.observe([observed(name, seen.steps, identity, pose)])
        again.end(name)
    expected, proposed = SPACE.recipe(first.propose()), SPACE.recipe(again.propose())
    assert proposed.text_encoder == expected.text_encoder
    assert proposed.learning_rate == pytest.approx(expected.learning_rate, rel=1e-3)


def test_of_very_many_checkpoints_a_bounded_number_is_kept_and_the_best_among_them():
    known, generator, best = Known(SPACE, 0), np.random.default_rng(3), 0.0
    for i in range(MOST):
        best = max(best, score := float(generator.random()))
        for steps in (10, 20):
            known.observe([observed(f"t{i:04d}", steps, score, score)], SPACE.sample(generator))
    assert FIRST < len(known._seen) <= MOST
    assert min(seen.outputs[0] for seen in known._seen) == pytest.approx(1 - best)


def of_a_line(space: Space, trials: int = 40, noise: float = 0.0) -> Foresight:
    """After trials whose losses are the share of the largest dropout and what is left of it, more with the rank."""
    known, generator = Known(space, 0), np.random.default_rng(0)
    for i in range(trials):
        values = space.sample(generator)
        share, worse = values["dropout"] / 0.4, 0.2 * values["rank"] / 64
        luck = noise * generator.normal(size=2)
        known.observe([observed(f"t{i:04d}", 20, 1 - share - worse + luck[0], share - worse + luck[1])], values)
    return known.foresight()()


def test_weights_lead_to_their_part_of_the_front():
    foresight, generator = of_a_line(SPACE), np.random.default_rng(1)
    for weights, low, high in (([1.0, 0.0], 0.0, 0.04), ([0.5, 0.5], 0.16, 0.24), ([0.0, 1.0], 0.36, 0.4)):
        want = partial(foresight.weighted, weights=np.array(weights))
        best = most_wanted(want, foresight.points, foresight.encoding.parameters, generator)[0]
        values = foresight.encoding.values(best)
        assert low <= values["dropout"] <= high
        assert values["rank"] < 12


def test_where_runs_are_lucky_proposals_are_spread():
    """Without luck they crowd about the front; with it the best that was seen is not believed to be the best."""
    spread, lucky = [], []
    for noise in (0.0, 0.5):
        foresight = of_a_line(SPACE, noise=noise)
        drawn = [next(next_recipes(foresight, [], np.random.default_rng(i))) for i in range(40)]
        spread.append(np.std([np.log(values["rank"]) for values in drawn]))
        lucky.append(foresight.luck)
    assert lucky[0] < LUCK[0] < lucky[1]
    assert spread[1] > 1.3 * spread[0]


def test_what_is_changed_is_a_parent_but_for_one_parameter():
    foresight, generator = of_a_line(SPACE), np.random.default_rng(2)
    parents = foresight.points[:3]
    for point in changed(foresight, parents, generator):
        assert (point == parents).sum(axis=1).max() == parents.shape[1] - 1


def test_a_quarter_of_the_proposals_are_changed_recipes_and_are_not_the_same():
    foresight = of_a_line(SPACE)
    drawn = [next(next_recipes(foresight, [], np.random.default_rng(i))) for i in range(40)]
    points = np.array([foresight.encoding.point(values) for values in drawn])
    same = np.isclose(points[:, None], foresight.points[None], atol=1e-6).sum(axis=2).max(axis=1)
    assert 4 <= (same == points.shape[1] - 1).sum() <= 18
    assert len({tuple(point) for point in points}) == 40


def test_what_misses_a_requirement_is_avoided():
    text = "subject: x\nrungs: [10]\nrequire: ['drift < 0.2']\nrecipe: {dropout: {low: 0.0, high: 0.9}}"
    space = parse_space(text, "required")
    sampler, proposed = Sampler(space, "gp", 0), []
    for i in range(STARTUP_TRIALS + 8):
        values = sampler.propose()
        sampler.accept(f"t{i:04d}", values)
        seen = observed(f"t{i:04d}", 10, values["dropout"], values["dropout"])
        seen.scores["drift"] = 0.5 * values["dropout"]  # the better, the further off
        sampler.observe([seen])
        sampler.end(f"t{i:04d}")
        proposed.append(values["dropout"])
    assert max(proposed[:STARTUP_TRIALS]) > 0.6
    learnt = proposed[STARTUP_TRIALS:]
    assert max(learnt) < 0.5  # also what was changed at random
    assert sum(dropout > 0.3 for dropout in learnt) >= 4
