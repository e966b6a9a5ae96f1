"""Reads the judges that were chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spaces import InputError
from trainables.job import JudgesConfig
from trainables.judge_choice import beside, check_skeleton, choose, kind_of
from trainables.judges.correspondence import CorrespondenceJudge, load_encoder
from trainables.judges.identity import IdentityJudge
from trainables.judges.keypoints import FindsJoints, KeypointJudge
from trainables.judges.people import OpenPoseJudge, ViTPoseJudge
from trainables.judges.prompt import PromptJudge
from trainables.judges.sources import local_folder
from trainables.subject import Subject, skeleton_of


@dataclass(frozen=True)
class Judges:
    """Who scores a panel."""

    identity: IdentityJudge
    keypoints: FindsJoints
    prompt: PromptJudge | None = None


def load_judges(folder: Path, device: str = "cpu") -> Judges:
    """The judges that ship beside a base, in `judges/identity` and `judges/keypoints` of its folder."""
    for name in ("identity", "keypoints"):
        if not beside(folder, name):
            raise InputError(
                folder, f"has no judges/{name} (config.json and model.safetensors), which scores the pictures"
            )
    return Judges(
        IdentityJudge.load(folder / "judges" / "identity", device),
        KeypointJudge.load(folder / "judges" / "keypoints", device),
    )


def judges_for(config: JudgesConfig, folder: Path | None, subject: Subject, size: int, device: str = "cpu") -> Judges:
    """The judges of a subject on a base in `folder` (None: the base is the hub's), on pictures of `size` pixels."""
    choice, skeleton = choose(config, folder, subject), skeleton_of(subject)
    identity = IdentityJudge.load(choice.identity, device)
    kind, source = choice.kind, choice.pose
    if kind == "named":
        kind, source = kind_of(local_folder(source))
        check_skeleton(kind, source, skeleton)
    finders: dict[str, Callable[[], FindsJoints]] = {
        "own": lambda: KeypointJudge.load(Path(source), device),
        "openpose": lambda: OpenPoseJudge.load(source, device),
        "vitpose": lambda: ViTPoseJudge.load(source, device),
        "correspondence": lambda: CorrespondenceJudge.of_subject(
            identity if source == choice.identity else load_encoder(source, device), subject, skeleton, size
        ),
    }
    prompt = PromptJudge.load(choice.prompt, device) if choice.prompt else None
    return Judges(identity, finders[kind](), prompt)
