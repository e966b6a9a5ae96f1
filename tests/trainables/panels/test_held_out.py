"""The panel of a confirmation has nothing of the search's, whatever the subject has to give."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces import InputError
from trainables.job import PanelConfig
from trainables.panels.held_out import PROMPTS, unseen
from trainables.panels.panel import panel_cells
from trainables.subject import Subject

ROBOT = Subject.load("puppets/robot")


@settings(max_examples=25, deadline=None)
@given(
    plain=st.integers(1, 16),
    hard=st.integers(1, 16),
    seed=st.integers(0, 10**6),
    own=st.booleans(),
    annotated=st.booleans(),
)
def test_no_pose_prompt_or_noise_is_in_both_panels(plain, hard, seed, own, annotated):
    pictures = ROBOT.pictures if annotated else tuple(replace(p, keypoints=None) for p in ROBOT.pictures)
    subject = replace(ROBOT, held_out_prompts=ROBOT.held_out_prompts if own else (), pictures=pictures)
    config = PanelConfig(plain=plain, hard=hard, seed=seed)
    searched = panel_cells(subject, config)
    confirmed = panel_cells(subject, config.model_copy(update={"held_out": True}))
    assert [cell.pose.grade for cell in confirmed] == [cell.pose.grade for cell in searched]
    assert not {cell.prompt for cell in searched} & {cell.prompt for cell in confirmed}
    assert len({cell.seed for cell in searched + confirmed}) == 2 * len(searched)
    shapes = [tuple((cell.pose.keypoints[:, :2] / cell.pose.size).round(6).ravel()) for cell in searched + confirmed]
    assert len(set(shapes)) == 2 * len(searched)
    for cell in confirmed:
        seen = cell.pose.keypoints[cell.pose.keypoints[:, 2] > 0, :2]
        assert ((seen >= 0) & (seen <= cell.pose.size)).all()


def test_a_pose_that_is_there_twice_is_not_taken_for_a_new_one():
    config = PanelConfig(plain=2, hard=2)
    first = [pose for pose in ROBOT.poses if pose.grade == "plain"][:2]
    larger = [replace(pose, keypoints=pose.keypoints * (2, 2, 1), size=2 * pose.size) for pose in first]
    subject = replace(ROBOT, poses=(*first, *larger, *(p for p in ROBOT.poses if p.grade == "hard")))
    found = unseen(subject, panel_poses(subject, config), config).poses
    for pose in found[:2]:
        assert not any(np.allclose(pose.keypoints / pose.size, p.keypoints / p.size) for p in first)


def test_the_shipped_scenes_stand_in_for_a_subject_that_names_none_and_a_subject_may_be_short_of_them():
    config = PanelConfig(plain=2, hard=2)
    poses = panel_poses(ROBOT, config)
    bare = replace(ROBOT, held_out_prompts=(), prompts=PROMPTS[:3])
    assert unseen(bare, poses, config).prompts == PROMPTS[3:]
    with pytest.raises(InputError, match="held_out_prompts: should have a prompt that is not among prompts"):
        unseen(replace(ROBOT, held_out_prompts=ROBOT.prompts), poses, config)
    with pytest.raises(InputError, match="too few hard poses"):
        empty = replace(ROBOT, pictures=(), poses=tuple(p for p in ROBOT.poses if p.grade == "hard")[:3])
        unseen(empty, empty.poses, PanelConfig(plain=1, hard=3).model_copy(update={"plain": 0}))


def panel_poses(subject: Subject, config: PanelConfig) -> list:
    return [cell.pose for cell in panel_cells(subject, config)]
