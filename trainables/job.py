"""What all trials of one sweep have in common: plain values, so that they travel to any actor."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spaces import Inference
from trainables.engine import Engine

SEARCHED, HELD_OUT = "panel", "panel-held-out"
"""Folders of the two panels, of the search and of its confirmation."""


class PanelConfig(BaseModel):
    """How every checkpoint is scored: the same pictures for all trials of a sweep."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plain: int = Field(6, ge=1, description="cells with plain target poses")
    hard: int = Field(6, ge=1, description="cells with hard target poses")
    drift: int = Field(4, ge=1, description="cells drawn again from the class prompt, without the token")
    steps: int = Field(8, ge=1, description="sampler steps of a picture")
    inferences: tuple[Inference, ...] = Field(
        (Inference(),),
        min_length=1,
        description="how a checkpoint is drawn; at each it is scored, the first is the main",
    )
    seed: int = Field(0, ge=0, description="of the cells' start noise")
    held_out: bool = Field(False, description="poses, prompts and noise that the panel without this does not show")

    @property
    def folder(self) -> str:
        """In the sweep's, where what the untuned base draws and scores is kept."""
        return HELD_OUT if self.held_out else SEARCHED

    @model_validator(mode="before")
    @classmethod
    def _one_inference(cls, values: Any) -> Any:
        """Sweeps that were saved before there were several kept the two settings of the one here."""
        if not isinstance(values, dict) or not {"guidance", "controlnet_scale"} & values.keys():
            return values
        main = {name: values[name] for name in ("guidance", "controlnet_scale") if name in values}
        return {name: value for name, value in values.items() if name not in main} | {"inferences": (main,)}


class JudgesConfig(BaseModel):
    """Who scores the pictures: a judge's name, a folder or a hub id; empty is chosen by base and subject."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str | None = Field(None, description="dinov2, clip, siglip2, a folder or a hub id")
    pose: str | None = Field(None, description="openpose, vitpose, correspondence, a folder or a hub id")
    prompt: str | None = Field(None, description="clip, a folder or a hub id; empty: prompts are not judged")


class StorageConfig(BaseModel):
    """Where a sweep's files are kept when its folder is on one machine alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(description="s3:// or file:///, the sweep's own folder there; never with credentials")
    sweep: str = Field(description="what no other sweep has, be it of the same name at the same place")
    subject: str = Field(description="where the subject was copied from at the sweep's start")
    fingerprint: str | None = Field(None, description="of the subject's files then; empty for a shipped one")


class Job(BaseModel):
    """One sweep's trials: which base and subject, scored where and how, and where they keep their files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str = Field(description="the sweep's folder; a trial writes to `trials/NAME/step-000100/` below it")
    cache: str = Field(
        description="folder for what any sweep may use again: class images, drawn once per base and class"
    )
    base: str = Field("puppets", description="`puppets`, a diffusers folder, or a hub id")
    controlnet: str | None = Field(None, description="folder or hub id; empty is the one inside the base's folder")
    subject: str = Field(description="subject folder")
    poses: str = Field("subject", description="target poses: `subject` (its own), `shipped`, or a folder of poses")
    storage: StorageConfig | None = Field(None, description="empty: all machines see the sweep's folder")
    rungs: tuple[int, ...] = Field(description="step counts at which the trial is scored")
    panel: PanelConfig = PanelConfig()
    judges: JudgesConfig = JudgesConfig()
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of the frozen weights; auto is what the device is best at, fp32 on a CPU"
    )
    device: str = Field("auto", description="`auto`, or what torch calls it, such as `cpu` or `cuda`")
    micro_batch: int | None = Field(None, ge=1, description="samples at once; halved where memory runs out")
    gradient_checkpointing: bool = Field(False, description="compute activations again: less memory, more time")
    compile: bool = Field(False, description="compile UNet and ControlNet: slow to start, then faster on a GPU")
    tf32: bool = Field(False, description="fp32 products of 10 bits on GPUs that have them: faster, less exact")

    @property
    def engine(self) -> Engine:
        """How a step is computed."""
        return Engine(
            micro_batch=self.micro_batch, gradient_checkpointing=self.gradient_checkpointing, compile=self.compile
        )

    def moved(self, folder: Path, cache: Path) -> "Job":
        """The same job in another folder: what lies in the sweep's own moves along."""
        before = Path(self.folder)
        inside = {name: getattr(self, name) for name in ("subject", "poses")}
        moved = {
            name: str(folder / Path(value).relative_to(before))
            for name, value in inside.items()
            if Path(value).is_relative_to(before)
        }
        return self.model_copy(update=moved | {"folder": str(folder), "cache": str(cache)})
