"""A recipe: all that defines one fine-tune except how long it runs and its seed."""

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from spaces.errors import InputError
from spaces.stages import switches, training

UnetTuning = Literal["lora", "full-kv", "frozen"]
Targets = Literal["cross-kv", "cross-attention", "attention", "attention+ff", "transformer"]
AdapterKind = Literal["lora", "rslora", "dora"]
Init = Literal["gaussian", "kaiming", "orthogonal", "pissa"]
DropoutKind = Literal["input", "output", "rank", "module"]
RankSchedule = Literal["constant", "timestep"]
TextEncoderTuning = Literal["frozen", "lora"]
TokenTuning = Literal["frozen", "trained"]
PoseTrains = Literal["unet", "controlnet", "both"]
PriorKind = Literal["none", "images", "base"]
MaskedMean = Literal["values", "pixels"]


class Recipe(BaseModel):
    """One fine-tune. Flat, so that a field is one search dimension, one MLflow parameter and one column.

    Fields that a choice makes meaningless (the rank of a frozen text encoder, the number of class images
    without a prior) are set to None, and those that were left open to what follows from the rest: two recipes that
    train the same thing are equal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    unet: UnetTuning = Field("lora", description="the UNet: a LoRA, full cross-attention keys and values, or frozen")
    targets: Targets | None = Field("attention", description="which UNet layers get a LoRA")
    rank: int | None = Field(16, ge=1, le=1024, description="LoRA rank in the UNet")
    alpha: float | None = Field(None, gt=0, description="LoRA scale is alpha / rank; empty means alpha = rank")
    learning_rate: float | None = Field(1e-4, gt=0, le=1, description="AdamW's rate for the UNet, constant")

    adapter: AdapterKind | None = Field("lora", description="LoRA, with the scale alpha / sqrt(rank), or with weights "
                                        "decomposed into direction and magnitude; in every part")  # fmt: skip
    init: Init | None = Field("gaussian", description="a LoRA's first values: A gaussian or kaiming-uniform and B 0, "
                              "both orthogonal, or the weight's principal components")  # fmt: skip
    dropout: float | None = Field(0.0, ge=0, lt=1, description="share of a LoRA that is dropped while it trains")
    dropout_kind: DropoutKind | None = Field(None, description="what is dropped: what goes into A, what comes out of "
                                             "it, whole rank components, whole layers; empty is input")  # fmt: skip
    rank_schedule: RankSchedule | None = Field("constant", description="timestep: the rank falls with the noise, from "
                                               "all of it at none to min_rank at the most")  # fmt: skip
    min_rank: int | None = Field(None, ge=1, le=1024, description="the least rank of a schedule; empty is half")

    text_encoder: TextEncoderTuning = Field("frozen", description="whether the text encoder gets a LoRA")
    text_encoder_rank: int | None = Field(None, ge=1, le=1024, description="LoRA rank in the text encoder")
    text_encoder_alpha: float | None = Field(None, gt=0, description="its alpha; empty is the UNet's alpha / rank")
    text_encoder_learning_rate: float | None = Field(None, gt=0, le=1, description="its own learning rate")
    text_encoder_until: int | None = Field(None, ge=1, description="step from which it is frozen; empty is never")

    token: TokenTuning = Field("frozen", description="whether the subject's token gets an embedding of its own")
    token_vectors: int | None = Field(None, ge=1, le=64, description="how many embeddings the token stands for")
    token_init: str | None = Field(None, pattern=r"^\S+$", description="the word it starts as; empty is the class")
    token_learning_rate: float | None = Field(None, gt=0, le=1, description="its own learning rate")
    token_until: int | None = Field(None, ge=1, description="step until which the token trains alone, and after which "
                                    "all the rest does; empty is together")  # fmt: skip

    pose_from: int | None = Field(None, ge=0, description="step from which the ControlNet is in the loop; empty never")
    pose_trains: PoseTrains | None = Field(None, description="what trains once it is: the UNet, a LoRA in it, both")
    controlnet_rank: int | None = Field(None, ge=1, le=1024, description="LoRA rank in the ControlNet")
    controlnet_alpha: float | None = Field(None, gt=0, description="its alpha; empty is the UNet's alpha / rank")
    controlnet_learning_rate: float | None = Field(None, gt=0, le=1, description="its own learning rate")
    condition_dropout: float | None = Field(None, ge=0, le=1, description="share of pose pictures that are left blank")

    prior: PriorKind = Field("none", description="how the class is rehearsed: not, on pictures that the base draws, "
                             "or on the base's own predictions for the subject's pictures")  # fmt: skip
    prior_weight: float = Field(0.0, ge=0, le=10, description="weight of the prior-preservation loss; 0 is none")
    prior_images: int | None = Field(None, ge=1, le=10_000, description="class images that the base draws once")

    caption_dropout: float = Field(0.0, ge=0, le=1, description="share of captions replaced by the empty one")
    min_snr_gamma: float | None = Field(None, gt=0, description="gamma of the min-SNR loss weight; empty is plain")
    mask_weight: float = Field(1.0, ge=0, le=1, description="weight of the background in the loss; 0: subject only")
    masked_mean: MaskedMean | None = Field(None, description="a masked loss is a mean over values, or their sum over "
                                           "channels by pixels as Custom Diffusion's script has it")  # fmt: skip
    size_augmentation: bool = Field(False, description="random sizes of the subject, said in the caption")
    batch_size: int = Field(1, ge=1, le=256, description="subject pictures a step (as many class images beside)")

    @model_validator(mode="wrap")
    @classmethod
    def _settle(cls, values: Any, handler: ModelWrapValidatorHandler["Recipe"]) -> "Recipe":
        recipe = handler(values)
        settled = _settled(recipe)
        if settled != dict(recipe):
            recipe = handler(settled)
        _check(recipe)
        return recipe

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


def _settled(given: Recipe) -> dict[str, Any]:
    """All fields, the open ones filled in and the meaningless ones None."""
    fields = dict(given)

    def settle(meaningful: bool, **defaults: Any) -> None:
        """Fields that are open get their defaults, or all of them None where they have no meaning."""
        for name, default in defaults.items():
            fields[name] = None if not meaningful else default if fields[name] is None else fields[name]

    posed = given.pose_from is not None
    if posed and given.unet == "frozen" and given.pose_trains in (None, "both"):
        fields["pose_trains"] = "controlnet"
    if given.pose_from == 0 and given.pose_trains == "controlnet":
        fields["unet"] = "frozen"  # it never trains
    settle(posed, pose_trains="unet", condition_dropout=0.0)
    rate = given.learning_rate or 1e-4
    settle(fields["unet"] == "lora", targets="attention", rank=16)
    settle(fields["unet"] == "lora", alpha=fields["rank"])
    settle(fields["unet"] != "frozen", learning_rate=rate)
    scale = fields["alpha"] / fields["rank"] if fields["unet"] == "lora" else 1.0

    text_encoder, controlnet = given.text_encoder == "lora", posed and fields["pose_trains"] != "unet"
    settle(text_encoder, text_encoder_rank=8, text_encoder_learning_rate=rate, text_encoder_until=None)
    settle(text_encoder, text_encoder_alpha=scale * (fields["text_encoder_rank"] or 0))
    settle(controlnet, controlnet_rank=16, controlnet_learning_rate=rate)
    settle(controlnet, controlnet_alpha=scale * (fields["controlnet_rank"] or 0))

    by_timestep = fields["unet"] == "lora" or controlnet  # the text encoder knows no timestep
    settle(by_timestep or text_encoder, adapter="lora", init="gaussian", dropout=0.0, rank_schedule="constant")
    settle(bool(fields["dropout"]), dropout_kind="input")
    if fields["rank_schedule"] == "timestep" and not by_timestep:
        fields["rank_schedule"] = "constant"
    largest = fields["rank"] or fields["controlnet_rank"] or 1
    settle(fields["rank_schedule"] == "timestep", min_rank=max(1, largest // 2))
    if fields["min_rank"] is not None:
        fields["min_rank"] = min(fields["min_rank"], largest)

    token = given.token == "trained"
    settle(token, token_vectors=1, token_init=None, token_learning_rate=1e-3, token_until=None)

    said = given.model_fields_set
    if "prior" not in said and given.prior_weight > 0:
        fields["prior"] = "images"
    elif given.prior != "none" and "prior_weight" not in said:
        fields["prior_weight"] = 1.0
    if fields["prior"] == "none" or fields["prior_weight"] == 0:
        fields |= {"prior": "none", "prior_weight": 0.0}
    settle(fields["prior"] == "images", prior_images=50)
    settle(given.mask_weight < 1 or given.size_augmentation, masked_mean="values")
    return fields


def _check(recipe: Recipe) -> None:
    """ValueError where fields that are right by themselves do not go together."""
    for step in (0, *switches(recipe)):
        if not training(recipe, step):
            since = f"from step {step} on: see {_ends(recipe)}" if step else "set unet, text_encoder or token"
            raise ValueError(f"unet: {recipe.unet!r} leaves nothing that trains, {since}")
    if recipe.init == "pissa" and recipe.rank_schedule == "timestep":
        raise ValueError("rank_schedule: 'timestep' would mask the principal components that init: 'pissa' took out "
                         "of the frozen weights, it should be constant")  # fmt: skip
    if recipe.init == "pissa" and recipe.dropout_kind == "module":
        raise ValueError("dropout_kind: 'module' would drop the principal components that init: 'pissa' took out of "
                         "the frozen weights, it should be input, output or rank")  # fmt: skip


def _ends(recipe: Recipe) -> str:
    fields = ("token_until", "text_encoder_until", "pose_from", "pose_trains")
    return ", ".join(f"{name}: {getattr(recipe, name)!r}" for name in fields if getattr(recipe, name) is not None)


def explain(error: ValidationError) -> str:
    """pydantic's first complaint in one line: field, value, what would be right."""
    first = error.errors()[0]
    if first["type"] == "value_error":  # ours, of fields that do not go together
        return str(first["ctx"]["error"])
    field = ".".join(str(part) for part in first["loc"]) or "recipe"
    if first["type"] == "extra_forbidden":
        return f"{field}: no such field; fields are {', '.join(Recipe.model_fields)}"
    reason = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{field}: {first['input']!r} is not right, it should be {reason}"


ALL_TARGETS: tuple[str, ...] = get_args(Targets)
