"""What a recipe is taken to need of a card: bounds that hold for any recipes and any measurements."""

from dataclasses import astuple, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.trials.memory import AFTER_RUNNING_OUT, MARGIN, Load, _growth, _prices, load_of, predict
from spaces import Recipe

GB = 10**9
LOADS = st.builds(
    Load,
    samples=st.integers(1, 8).map(float),
    trained=st.one_of(st.just(0.0), st.integers(-10, 7).map(lambda power: 2.0**power)),
    layers=st.integers(0, 5).map(float),
    controlnet=st.integers(0, 2).map(float),
    words=st.sampled_from([0.0, 1.0]),
    dora=st.sampled_from([0.0, 1.0]),
    dropout=st.sampled_from([0.0, 1.0]),
    resized=st.sampled_from([0.0, 1.0]),
)
TAKEN = st.lists(st.tuples(LOADS, st.integers(1, 80 * GB)), max_size=6)
RECIPES = st.builds(
    Recipe,
    targets=st.sampled_from(["cross-kv", "cross-attention", "attention", "attention+ff", "transformer"]),
    rank=st.integers(1, 64),
    batch_size=st.integers(1, 8),
    text_encoder=st.sampled_from(["frozen", "lora"]),
    pose_from=st.sampled_from([None, 0, 20]),
    pose_trains=st.sampled_from(["unet", "both"]),
    adapter=st.sampled_from(["lora", "dora"]),
    dropout=st.sampled_from([0.0, 0.2]),
    prior=st.sampled_from(["none", "images", "base"]),
)


@given(TAKEN, TAKEN)
def test_never_below_what_was_measured_of_the_same_kind(measured, ran_out):
    for load, taken in measured:
        need = predict(load, measured, ran_out)
        assert need.expected >= taken and need.proven >= taken


@given(TAKEN, TAKEN, st.data())
def test_the_order_of_what_was_seen_makes_no_difference(measured, ran_out, data):
    load = data.draw(LOADS)
    again = data.draw(st.permutations(measured)), data.draw(st.permutations(ran_out))
    assert predict(load, *again) == predict(load, measured, ran_out)


@given(TAKEN, TAKEN, LOADS, LOADS)
def test_more_of_anything_never_needs_less(measured, ran_out, one, other):
    larger = Load(*(max(pair) for pair in zip(astuple(one), astuple(other), strict=True)))
    small, large = predict(one, measured, ran_out), predict(larger, measured, ran_out)
    if small.expected is not None:
        assert large.expected is not None and large.expected >= small.expected
    assert large.proven >= small.proven


@given(RECIPES, st.sampled_from([None, 1, 2]), st.sampled_from([(0, 10), (10, 40)]), st.data())
def test_a_larger_recipe_is_a_larger_load(recipe, micro_batch, segment, data):
    values = recipe.model_dump()
    larger = data.draw(
        st.sampled_from(
            [
                {"rank": recipe.rank * 2, "alpha": None},
                {"batch_size": recipe.batch_size + 1},
                {"adapter": "dora"},
                {"dropout": 0.3},
                {"text_encoder": "lora"},
                {"targets": "transformer"},
                {"size_augmentation": True},
            ]
        )
    )
    assert load_of(recipe, *segment, micro_batch) <= load_of(Recipe.parse(values | larger), *segment, micro_batch)


@given(LOADS, st.integers(1, 60 * GB))
def test_who_ran_out_needs_more_until_it_is_measured(load, had):
    assert predict(load, [], []).expected is None, "nothing is known: a whole card"
    need = predict(load, [], [(load, had)])
    assert need.expected == round(had * AFTER_RUNNING_OUT) and need.proven == had + 1
    taken = had + GB
    assert predict(load, [(load, taken)], [(load, had)]) == predict(load, [(load, taken)])


def test_the_closest_that_was_measured_counts():
    small = load_of(Recipe(rank=4), 0, 100)
    large, far = load_of(Recipe(rank=64), 0, 100), load_of(Recipe(rank=8, batch_size=8), 0, 100)
    alone = predict(large, [(small, 6 * GB)]).expected
    assert 6 * GB < alone < 9 * GB, "rank is a small part of the whole"
    assert predict(large, [(small, 6 * GB), (far, 20 * GB)]).expected == alone
    assert predict(large, [(small, 6 * GB), (large, 6 * GB)]).expected == round(6 * GB * MARGIN)
    assert predict(far, [(small, 6 * GB)]).expected > 8 * 6 * GB, "eight samples may take eight times as much"


def test_a_stage_has_its_own_load():
    recipe = Recipe(text_encoder="lora", pose_from=100, pose_trains="both")
    plain, posed = load_of(recipe, 0, 100), load_of(recipe, 100, 200)
    assert (plain.controlnet, posed.controlnet) == (0, 2) and (plain.words, posed.words) == (1, 0)
    assert plain.trained < posed.trained, "moments of the text encoder stay, the ControlNet's come"
    across = load_of(recipe, 50, 150)
    assert plain <= across and across.words == 1 and across.controlnet == 2
    assert load_of(recipe.model_copy(update={"pose_trains": "unet"}), 100, 200).controlnet == 1


@pytest.mark.parametrize("micro_batch, samples", [(None, 8), (2, 2), (16, 8)])
def test_class_pictures_and_micro_batches_count(micro_batch, samples):
    recipe = Recipe(batch_size=4, prior="images", prior_weight=1.0)
    assert load_of(recipe, 0, 10, micro_batch).samples == samples


def test_every_part_of_a_load_can_add():
    nothing = Load(1.0, *[0.0] * (len(fields(Load)) - 1))
    at_least = predict(nothing, [(nothing, GB)]).expected
    for part in fields(Load):
        more = replace(nothing, **{part.name: 2.0})
        assert predict(more, [(nothing, GB)]).expected > at_least, part.name


def test_a_price_that_was_too_low_is_raised():
    """Else a plain recipe's bound would hide for ever what the ControlNet was seen to take."""
    plain, posed = load_of(Recipe(rank=64), 0, 100), load_of(Recipe(rank=64, pose_from=0), 0, 100)
    other = load_of(Recipe(rank=4, pose_from=0), 0, 100)
    hopeful = predict(other, [(plain, 5 * GB)]).expected
    assert hopeful < 8 * GB
    assert predict(other, [(plain, 5 * GB), (posed, 30 * GB)]).expected >= 30 * GB
    assert predict(other, [(plain, 5 * GB)], [(posed, 30 * GB)]).expected >= 30 * GB, "also when one ran out"
    assert predict(plain, [(plain, 5 * GB), (posed, 30 * GB)]).expected == round(5 * GB * MARGIN)


@given(st.dictionaries(LOADS, st.integers(1, 80 * GB), max_size=6))
def test_no_bound_says_less_than_what_was_seen_of_a_load_with_more(most):
    prices = _prices(most, most.items())
    for load, taken in most.items():
        for other, base in most.items():
            if any(new > old for new, old in zip(astuple(load)[1:], astuple(other)[1:], strict=True)):
                assert base * _growth(other, load, prices) * MARGIN >= taken * (1 - 1e-9)
