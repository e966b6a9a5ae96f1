"""What the shipped spaces hold can be trained: a fine-tune of recipes from all over each."""

import math

import numpy as np
import pytest

from spaces import Recipe, load_space, shipped_spaces
from trainables.finetune import FineTune


@pytest.mark.parametrize("name", shipped_spaces())
def test_recipes_of_a_shipped_space_train(base, subject, prior, name):
    space, generator = load_space(name), np.random.default_rng(0)
    before = {key: value.clone() for key, value in base.unet.state_dict().items()}
    for number in range(8):
        draw = space.sample_prior if number % 2 else space.sample
        recipe = small(space.recipe(draw(generator)))
        tune = FineTune(base, subject, recipe, number, prior if recipe.prior == "images" else None)
        try:
            assert math.isfinite(tune.advance(3))
        finally:
            tune.remove()
    assert base.unet.state_dict().keys() == before.keys()
    assert all((base.unet.state_dict()[key] == value).all() for key, value in before.items())


def small(recipe: Recipe) -> Recipe:
    """The same in three steps: its stages begin after the first and the second."""
    steps = {name: getattr(recipe, name) for name in ("token_until", "text_encoder_until", "pose_from")}
    sooner = {name: 1 + (name == "pose_from") for name, value in steps.items() if value}
    ranks = {name: 2 for name in ("rank", "text_encoder_rank", "controlnet_rank") if getattr(recipe, name)}
    return Recipe.parse(recipe.model_dump() | sooner | ranks | ({"prior_images": 2} if recipe.prior_images else {}))
