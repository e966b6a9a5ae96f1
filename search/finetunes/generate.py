"""Draws a picture with one of a sweep's fine-tunes."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from search.confirm.adapters import best_seeds
from search.confirm.choose import Search
from search.journal import Observed
from search.storage.pruning import ADAPTER
from search.views.choosing import NAMED, not_there, preferred_of
from search.views.show import Found
from spaces import InputError, Observation
from trainables.checkpoints.checksums import SUFFIX, check

if TYPE_CHECKING:
    from trainables.base import Base, Precision


def pick(found: Found, wanted: str) -> Observation:
    """The observation that `knee`, weights such as `identity=2,pose=1`, `TRIAL@STEPS` or `TRIAL@STEPS:LABEL` mean.

    InputError lists those of the front, whose adapters are kept.
    """
    if not found.front:
        required = ", ".join(map(str, found.space.requirements))
        none = f"has no observation that meets {required}" if found.ledger.table else "has no observation yet"
        raise InputError(found.config.name, none)
    if (preferred := preferred_of(found, wanted)) is not None:
        return kept(found, preferred)
    match = NAMED.fullmatch(wanted)
    key = (match["trial"], int(match["steps"])) if match else None
    if key and (event := _observed(found, *key)) is not None and _adapter(found, *key).is_dir():
        for observation in event.observations:
            if observation.label == (match["label"] or ""):
                return observation
    raise not_there(found, wanted, "a checkpoint whose adapter is kept")


def kept(found: Found, observation: Observation) -> Observation:
    """The observation, or where its adapter was deleted that of the confirmation's best seed, whose own is kept.

    InputError where there is neither, or it is damaged.
    """
    if found.confirmed and not _adapter(found, observation.trial, observation.steps).is_dir():
        standing = found.standing
        best = best_seeds(standing.ledger, standing.confirmation, Search(found.ledger), found.space.objectives)
        observation = best.get(observation.key, observation)
    adapter_of(found, observation)
    return observation


def _observed(found: Found, trial: str, steps: int) -> Observed | None:
    """A checkpoint of the search, or of its confirmation."""
    ledgers = [found.ledger] + ([found.standing.ledger] if found.standing else [])
    return next((ledger.observed[trial, steps] for ledger in ledgers if (trial, steps) in ledger.observed), None)


def folder_of(found: Found, trial: str, steps: int) -> Path:
    return Path(_observed(found, trial, steps).folder)


def _adapter(found: Found, trial: str, steps: int) -> Path:
    """Where the adapter is, if it is kept."""
    folder = folder_of(found, trial, steps) / ADAPTER
    for path in (folder, folder.with_suffix(SUFFIX)):
        found.fetch(path)
    return folder


def adapter_of(found: Found, observation: Observation) -> Path:
    """The folder of the observation's adapter. InputError when it was deleted or is damaged."""
    folder = _adapter(found, observation.trial, observation.steps)
    if not folder.is_dir():
        raise InputError(folder, f"is gone: {observation.name} was on the front, but its adapter was deleted")
    check(folder)
    return folder


def load_base(found: Found, adapter: Path, device: str, precision: "Precision | Literal['auto']") -> "Base":
    """The sweep's base. InputError when it is not the one any more that the adapter was trained on."""
    from trainables.artist import base_of

    job = found.config.job
    return base_of(adapter, job.base, job.controlnet, device, precision)


def generate(
    found: Found, observation: Observation, pose: Path, prompt: str, seed: int, out: Path, lora_scale: float | None
) -> None:
    """Draws the prompt in the pose as the observation's panel was drawn, and writes the picture.

    `lora_scale` in place of the observation's own, if given. InputError when the pose cannot be read or the picture
    cannot be written.
    """
    from trainables.skeleton import load_pose

    posed = load_pose(pose)
    if not out.absolute().parent.is_dir() or out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError("--out", f"{out} should be a .png, .jpg or .webp in a folder that is there")

    from trainables.artist import Artist

    job, adapter = found.config.job, adapter_of(found, observation)
    inference = observation.inference
    if lora_scale is not None:
        inference = inference.model_copy(update={"lora_scale": lora_scale})
    base = load_base(found, adapter, job.device, job.precision)
    Artist.wearing(base, adapter, job.panel.steps, inference).draw(prompt, posed, seed).save(out)
