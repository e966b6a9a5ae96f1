import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces import Cost, InputError, Observation, Recipe


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


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Recipe().rank = 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rank": 0}, "rank: 0 is not right, it should be greater than or equal to 1"),
        ({"targets": "everything"}, "'cross-kv', 'cross-attention', 'attention' or 'attention+ff'"),
        ({"dropout": 1.0}, "dropout: 1.0"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"rnak": 3}, "rnak: no such field; fields are targets, rank"),
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
