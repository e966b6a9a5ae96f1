"""The fields of a subject's three text files."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from trainables.subject.parts import Grade

NAME = "{name}"
"""Stands in a prompt for what the subject is called."""

_WORD = re.compile(r"(?!\.)[^\s/\\\"'`\x00-\x1f\x7f]{1,60}")
_NOUN = re.compile(r"[^\x00-\x1f\x7f\"`]*[^\s\x00-\x1f\x7f\"`][^\x00-\x1f\x7f\"`]*")


def _word(text: str) -> str:
    """An export names a file by it, and puts it into the program on its page."""
    if not _WORD.fullmatch(text):
        raise ValueError("one word such as sks, without slashes and quotes")
    return text


def _noun(text: str) -> str:
    if not _NOUN.fullmatch(text) or len(text) > 200:
        raise ValueError("a noun such as robot, on one line and without quotes")
    return text


TokenWord = Annotated[str, AfterValidator(_word)]
"""The rare word that comes to mean a subject."""
ClassNoun = Annotated[str, AfterValidator(_noun)]
Joint = Annotated[list[float], Field(min_length=3, max_length=3)]
Keypoints = list[Joint]
Prompt = Annotated[str, Field(pattern=r"\{name\}")]


class Card(BaseModel):
    """subject.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True)
    class_noun: ClassNoun = Field(alias="class")
    token: TokenWord
    prompts: list[Prompt] = Field(min_length=1)
    held_out_prompts: list[Prompt] = Field([], description="what a confirmation is scored on, in place of `prompts`")
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
    size: int | None = Field(None, ge=1, le=100_000)
