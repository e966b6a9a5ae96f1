"""What the documentation says of recipes is what there is."""

import re
from pathlib import Path

import yaml

from spaces import Inference, Recipe

METHODS = Path(__file__).parents[1] / "docs" / "methods.md"


def test_every_field_of_a_recipe_is_explained_by_some_method():
    prose = re.sub(r"```.*?```", "", METHODS.read_text(encoding="utf-8"), flags=re.DOTALL)
    said = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", prose))))
    prefixed = {f"text_encoder_{end}" for end in ("alpha", "learning_rate", "until")}  # said as `_alpha`, ...
    unsaid = set(Recipe.model_fields) - said - prefixed
    assert unsaid <= {"controlnet_alpha", "controlnet_learning_rate", "batch_size"}
    assert set(Inference.model_fields) <= said


def test_every_field_that_is_set_there_may_be_set_so():
    settings = re.findall(r"`(\w+): ([\w-]+)`", METHODS.read_text(encoding="utf-8"))
    assert len(settings) > 20
    for field, value in settings:
        assert field in Recipe.model_fields, field
        Recipe.parse({"token": "trained", "pose_from": 0, field: yaml.safe_load(value)})
