"""The fields of a subject's three text files."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from trainables.subject.parts import Grade

NAME = "{name}"
"""Stands in a prompt for what the subject is called."""

Joint = Annotated[list[float], Field(min_length=3, max_length=3)]
Keypoints = list[Joint]
Prompt = Annotated[str, Field(pattern=r"\{name\}")]


class Card(BaseModel):
    """subject.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True)
    class_noun: str = Field(alias="class", pattern=r"\S")
    token: str = Field(pattern=r"^\S+$")
    prompts: list[Prompt] = Field(min_length=1)
    skeleton: str | None = None


class PictureLine(BaseModel):
    """A line of metadata.jsonl; columns for other readers of the imagefolder convention are passed over."""

    model_config = ConfigDict(allow_inf_nan=False)
    file_name: str = Field(min_length=1)
    text: str
    keypoints: Keypoints | None = None
    mask: str | None = None


class PoseLine(BaseModel):
    """A line of poses.jsonl."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    grade: Grade
    keypoints: Keypoints
    size: int | None = Field(None, ge=1)
