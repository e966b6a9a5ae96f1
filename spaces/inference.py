"""How a checkpoint is drawn: settings chosen after training, so that one checkpoint can be scored at several."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Inference(BaseModel):
    """One way to draw with a checkpoint. The standard values are those of the puppets' panel."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    lora_scale: float = Field(1.0, ge=0, le=4, description="factor on what training added to UNet and text encoder")
    controlnet_scale: float = Field(1.0, ge=0, le=4, description="strength of the pose conditioning")
    controlnet_start: float = Field(0.0, ge=0, le=1, description="share of the sampler's steps before the ControlNet")
    controlnet_end: float = Field(1.0, ge=0, le=1, description="share of the sampler's steps at which it goes")
    guidance: float = Field(3.0, ge=1, le=50, description="classifier-free guidance; 1 is none")

    @model_validator(mode="after")
    def _start_before_end(self) -> "Inference":
        if self.controlnet_start >= self.controlnet_end:
            raise ValueError(f"controlnet_start {self.controlnet_start:g} below controlnet_end {self.controlnet_end:g}")
        return self

    @property
    def name(self) -> str:
        """Such as `cfg3-cn1-lora0.8`, with `-from0.2` and `-to0.8` where the ControlNet does not act all the time."""
        late = f"-from{self.controlnet_start:g}" if self.controlnet_start > 0 else ""
        early = f"-to{self.controlnet_end:g}" if self.controlnet_end < 1 else ""
        return f"cfg{self.guidance:g}-cn{self.controlnet_scale:g}{late}{early}-lora{self.lora_scale:g}"

    @property
    def untuned(self) -> "Inference":
        """The same without a say of what was trained: how the base is drawn to compare with."""
        return self.model_copy(update={"lora_scale": 1.0})


def labels(inferences: Sequence[Inference]) -> tuple[str, ...]:
    """What tells a checkpoint's observations apart: the main one, which is the first, needs no label."""
    return ("", *(inference.name for inference in inferences[1:]))
