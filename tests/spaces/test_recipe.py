from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces import Cost, InputError, Observation, Recipe
from spaces.stages import adapted, in_the_loop, training


def test_fields_without_meaning_are_none_so_that_equal_fine_tunes_are_equal():
    frozen = Recipe(text_encoder="frozen", text_encoder_rank=4, text_encoder_learning_rate=1e-3)
    assert frozen == Recipe() and hash(frozen) == hash(Recipe())
    assert frozen.text_encoder_rank is None
    assert Recipe(prior_weight=0.0, prior_images=9) == Recipe()


def test_what_is_left_open_follows_from_the_rest():
    recipe = Recipe(rank=8, learning_rate=3e-4, text_encoder="lora", prior_weight=1.0)
    assert recipe.alpha == 8
    assert recipe.text_encoder_learning_rate == 3e-4
    assert recipe.prior_images == 50


@pytest.mark.parametrize(
    ("chosen", "meaningless"),
    [
        ({}, {"min_rank": 3, "dropout_kind": "rank", "token_vectors": 2, "pose_trains": "both", "controlnet_rank": 3}),
        ({}, {"condition_dropout": 0.5, "masked_mean": "pixels", "text_encoder_until": 7, "prior": "base"}),
        ({"unet": "full-kv"}, {"rank": 3, "alpha": 2, "targets": "cross-kv", "init": "pissa", "dropout": 0.3}),
        ({"unet": "frozen", "token": "trained"}, {"learning_rate": 1e-3, "adapter": "dora", "rank": 3}),
        ({"pose_from": 100}, {"controlnet_rank": 3, "controlnet_learning_rate": 1e-3, "pose_trains": "unet"}),
        ({"pose_from": 0, "pose_trains": "controlnet"}, {"unet": "full-kv", "targets": "cross-kv", "rank": 3}),
        ({"unet": "frozen", "text_encoder": "lora"}, {"rank_schedule": "timestep", "min_rank": 3}),
        ({"prior": "base"}, {"prior_images": 7}),
        ({"prior": "none"}, {"prior_weight": 0.3}),
    ],
)
def test_a_choice_makes_other_fields_meaningless(chosen, meaningless):
    if meaningless.get("prior"):
        meaningless |= {"prior_weight": 0.0}
    assert Recipe(**chosen, **meaningless) == Recipe(**chosen)


def test_a_prior_is_its_kind_and_its_weight():
    assert Recipe(prior_weight=0.5).prior == "images"  # as recipes said before there were two kinds
    assert Recipe(prior="base").prior_weight == 1.0 and Recipe(prior="base").prior_images is None
    assert Recipe(prior="images", prior_weight=0.0) == Recipe()


def test_other_parts_have_the_scale_of_the_unet_unless_they_have_their_own():
    parts = {"text_encoder": "lora", "text_encoder_rank": 2, "pose_from": 0, "pose_trains": "both"}
    recipe = Recipe(rank=8, alpha=4, **parts)
    assert (recipe.text_encoder_alpha, recipe.controlnet_alpha) == (1.0, 8.0)
    assert Recipe(rank=8, alpha=4, text_encoder_alpha=7, **parts).text_encoder_alpha == 7
    assert Recipe(unet="full-kv", **parts).text_encoder_alpha == 2


def test_a_schedule_s_least_rank_is_half_and_never_above_the_rank():
    assert Recipe(rank=9, rank_schedule="timestep").min_rank == 4
    assert Recipe(rank=1, rank_schedule="timestep").min_rank == 1
    assert Recipe(rank=4, rank_schedule="timestep", min_rank=9).min_rank == 4
    control = Recipe(unet="frozen", pose_from=0, controlnet_rank=6, rank_schedule="timestep")
    assert control.pose_trains == "controlnet" and control.min_rank == 3


@given(st.data())
def test_settled_is_settled(data):
    """A recipe's values, given again, are the same recipe: what the record of a sweep relies on."""
    literals = {n: get_args(f.annotation) for n, f in Recipe.model_fields.items()}
    choices = {n: [v for a in args for v in (get_args(a) or [a]) if isinstance(v, str)] for n, args in literals.items()}
    given = {n: data.draw(st.sampled_from(values)) for n, values in choices.items() if values and n != "token_init"}
    steps = st.none() | st.integers(1, 5)
    given |= {n: data.draw(steps) for n in ("token_until", "text_encoder_until", "pose_from", "min_rank", "rank")}
    given |= {"dropout": data.draw(st.sampled_from([0.0, 0.2])), "mask_weight": data.draw(st.sampled_from([0.0, 1.0]))}
    try:
        recipe = Recipe(**given)
    except ValueError:
        return
    assert Recipe(**recipe.model_dump()) == recipe
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert all(training(recipe, step) for step in range(8))


@pytest.mark.parametrize(
    ("fields", "trains"),
    [
        ({}, {0: {"unet"}, 999: {"unet"}}),
        ({"text_encoder": "lora", "text_encoder_until": 3}, {2: {"unet", "text_encoder"}, 3: {"unet"}}),
        ({"unet": "frozen", "token": "trained"}, {0: {"token"}, 999: {"token"}}),
        ({"unet": "full-kv", "token": "trained"}, {0: {"unet", "token"}}),
        (
            {"token": "trained", "token_until": 3, "text_encoder": "lora"},
            {2: {"token"}, 3: {"unet", "text_encoder"}},
        ),
        (
            {"text_encoder": "lora", "token": "trained", "pose_from": 3},
            {2: {"unet", "text_encoder", "token"}, 3: {"unet"}},
        ),
        ({"pose_from": 3, "pose_trains": "controlnet"}, {2: {"unet"}, 3: {"controlnet"}}),
        ({"pose_from": 3, "pose_trains": "both"}, {2: {"unet"}, 3: {"unet", "controlnet"}}),
        (
            {"pose_from": 0, "pose_trains": "both", "text_encoder": "lora", "token": "trained"},
            {0: {"unet", "controlnet", "text_encoder", "token"}},
        ),
        ({"pose_from": 0, "token": "trained", "token_until": 3}, {2: {"token"}, 3: {"unet"}}),
    ],
)
def test_what_trains_follows_from_recipe_and_step(fields, trains):
    recipe = Recipe(**fields)
    assert {step: training(recipe, step) for step in trains} == trains
    assert set(adapted(recipe)) == set().union(*trains.values())
    assert [in_the_loop(recipe, step) for step in (0, 2, 3)] == {
        None: [False] * 3, 0: [True] * 3, 3: [False, False, True],
    }[recipe.pose_from]  # fmt: skip


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Recipe().rank = 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rank": 0}, "rank: 0 is not right, it should be greater than or equal to 1"),
        ({"targets": "everything"}, "'cross-kv', 'cross-attention', 'attention', 'attention+ff' or 'transformer'"),
        ({"dropout": 1.0}, "dropout: 1.0"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"unet": "frozen"}, "unet: 'frozen' leaves nothing that trains, set unet, text_encoder or token"),
        (
            {"unet": "frozen", "text_encoder": "lora", "text_encoder_until": 9},
            "from step 9 on: see text_encoder_until: 9",
        ),
        ({"unet": "frozen", "token": "trained", "pose_from": 5, "pose_trains": "unet"}, "from step 5 on"),
        ({"init": "pissa", "rank_schedule": "timestep"}, "rank_schedule: 'timestep' would mask"),
        ({"init": "pissa", "dropout": 0.1, "dropout_kind": "module"}, "dropout_kind: 'module' would drop"),
        ({"token": "trained", "token_init": "two words"}, "token_init: 'two words'"),
        ({"rnak": 3}, "rnak: no such field; fields are unet, targets, rank"),
    ],
)
def test_a_mistake_is_one_line_with_field_and_value(values, said):
    with pytest.raises(InputError) as error:
        Recipe.parse(values, where="here.yaml")
    assert said in str(error.value) and str(error.value).startswith("here.yaml") and "\n" not in str(error.value)


@given(
    rank=st.integers(1, 1024),
    dropout=st.floats(0, 0.99),
    rate=st.floats(1e-8, 1),
    prior=st.sampled_from([0.0, 0.5]),
    text=st.sampled_from(["frozen", "lora"]),
)
def test_an_observation_survives_json(rank, dropout, rate, prior, text):
    import json

    recipe = Recipe(rank=rank, dropout=dropout, learning_rate=rate, prior_weight=prior, text_encoder=text)
    observation = Observation("t0001", recipe, 5, 100, {"identity": 0.1}, {"identity": [0.1, 0.1]}, Cost(1, 2, 3))
    assert Observation.from_json(json.loads(json.dumps(observation.to_json()))) == observation
    assert observation.cost.total == 6
