"""The poses that a subject is to be drawn in."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces import InputError
from trainables.poses import pose_lines, target_poses, with_poses
from trainables.poses.people import people_poses
from trainables.poses.turned import hinges, turned_poses
from trainables.skeleton import OPENPOSE_18, PUPPET_13, Skeleton, skeleton_named
from trainables.subject import Subject

ARM = np.array([[200, 450], [200, 370], [280, 250], [380, 200], [430, 240], [450, 270], [420, 280]], float)
DOG = np.array(
    [[400, 150], [350, 200], [180, 200], [120, 150], [370, 290], [360, 380], [330, 290], [320, 380], [200, 290],
     [180, 380], [170, 290], [150, 380]], float,
)  # fmt: skip


def visible(points: np.ndarray) -> np.ndarray:
    return np.column_stack([points, np.ones(len(points))])


def lengths(keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    return np.array([np.linalg.norm(keypoints[a, :2] - keypoints[b, :2]) for a, b in skeleton.limbs])


def test_people_have_a_dozen_and_more_poses_of_each_grade_inside_the_picture() -> None:
    poses = people_poses()
    for grade in ("plain", "hard"):
        assert sum(pose.grade == grade for pose in poses) >= 12
    assert len({pose.keypoints.tobytes() for pose in poses}) == len(poses)
    for pose in poses:
        seen = pose.keypoints[pose.keypoints[:, 2] > 0, :2]
        assert pose.keypoints.shape == (18, 3) and len(seen) >= 14
        assert seen.min() >= 0 and seen.max() <= pose.size


def test_nobodys_limbs_are_longer_than_an_adults() -> None:
    """Turned out of the picture a limb is shorter, never longer; upright and frontal both sides are equal."""
    unit = lengths(people_poses()[0].keypoints, OPENPOSE_18)
    body = [number for number, (a, b) in enumerate(OPENPOSE_18.limbs) if max(a, b) < 14 and min(a, b) > 0]
    for pose in people_poses():
        shown = np.array([min(pose.keypoints[a, 2], pose.keypoints[b, 2]) for a, b in OPENPOSE_18.limbs]) > 0
        here = lengths(pose.keypoints, OPENPOSE_18)
        assert (here[body] <= 1.12 * unit[body])[shown[body]].all()  # the hip's way from the neck varies with the lean


def test_facing_us_the_right_hand_is_on_the_left_and_from_behind_it_is_not() -> None:
    at_ease, behind = people_poses()[0].keypoints, people_poses()[-1].keypoints
    right, left = OPENPOSE_18.joints.index("r_shoulder"), OPENPOSE_18.joints.index("l_shoulder")
    assert at_ease[right, 0] < at_ease[left, 0] and behind[right, 0] > behind[left, 0]
    assert behind[OPENPOSE_18.joints.index("nose"), 2] == 0


def test_hard_poses_are_further_from_standing_than_plain_ones() -> None:
    """Mean angle of arms and legs from where they hang at ease."""
    limbs = [(2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (11, 12), (12, 13)]

    def angles(keypoints: np.ndarray) -> np.ndarray:
        return np.array([np.arctan2(*(keypoints[b, :2] - keypoints[a, :2])) for a, b in limbs])

    at_ease = angles(people_poses()[0].keypoints)
    far = {"plain": [], "hard": []}
    for pose in people_poses():
        turn = (angles(pose.keypoints) - at_ease + np.pi) % (2 * np.pi) - np.pi
        far[pose.grade].append(np.abs(turn).mean())
    assert max(far["plain"]) < np.median(far["hard"]) and np.mean(far["hard"]) > 2 * np.mean(far["plain"])


@settings(max_examples=25, deadline=None)
@given(
    case=st.sampled_from([("robot-arm", ARM), ("quadruped", DOG)]),
    grade=st.sampled_from(["plain", "hard"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_turned_limbs_keep_their_proportions_and_stay_inside(case, grade, seed) -> None:
    name, points = case
    skeleton = skeleton_named(name)
    before = visible(points)
    (pose,) = turned_poses(np.random.default_rng(seed), skeleton, [(before, 512.0)], grade, 1)
    ratio = lengths(pose.keypoints, skeleton) / lengths(before, skeleton)
    assert np.allclose(ratio, ratio[0], rtol=2e-3) and ratio[0] <= 1.001
    assert pose.keypoints[:, :2].min() >= 0 and pose.keypoints[:, :2].max() <= 512
    assert np.abs(pose.keypoints[:, :2] - points).max() > 1


def test_the_trunk_is_stiff_and_limbs_turn_where_they_are_hinged() -> None:
    def turning(skeleton: Skeleton, points: np.ndarray) -> set[tuple[str, str]]:
        return {(skeleton.joints[h.joint], skeleton.joints[h.moved[0]]) for h in hinges(skeleton, visible(points))}

    dog = turning(skeleton_named("quadruped"), DOG)
    assert ("neck", "fr_knee") in dog and ("fr_knee", "fr_foot") in dog and ("neck", "back") not in dog
    arm = turning(skeleton_named("robot-arm"), ARM)
    assert ("foot", "shoulder") not in arm and {("shoulder", "elbow"), ("elbow", "wrist")} <= arm
    ring = Skeleton("ring", ("a", "b", "c", "d"), ((0, 1), (1, 2), (2, 0), (2, 3)), (0, 1, 2, 3))
    assert turning(ring, np.array([[0, 0], [10, 0], [5, 9], [5, 20.0]])) == {("c", "d")}


def test_a_joint_that_cannot_be_seen_stays_hidden() -> None:
    before = visible(DOG)
    before[3] = 0
    poses = turned_poses(np.random.default_rng(0), skeleton_named("quadruped"), [(before, 512.0)], "hard", 4)
    assert all(pose.keypoints[3].tolist() == [0, 0, 0] and pose.keypoints[:, 2].sum() == 11 for pose in poses)


def test_hard_turns_go_further_than_plain_ones() -> None:
    skeleton = skeleton_named("robot-arm")
    moved = {}
    for grade in ("plain", "hard"):
        poses = turned_poses(np.random.default_rng(1), skeleton, [(visible(ARM), 512.0)], grade, 12)
        moved[grade] = np.mean([np.abs(pose.keypoints[:, :2] - ARM).mean() for pose in poses])
    assert moved["hard"] > 2 * moved["plain"]


def test_a_source_is_the_subjects_own_the_shipped_or_a_folder(tiny_subject: Path, tmp_path: Path) -> None:
    subject = Subject.load(tiny_subject)
    assert target_poses(subject) is subject.poses
    shipped = target_poses(subject, "shipped")
    assert [pose.keypoints.tobytes() for pose in shipped] == [
        pose.keypoints.tobytes() for pose in target_poses(subject, "shipped")
    ]
    assert sum(pose.grade == "hard" for pose in shipped) >= 12
    (tmp_path / "poses.jsonl").write_text(pose_lines(shipped[:2]))
    (tmp_path / "hard").mkdir()
    values = {"skeleton": PUPPET_13.name, "size": shipped[0].size, "keypoints": shipped[-1].keypoints.tolist()}
    (tmp_path / "hard" / "a.json").write_text(json.dumps(values))
    found = with_poses(subject, str(tmp_path)).poses
    assert [pose.grade for pose in found] == ["plain", "plain", "hard"]
    for pose, wanted in zip(found, (*shipped[:2], shipped[-1]), strict=True):
        np.testing.assert_allclose(pose.keypoints, wanted.keypoints)


def test_a_person_has_the_named_stances(tiny_subject: Path) -> None:
    subject = replace(Subject.load(tiny_subject), skeleton="openpose-18")
    assert len(target_poses(subject, "shipped")) == len(people_poses())


def test_a_source_without_poses_is_explained(tiny_subject: Path, tmp_path: Path) -> None:
    subject = Subject.load(tiny_subject)
    with pytest.raises(InputError, match="'nowhere' is no folder; it should be subject, shipped, or a folder"):
        target_poses(subject, "nowhere")
    with pytest.raises(InputError, match=r"has no poses; it should have poses.jsonl"):
        target_poses(subject, str(tmp_path))
    with pytest.raises(InputError, match="skeleton: is missing"):
        target_poses(replace(subject, skeleton=None), "shipped")
    bare = replace(subject, pictures=tuple(replace(picture, keypoints=None) for picture in subject.pictures))
    with pytest.raises(InputError, match="`posefront annotate` adds them"):
        target_poses(bare, "shipped")
    (tmp_path / "plain").mkdir()
    person = {"skeleton": "openpose-18", "size": 8, "keypoints": [[1, 1, 1]] * 18}
    (tmp_path / "plain" / "x.json").write_text(json.dumps(person))
    with pytest.raises(InputError, match=r"x.json: skeleton: 'openpose-18' should be 'puppet-13'"):
        target_poses(subject, str(tmp_path))
