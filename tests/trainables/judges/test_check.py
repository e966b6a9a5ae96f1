import shutil
from dataclasses import replace

import numpy as np
import pytest

from spaces import InputError
from tests.tiny import _tokenizer as tiny_tokenizer
from tests.trainables.judges.models import make_clip, make_dinov2, seeded
from trainables.hub import folder_of
from trainables.job import JudgesConfig
from trainables.judges.check import area_under_curve, in_pieces, measure
from trainables.subject import Subject

PUPPETS = folder_of("puppets")


@pytest.fixture(scope="module")
def robot() -> Subject:
    return Subject.load("puppets/robot")


def test_trained_judges_tell_the_subject_from_others_and_its_joints_from_each_other(robot):
    verdicts = {v.judge: v for v in measure(JudgesConfig(), PUPPETS, robot, [], "cpu")}
    assert set(verdicts) == {"identity", "pose"}
    for verdict in verdicts.values():
        assert verdict.problem is None and verdict.tells == "yes" and verdict.auc > 0.95
        assert all(verdict.ceiling > floor for floor in verdict.floors.values())
    assert list(verdicts["identity"].floors) == ["other subjects", "in pieces", "noise"]


def test_carried_over_joints_are_measured_on_pictures_that_were_left_out(robot):
    verdicts = {v.judge: v for v in measure(JudgesConfig(pose="correspondence"), PUPPETS, robot, [], "cpu")}
    assert 0.5 < verdicts["pose"].ceiling < 1 and verdicts["pose"].problem is None
    assert verdicts["silhouette"].problem is None
    assert verdicts["silhouette"].ceiling > verdicts["silhouette"].floors["other pictures' outlines"]


def test_a_judge_that_learned_nothing_is_refused_with_its_figures(tmp_path, robot):
    config = JudgesConfig(
        identity=str(seeded(make_dinov2, tmp_path / "d")),
        prompt=str(seeded(make_clip, tmp_path / "c", tiny_tokenizer())),
    )
    verdicts = {v.judge: v for v in measure(config, PUPPETS, robot, [], "cpu")}
    assert "cannot tell: the subject's own pictures get" in verdicts["identity"].problem
    assert verdicts["pose"].problem is None
    assert "captions of other things" in verdicts["prompt"].problem and verdicts["prompt"].tells == "no"


def test_a_judge_that_finds_joints_in_the_wrong_order_is_refused(tmp_path, robot):
    """The trained detector, asked for joints that the subject's file has under other names."""
    order = [6, 1, 2, 3, 9, 5, 0, 7, 8, 4, 12, 11, 10]
    mixed = tuple(replace(p, keypoints=p.keypoints[order]) for p in robot.pictures)
    worse = measure(JudgesConfig(), PUPPETS, replace(robot, pictures=mixed), [], "cpu")[1]
    right = measure(JudgesConfig(), PUPPETS, robot, [], "cpu")[1]
    assert worse.ceiling < right.ceiling - 0.3
    turned = tuple(replace(p, keypoints=np.roll(p.keypoints, 3, axis=0)) for p in robot.pictures)
    assert measure(JudgesConfig(), PUPPETS, replace(robot, pictures=turned), [], "cpu")[1].problem is not None


def test_other_subjects_count_where_they_are_given(robot):
    person, twin = Subject.load("puppets/person"), replace(robot)
    told = measure(JudgesConfig(), PUPPETS, robot, [person], "cpu")[0]
    assert told.problem is None
    same = measure(JudgesConfig(), PUPPETS, robot, [twin], "cpu")[0]
    assert "other subjects" in same.problem


def test_one_picture_or_no_keypoints_cannot_be_measured(robot):
    with pytest.raises(InputError, match="has one picture; judges are measured on two or more"):
        measure(JudgesConfig(), PUPPETS, replace(robot, pictures=robot.pictures[:1]), [], "cpu")
    bare = replace(robot, pictures=tuple(replace(p, keypoints=None) for p in robot.pictures))
    verdict = measure(JudgesConfig(), PUPPETS, bare, [], "cpu")[1]
    assert "fewer than two pictures have keypoints" in verdict.problem


def test_a_picture_in_pieces_has_the_same_pixels_elsewhere():
    picture = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    made = in_pieces(picture, np.random.default_rng(0))
    assert (np.sort(made.ravel()) == np.sort(picture.ravel())).all() and (made != picture).any()


def test_the_area_under_the_curve_counts_pairs():
    assert area_under_curve(np.array([3.0, 1.0]), np.array([0.0, 2.0])) == 0.75
    assert area_under_curve(np.array([1.0]), np.array([1.0])) == 0.5


def test_a_folder_of_photographs_has_pictures_of_the_bases_own_size(tmp_path, robot):
    """A base folder without judges: DINOv2 by folder, joints carried over, nothing drawn."""
    for part in ("unet", "vae"):
        (tmp_path / "base" / part).mkdir(parents=True)
        shutil.copy(PUPPETS / part / "config.json", tmp_path / "base" / part)
    config = JudgesConfig(identity=str(PUPPETS / "judges" / "identity"))
    verdicts = {v.judge: v for v in measure(config, tmp_path / "base", robot, [], "cpu")}
    assert list(verdicts["identity"].floors) == ["in pieces", "noise"]
    assert "silhouette" in verdicts
