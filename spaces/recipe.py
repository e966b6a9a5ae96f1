"""A recipe: all that defines one fine-tune except how long it runs and its seed."""

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spaces.errors import InputError

Targets = Literal["cross-kv", "cross-attention", "attention", "attention+ff"]
TextEncoderTuning = Literal["frozen", "lora"]


class Recipe(BaseModel):
    """One fine-tune. Flat, so that a field is one search dimension, one MLflow parameter and one column.

    Fields that a choice makes meaningless (the rank of a frozen text encoder, the number of class images
    without a prior) are set to None: two recipes that train the same thing are equal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    targets: Targets = Field("attention", description="which UNet layers get a LoRA")
    rank: int = Field(16, ge=1, le=1024, description="LoRA rank in the UNet")
    alpha: float | None = Field(None, gt=0, description="LoRA scale is alpha / rank; empty means alpha = rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout of a LoRA's input (before A, as PEFT does)")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="AdamW's rate for the UNet, constant")
    text_encoder: TextEncoderTuning = Field("frozen", description="whether the text encoder gets a LoRA")
    text_encoder_rank: int | None = Field(None, ge=1, le=1024, description="LoRA rank in the text encoder")
    text_encoder_learning_rate: float | None = Field(None, gt=0, le=1, description="its own learning rate")
    prior_weight: float = Field(0.0, ge=0, le=10, description="weight of the prior-preservation loss; 0 is none")
    prior_images: int | None = Field(None, ge=1, le=10_000, description="class images that the base draws once")
    caption_dropout: float = Field(0.0, ge=0, le=1, description="share of captions replaced by the empty one")
    min_snr_gamma: float | None = Field(None, gt=0, description="gamma of the min-SNR loss weight; empty is plain")
    batch_size: int = Field(1, ge=1, le=256, description="subject pictures a step (as many class images beside)")

    @model_validator(mode="before")
    @classmethod
    def _settle_dependent_fields(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        if values.get("text_encoder", "frozen") == "frozen":
            values["text_encoder_rank"] = values["text_encoder_learning_rate"] = None
        else:
            if values.get("text_encoder_rank") is None:
                values["text_encoder_rank"] = 8
            if values.get("text_encoder_learning_rate") is None:
                values["text_encoder_learning_rate"] = values.get("learning_rate", 1e-4)
        if values.get("prior_weight", 0.0) == 0:
            values["prior_images"] = None
        elif values.get("prior_images") is None:
            values["prior_images"] = 50
        if values.get("alpha") is None:
            values["alpha"] = values.get("rank", 16)
        return values

    @classmethod
    def parse(cls, values: dict[str, Any], where: object = "recipe") -> "Recipe":
        """A recipe from plain values; the first mistake is an InputError that names field and value."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InputError(where, explain(error)) from None

    def flat(self) -> dict[str, str | int | float]:
        """The fields that say something, by name: what MLflow records as parameters."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


def explain(error: ValidationError) -> str:
    """pydantic's first complaint in one line: field, value, what would be right."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "recipe"
    if first["type"] == "extra_forbidden":
        return f"{field}: no such field; fields are {', '.join(Recipe.model_fields)}"
    reason = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{field}: {first['input']!r} is not right, it should be {reason}"


ALL_TARGETS: tuple[str, ...] = get_args(Targets)
