"""An observation: one checkpoint, scored as it is drawn in one way. The unit of record."""

from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from spaces.inference import Inference
from spaces.paths import NAME
from spaces.recipe import Recipe


@dataclass(frozen=True)
class Cost:
    """What a rung took: seconds, by what they were spent on, and memory; and of which device.

    Seconds of one device say nothing of another's: they are added up, and compared by no decision.
    """

    train: float = 0.0
    """Optimizer steps."""
    score: float = 0.0
    """Drawing the panel and judging it."""
    load: float = 0.0
    """Importing libraries, reading the base, the subject and checkpoints; making class images."""
    device: str = ""
    """What it ran on: the card's name, or `CPU (...)`; empty in records from before this was asked."""
    peak_memory: int = 0
    """Bytes at most since the rung before, in training and scoring: of a card what torch held, of a CPU the process's
    resident set; 0 is not measured. It is the main observation's."""
    card_memory: int = 0
    """Bytes of the card; 0 on a CPU."""

    @property
    def total(self) -> float:
        """Seconds."""
        return self.train + self.score + self.load


@dataclass(frozen=True)
class Observation:
    """What one checkpoint scored, drawn in one way."""

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
    """What this rung took, the earlier rungs not counted; training is the main observation's."""
    inference: Inference = field(default_factory=Inference)
    """How it was drawn."""
    label: str = ""
    """Tells the checkpoint's observations apart, such as `cfg5-cn1-lora0.8`; the main one has none."""

    @property
    def key(self) -> tuple[str, int, str]:
        """Trial, steps and label: no two observations of a sweep have the same."""
        return self.trial, self.steps, self.label

    @property
    def name(self) -> str:
        """`t0007@200`, or `t0007@200:cfg5-cn1-lora0.8` for another observation than the main one."""
        return f"{self.trial}@{self.steps}" + (f":{self.label}" if self.label else "")

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON line."""
        plain = {
            "recipe": self.recipe.model_dump(),
            "inference": self.inference.model_dump(),
            "cost": asdict(self.cost),
        }
        return vars(self) | plain  # `asdict` would copy the recipe and every cell on the way

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Observation":
        """What `to_json` made; also what it made before there was more than one way to draw.

        ValueError, LookupError, TypeError or AttributeError where it is something else.
        """
        recipe, inference = Recipe.parse(values["recipe"]), Inference.model_validate(values.get("inference", {}))
        given = cls(**values | {"recipe": recipe, "inference": inference, "cost": Cost(**values["cost"])})
        made = _CHECKED.validate_python(vars(given) | {"cost": values["cost"]})  # pydantic trusts a Cost that is made
        if not NAME.fullmatch(made.trial) or made.label not in ("", inference.name):  # both are parts of paths
            raise ValueError(f"trial {made.trial!r:.80}, label {made.label!r:.80}: one is no name of ours")
        return made


_CHECKED = TypeAdapter(Observation)
