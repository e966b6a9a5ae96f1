"""An observation: one scored checkpoint, the unit of record."""

from dataclasses import asdict, dataclass, field
from typing import Any

from spaces.recipe import Recipe


@dataclass(frozen=True)
class Cost:
    """Seconds that a rung took, by what they were spent on."""

    train: float = 0.0
    """Optimizer steps."""
    score: float = 0.0
    """Drawing the panel and judging it."""
    load: float = 0.0
    """Reading the base, the subject and checkpoints; making class images."""

    @property
    def total(self) -> float:
        return self.train + self.score + self.load


@dataclass(frozen=True)
class Observation:
    """What one checkpoint scored."""

    trial: str
    """The trial's name, such as `t0007`."""
    recipe: Recipe
    """What was trained."""
    seed: int
    """The trial's seed."""
    steps: int
    """Optimizer steps behind the checkpoint: a rung."""
    scores: dict[str, float]
    """Panel means by name: identity, pose, pose_plain, pose_hard, drift, detection_rate, ..."""
    cells: dict[str, list[float]] = field(default_factory=dict)
    """The value of every panel cell behind a mean, in the panel's order (NaN where it does not apply)."""
    cost: Cost = field(default_factory=Cost)
    """What this rung took, the earlier rungs not counted."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON line."""
        return {**asdict(self) | {"recipe": self.recipe.model_dump()}}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Observation":
        return cls(**{**values, "recipe": Recipe.parse(values["recipe"]), "cost": Cost(**values["cost"])})
