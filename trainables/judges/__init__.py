"""The frozen models that score pictures."""

from dataclasses import dataclass
from pathlib import Path

from spaces import InputError
from trainables.base import without_progress_bars
from trainables.judges.identity import IdentityJudge
from trainables.judges.keypoints import KeypointJudge, pck

__all__ = ["IdentityJudge", "Judges", "KeypointJudge", "load_judges", "pck"]


@dataclass(frozen=True)
class Judges:
    """Who scores a panel."""

    identity: IdentityJudge
    keypoints: KeypointJudge


def load_judges(folder: Path, device: str = "cpu") -> Judges:
    """The judges that ship beside a base, in `judges/identity` and `judges/keypoints` of its folder."""
    for name in ("identity", "keypoints"):
        if not (folder / "judges" / name / "config.json").is_file():
            raise InputError(
                folder, f"has no judges/{name} (config.json and model.safetensors), which scores the pictures"
            )
    with without_progress_bars():
        return Judges(
            IdentityJudge.load(folder / "judges" / "identity", device),
            KeypointJudge.load(folder / "judges" / "keypoints", device),
        )
