"""Draws a picture with one of a sweep's fine-tunes."""

import re
from pathlib import Path

from search.pruning import ADAPTER
from search.show import Found
from spaces import InputError, Observation

PICK = re.compile(r"(?P<trial>[^@]+)@(?P<steps>\d+)(:(?P<label>.+))?")


def pick(found: Found, wanted: str) -> Observation:
    """The observation that `knee` or `TRIAL@STEPS` names, or `TRIAL@STEPS:LABEL` where it was drawn in several ways.

    InputError lists those of the front, whose adapters are kept.
    """
    if not found.front:
        raise InputError(found.config.name, "has no observation yet")
    if wanted == "knee":
        return found.knee
    match = PICK.fullmatch(wanted)
    key = (match["trial"], int(match["steps"])) if match else None
    if key in found.ledger.observed and (folder_of(found, *key) / ADAPTER).is_dir():
        for observation in found.ledger.observed[key].observations:
            if observation.label == (match["label"] or ""):
                return observation
    kept = ", ".join(o.name for o in found.front)
    raise InputError("--pick", f"{wanted!r} should be knee, or a checkpoint whose adapter is kept: {kept}")


def folder_of(found: Found, trial: str, steps: int) -> Path:
    return Path(found.ledger.observed[trial, steps].folder)


def generate(found: Found, observation: Observation, pose: Path, prompt: str, seed: int, out: Path) -> None:
    """Draws the prompt in the pose as the sweep's panel does, and writes the picture.

    InputError when the pose cannot be read or the picture cannot be written.
    """
    from trainables.skeleton import load_pose, render

    keypoints, skeleton, source_size = load_pose(pose)
    if not out.absolute().parent.is_dir() or out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError("--out", f"{out} should be a .png, .jpg or .webp in a folder that is there")

    from PIL import Image

    from trainables.base import Base
    from trainables.export import load_adapter
    from trainables.generate import draw, start_noise

    job = found.config.job
    base = Base.load(job.base, job.controlnet, job.device, job.precision)
    load_adapter(base, folder_of(found, observation.trial, observation.steps) / ADAPTER)
    condition = render(keypoints, base.size, skeleton, source_size)
    noise = start_noise(base, [seed])
    (picture,) = draw(base, [prompt], [condition], noise, job.panel.steps, observation.inference)
    Image.fromarray(picture).save(out)
