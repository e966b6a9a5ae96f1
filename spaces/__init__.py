"""What may be tried: recipes, spaces of them, and the objectives that judge them."""

from spaces.errors import InputError
from spaces.inference import Inference, labels
from spaces.objectives import OBJECTIVES, REFERENCE_LOSS, Objective, parse_objectives, to_losses
from spaces.observation import Cost, Observation
from spaces.recipe import Recipe
from spaces.space import Choice, Parameter, Range, Space, load_space, parse_space, shipped_spaces, space_file

__all__ = [
    "OBJECTIVES",
    "REFERENCE_LOSS",
    "Choice",
    "Cost",
    "Inference",
    "InputError",
    "Objective",
    "Observation",
    "Parameter",
    "Range",
    "Recipe",
    "Space",
    "labels",
    "load_space",
    "parse_objectives",
    "parse_space",
    "shipped_spaces",
    "space_file",
    "to_losses",
]
