"""What may be tried: recipes, spaces of them, and the objectives that judge them."""

from spaces.errors import InputError
from spaces.files import load_space, shipped_spaces, space_file
from spaces.inference import Inference, labels
from spaces.objectives import DECIMALS, OBJECTIVES, REFERENCE_LOSS, Objective, parse_objectives, to_losses
from spaces.observation import Cost, Observation
from spaces.parameters import Choice, Parameter, Range
from spaces.parse import parse_space
from spaces.recipe import Recipe
from spaces.requirements import Requirement, Requirements, front_losses, parse_requirement, ranking_losses, violation
from spaces.space import Space

__all__ = [
    "DECIMALS",
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
    "Requirement",
    "Requirements",
    "Space",
    "front_losses",
    "labels",
    "load_space",
    "parse_objectives",
    "parse_requirement",
    "parse_space",
    "ranking_losses",
    "shipped_spaces",
    "space_file",
    "to_losses",
    "violation",
]
