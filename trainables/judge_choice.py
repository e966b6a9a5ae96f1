"""Which judges score a subject's pictures: by name, beside the base, or by what the subject is. Without torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spaces import InputError
from trainables.hub import is_hub_id
from trainables.job import JudgesConfig
from trainables.skeleton import OPENPOSE_18, PUPPET_13, Skeleton
from trainables.subject import UNMARKED, Subject, skeleton_of

IDENTITY_JUDGES = {
    "dinov2": "facebook/dinov2-base",
    "clip": "openai/clip-vit-large-patch14",
    "siglip2": "google/siglip2-base-patch16-224",
}
POSE_JUDGES = {
    "openpose": "lllyasviel/Annotators",
    "vitpose": "usyd-community/vitpose-base-simple",
    "correspondence": IDENTITY_JUDGES["dinov2"],
}
PROMPT_JUDGES = {"clip": "openai/clip-vit-large-patch14"}
OPENPOSE_FILES = ("body_pose_model.safetensors", "body_pose_model.pth")
"""OpenPose's body network: the first of them that is there."""


@dataclass(frozen=True)
class Choice:
    """Where each judge comes from, and of what kind the one for poses is."""

    identity: str
    pose: str
    prompt: str | None
    kind: str
    """own, openpose, vitpose, correspondence, or named: what the folder holds says it."""


def choose(config: JudgesConfig, folder: Path | None, subject: Subject) -> Choice:
    """Names as sources, and what was left open decided; no weights are read. InputError for what cannot judge.

    Left open, those beside the base judge, where they know the subject's joints. Otherwise DINOv2 judges identity,
    OpenPose the poses of people, and for any other skeleton joints are carried over from the subject's pictures.
    """
    skeleton = skeleton_of(subject)
    identity = _source(config.identity, IDENTITY_JUDGES, "--identity-judge") or (
        str(folder / "judges" / "identity") if folder and beside(folder, "identity") else IDENTITY_JUDGES["dinov2"]
    )
    prompt = _source(config.prompt, PROMPT_JUDGES, "--prompt-judge") or (
        str(folder / "judges" / "prompt") if folder and beside(folder, "prompt") else None
    )
    kind, pose = _pose(config.pose, folder, identity, skeleton)
    check_skeleton(kind, pose, skeleton)
    _check_subject(kind, subject)
    return Choice(identity, pose, prompt, kind)


def picture_size(folder: Path | None) -> int:
    """Side of the pictures that a base draws, in pixels; Stable Diffusion's 512 where the base is on the hub."""
    if folder is None:
        return 512
    latents, blocks = (
        _values(folder / part / "config.json")[field]
        for part, field in (("unet", "sample_size"), ("vae", "block_out_channels"))
    )
    return int(latents * 2 ** (len(blocks) - 1))


def _pose(name: str | None, folder: Path | None, identity: str, skeleton: Skeleton) -> tuple[str, str]:
    """Kind and source of who judges poses."""
    own = folder / "judges" / "keypoints" if folder and beside(folder, "keypoints") else None
    if name is None:
        if own is not None and _knows(own, skeleton):
            return "own", str(own)
        name = "openpose" if skeleton.joints == OPENPOSE_18.joints else "correspondence"
    if name == "correspondence":
        return name, identity if _is_dense(identity) else POSE_JUDGES[name]
    source = _source(name, POSE_JUDGES, "--pose-judge")
    if name in POSE_JUDGES:
        return name, source
    return kind_of(Path(source)) if Path(source).is_dir() else ("named", source)


def kind_of(folder: Path) -> tuple[str, str]:
    """What a folder's files judge poses by."""
    if any((folder / name).is_file() for name in OPENPOSE_FILES):
        return "openpose", str(folder)
    found = model_type(folder)
    kinds = {"vitpose": "vitpose", "dinov2": "correspondence"}
    if found not in kinds:
        known = f"{' or '.join(kinds)}, or OpenPose's {OPENPOSE_FILES[-1]}"
        raise InputError(folder / "config.json", f"model_type: {found!r} judges no poses; {known} does")
    own = found == "vitpose" and _labels(folder) != 17
    return ("own" if own else kinds[found]), str(folder)


def check_skeleton(kind: str, source: str, skeleton: Skeleton) -> None:
    """Whether a judge sees the joints that the subject has."""
    if kind in ("openpose", "vitpose") and skeleton.joints != OPENPOSE_18.joints:
        hint = f"the subject's skeleton is {skeleton.name}; take correspondence"
        raise InputError("--pose-judge", f"{kind} finds the joints of {OPENPOSE_18.name}; {hint}")
    if kind == "own" and not _knows(Path(source), skeleton):
        hint = f"the subject's skeleton is {skeleton.name}; take correspondence"
        raise InputError("--pose-judge", f"{source} finds other joints; {hint}")


def _check_subject(kind: str, subject: Subject) -> None:
    """Whether a subject's pictures have what its judges need."""
    for picture in subject.pictures:
        if picture.keypoints is None and picture.mask is None:
            raise InputError(picture.path, UNMARKED)
    if kind == "correspondence" and all(picture.keypoints is None for picture in subject.pictures):
        where = subject.folder / "metadata.jsonl"
        raise InputError(where, "no picture has keypoints, which the correspondence judge carries over to new ones")


def _source(name: str | None, known: dict[str, str], option: str) -> str | None:
    if name is None or name in known:
        return known.get(name or "")
    if not is_source(name):
        raise InputError(option, f"{name!r} is no judge; there are {', '.join(known)}, a folder, or a hub id")
    return name


def beside(folder: Path, name: str) -> bool:
    return (folder / "judges" / name / "config.json").is_file()


def _is_dense(source: str) -> bool:
    return source == IDENTITY_JUDGES["dinov2"] or (Path(source).is_dir() and model_type(Path(source)) == "dinov2")


def _knows(judge: Path, skeleton: Skeleton) -> bool:
    """Whether a detector's labels are the skeleton's joints. One without names for them finds the puppets' 13."""
    names = tuple(_label_names(judge))
    unnamed = all(name.startswith("LABEL_") for name in names)
    return skeleton.joints == (PUPPET_13.joints if unnamed and len(names) == len(PUPPET_13.joints) else names)


def _labels(folder: Path) -> int:
    return len(_label_names(folder))


def _label_names(folder: Path) -> list[str]:
    named = _values(folder / "config.json").get("id2label") or {}
    return [str(named[key]) for key in sorted(named, key=int)]


def _values(path: Path) -> dict[str, Any]:
    """What a model's config says."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read as a model's config ({error})") from None
    if not isinstance(values, dict):
        raise InputError(path, "should be a model's config, a JSON object")
    return values


def is_source(name: str) -> bool:
    """Whether it could be one: a folder, or of the form owner/name."""
    return Path(name).is_dir() or is_hub_id(name)


def model_type(folder: Path) -> str:
    """What kind of model a folder has, as its config.json says."""
    kind = _values(folder / "config.json").get("model_type")
    if not isinstance(kind, str):
        raise InputError(folder / "config.json", f"model_type: {kind!r} should name the kind of judge")
    return kind
