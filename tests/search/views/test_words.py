import numpy as np
import pytest

from search.views.words import in_words
from spaces import Recipe, load_space, shipped_spaces


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(), "attention rank 16 at 1.0e-04"),
        (
            Recipe(text_encoder="lora", dropout=0.1, prior="base", prior_weight=0.5),
            "attention rank 16 at 1.0e-04, text encoder rank 8 at 1.0e-04, dropout 0.1, prior 0.5 by the base",
        ),
        (
            Recipe(unet="full-kv", token="trained", token_vectors=2, size_augmentation=True, prior="images"),
            "full K/V at 1.0e-04, token of 2 vectors at 1.0e-03, prior 1, sizes",
        ),
        (Recipe(unet="frozen", token="trained"), "token at 1.0e-03"),
        (Recipe(token="trained", token_until=9), "attention rank 16 at 1.0e-04, token at 1.0e-03, alone until 9"),
        (
            Recipe(adapter="dora", pose_from=200, pose_trains="both", controlnet_rank=4, rank_schedule="timestep"),
            "dora attention rank 16 at 1.0e-04, ControlNet from 200, its LoRA rank 4, rank falls to 8",
        ),
        (
            Recipe(text_encoder="lora", text_encoder_until=7, dropout=0.1, dropout_kind="rank", mask_weight=0.0),
            "attention rank 16 at 1.0e-04, text encoder rank 8 at 1.0e-04 until 7, dropout 0.1 of rank, background 0",
        ),
    ],
)
def test_words_say_what_sets_a_recipe_apart(recipe, words):
    assert in_words(recipe) == words


@pytest.mark.parametrize("name", shipped_spaces())
def test_any_recipe_has_words(name):
    space, generator = load_space(name), np.random.default_rng(0)
    for _ in range(100):
        assert in_words(space.recipe(space.sample(generator)))
