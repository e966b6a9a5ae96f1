"""The frozen models that score pictures."""

from trainables.judges.correspondence import CorrespondenceJudge, silhouette_iou
from trainables.judges.identity import IdentityJudge
from trainables.judges.keypoints import FindsJoints, KeypointJudge, oks, pck
from trainables.judges.loading import Judges, judges_for, load_judges
from trainables.judges.people import OpenPoseJudge, ViTPoseJudge
from trainables.judges.prompt import PromptJudge

__all__ = [
    "CorrespondenceJudge",
    "FindsJoints",
    "IdentityJudge",
    "Judges",
    "KeypointJudge",
    "OpenPoseJudge",
    "PromptJudge",
    "ViTPoseJudge",
    "judges_for",
    "load_judges",
    "oks",
    "pck",
    "silhouette_iou",
]
