import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spaces import InputError
from tests.trainables.judges.models import make_clip, make_dinov2, make_vitpose
from trainables.hub import folder_of
from trainables.job import JudgesConfig
from trainables.judge_choice import choose
from trainables.judges import CorrespondenceJudge, KeypointJudge, ViTPoseJudge, judges_for
from trainables.skeleton import OPENPOSE_18
from trainables.subject import Subject

PUPPETS = folder_of("puppets")


@pytest.fixture(scope="module")
def robot() -> Subject:
    return Subject.load("puppets/robot")


@pytest.fixture(scope="module")
def human(robot) -> Subject:
    """The same pictures with the joints that OpenPose finds."""
    joints = lambda p: np.vstack([p.keypoints, p.keypoints[:5]])  # noqa: E731
    pictures = tuple(replace(p, keypoints=joints(p)) for p in robot.pictures)
    return replace(robot, skeleton=OPENPOSE_18.name, pictures=pictures)


@pytest.fixture(scope="module")
def quadruped(robot) -> Subject:
    pictures = tuple(replace(p, keypoints=p.keypoints[:12]) for p in robot.pictures)
    return replace(robot, skeleton="quadruped", pictures=pictures)


def test_left_open_those_beside_the_base_judge(robot):
    chosen = choose(JudgesConfig(), PUPPETS, robot)
    assert (chosen.kind, chosen.prompt) == ("own", None)
    assert Path(chosen.identity) == PUPPETS / "judges" / "identity"


def test_left_open_the_subject_decides_where_the_base_has_no_judges(robot, human, quadruped):
    assert choose(JudgesConfig(), None, human).kind == "openpose"
    assert choose(JudgesConfig(), None, quadruped).kind == "correspondence"
    chosen = choose(JudgesConfig(), None, robot)
    assert (chosen.identity, chosen.pose) == ("facebook/dinov2-base", "facebook/dinov2-base")


def test_a_detector_beside_the_base_that_does_not_know_the_joints_is_left_out(quadruped):
    chosen = choose(JudgesConfig(), PUPPETS, quadruped)
    assert (chosen.kind, Path(chosen.pose)) == ("correspondence", PUPPETS / "judges" / "identity")


def test_joints_are_carried_over_by_dinov2_when_identity_is_anothers(quadruped):
    chosen = choose(JudgesConfig(identity="clip"), PUPPETS, quadruped)
    assert (chosen.identity, chosen.pose) == ("openai/clip-vit-large-patch14", "facebook/dinov2-base")


def test_folders_tell_by_their_files_what_they_judge(tmp_path, robot, human):
    vitpose, dino = make_vitpose(tmp_path / "v"), make_dinov2(tmp_path / "d")
    assert choose(JudgesConfig(pose=str(vitpose)), PUPPETS, human).kind == "vitpose"
    assert choose(JudgesConfig(pose=str(dino)), PUPPETS, robot).kind == "correspondence"
    assert choose(JudgesConfig(pose="owner/name"), PUPPETS, robot).kind == "named"
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "body_pose_model.pth").touch()
    assert choose(JudgesConfig(pose=str(tmp_path / "o")), None, human).kind == "openpose"


def test_what_cannot_judge_the_subject_is_said_in_one_line(tmp_path, robot, human):
    clip, vitpose = make_clip(tmp_path / "c"), make_vitpose(tmp_path / "v")
    bare = replace(robot, pictures=tuple(replace(p, keypoints=None) for p in robot.pictures))
    naked = replace(robot, pictures=tuple(replace(p, keypoints=None, mask=None) for p in robot.pictures))
    for config, folder, subject, message in (
        (JudgesConfig(pose="openpose"), None, robot, r"openpose finds the joints of openpose-18; .* puppet-13"),
        (JudgesConfig(pose=str(vitpose)), None, robot, r"vitpose finds the joints of openpose-18"),
        (JudgesConfig(pose=str(PUPPETS / "judges" / "keypoints")), None, human, r"finds other joints"),
        (JudgesConfig(pose=str(clip)), None, robot, r"config.json: model_type: 'clip' judges no poses"),
        (JudgesConfig(identity="dinosaur"), None, robot, r"--identity-judge: 'dinosaur' is no judge; there are dinov2"),
        (JudgesConfig(prompt="none"), None, robot, r"--prompt-judge: 'none' is no judge"),
        (JudgesConfig(pose="correspondence"), PUPPETS, bare, r"metadata.jsonl: no picture has keypoints"),
        (JudgesConfig(), PUPPETS, naked, r"00.png: has neither keypoints nor a mask"),
    ):
        with pytest.raises(InputError, match=message):
            choose(config, folder, subject)


def test_the_judges_that_were_chosen_are_loaded(tmp_path, robot, human, quadruped):
    assert isinstance(judges_for(JudgesConfig(), PUPPETS, robot, 64).keypoints, KeypointJudge)
    assert isinstance(judges_for(JudgesConfig(), PUPPETS, quadruped, 64).keypoints, CorrespondenceJudge)
    vitpose, dino = make_vitpose(tmp_path / "v"), make_dinov2(tmp_path / "d")
    config = JudgesConfig(identity=str(dino), pose=str(vitpose))
    assert isinstance(judges_for(config, None, human, 64).keypoints, ViTPoseJudge)
    config = JudgesConfig(identity=str(make_clip(tmp_path / "c")), pose=str(dino))
    made = judges_for(config, None, quadruped, 64)
    assert made.keypoints.encoder is not made.identity and made.keypoints.encoder.is_dense


def test_choosing_reads_no_torch():
    script = "import sys, trainables.judge_choice; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
