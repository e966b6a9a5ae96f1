"""A base that wears a saved adapter, and draws one picture at a time with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from spaces import Inference, InputError
from trainables.base import Base, Precision
from trainables.export import MadeFrom, load_adapter, read_made_from
from trainables.generate import draw, start_noise
from trainables.skeleton import Skeleton, render


def base_of(
    adapter: Path, source: str, controlnet: str | None, device: str, precision: Precision | Literal["auto"]
) -> Base:
    """The base that an adapter was trained on. InputError when it is not the one any more."""
    made_from = read_made_from(adapter)
    base = Base.load(source, controlnet, device, precision)
    if base.fingerprint != made_from.base_fingerprint:
        was, now = made_from.base_fingerprint, base.fingerprint
        raise InputError(source, f"has changed since the sweep: {adapter} was trained on {was}, this is {now}")
    return base


@dataclass(frozen=True, eq=False)
class Artist:
    """Draws as a sweep's panel was drawn."""

    base: Base
    made_from: MadeFrom
    steps: int
    """Of the sampler."""
    inference: Inference

    @classmethod
    def wearing(cls, base: Base, adapter: Path, steps: int, inference: Inference) -> "Artist":
        """Puts the adapter on the base."""
        _, made_from = load_adapter(base, adapter)
        return cls(base, made_from, steps, inference)

    def draw(self, prompt: str, pose: tuple[np.ndarray, Skeleton, int], seed: int) -> Image.Image:
        """The prompt, which names the subject by its token, in a pose as `load_pose` gives it; `seed` of the noise."""
        keypoints, skeleton, source_size = pose
        condition = render(keypoints, self.base.size, skeleton, source_size)
        noise, prompts = start_noise(self.base, [seed]), [self.made_from.prompt(prompt)]
        (picture,) = draw(self.base, prompts, [condition], noise, self.steps, self.inference)
        return Image.fromarray(picture)
