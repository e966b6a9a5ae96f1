import numpy as np
import pytest
from controlnet_aux import OpenposeDetector
from controlnet_aux.open_pose.body import Body

from spaces import InputError
from tests.trainables.judges.models import make_vitpose, seeded
from trainables.judges import OpenPoseJudge, ViTPoseJudge
from trainables.judges.people import boxes_around, coco_to_openpose, largest
from trainables.skeleton import OPENPOSE_18

COCO = (
    "nose", "l_eye", "r_eye", "l_ear", "r_ear", "l_shoulder", "r_shoulder", "l_elbow", "r_elbow", "l_wrist", "r_wrist",
    "l_hip", "r_hip", "l_knee", "r_knee", "l_ankle", "r_ankle",
)  # fmt: skip


def test_cocos_joints_take_their_names_places_and_the_neck_is_between_the_shoulders():
    joints = np.stack([np.arange(17.0), 100 + np.arange(17.0), np.linspace(0.2, 1, 17)], axis=1)[None]
    found = coco_to_openpose(joints)[0]
    for name, joint in zip(OPENPOSE_18.joints, found, strict=True):
        if name != "neck":
            np.testing.assert_allclose(joint, joints[0, COCO.index(name)])
    neck, shoulders = found[1], joints[0, [5, 6]]
    np.testing.assert_allclose(neck, [5.5, 105.5, shoulders[:, 2].min()])


def test_of_several_people_the_largest_counts_and_of_none_all_joints_are_missed():
    small, large = np.zeros((2, 18, 3))
    small[:3] = [[0.1, 0.1, 0.9], [0.2, 0.2, 0.9], [0.15, 0.2, 0.9]]
    large[:2] = [[0.1, 0.1, 0.4], [0.9, 0.8, 0.4]]
    found = largest([small, large, np.zeros((18, 3))], 200, 100)
    np.testing.assert_allclose(found[1], [180, 80, 0.4])
    assert (found[2:] == 0).all()
    assert (largest([], 200, 100) == np.zeros((18, 3))).all()


class TwoPeople:
    """What OpenPose's body network reads out of a picture of 40 x 80: a small person and a larger one."""

    format_body_result = staticmethod(Body.format_body_result)

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        candidates = np.array([[20, 10, 0.8, 0], [25, 15, 0.7, 1], [10, 10, 0.9, 2], [70, 30, 0.6, 3]], dtype=float)
        subset = np.full((2, 20), -1.0)
        subset[0, [0, 1]], subset[1, [0, 4]] = [0, 1], [2, 3]
        subset[:, 18:] = [[1.5, 2], [1.5, 2]]
        return candidates, subset


def test_openpose_reads_the_largest_person_in_pixels():
    found = OpenPoseJudge(OpenposeDetector(TwoPeople())).detect(np.zeros((2, 40, 80, 3), np.uint8))
    np.testing.assert_allclose(found[1, [0, 4], :2], [[10, 10], [70, 30]])
    assert (found[:, [0, 4], 2] >= OpenPoseJudge.detected).all()
    assert (found[:, [1, 2, 3], 2] == 0).all()


def test_an_openpose_folder_that_lacks_a_file_is_said_so(tmp_path):
    with pytest.raises(InputError, match=r"has no body_pose_model.safetensors or body_pose_model.pth"):
        OpenPoseJudge.load(tmp_path)


@pytest.mark.parametrize("experts", [1, 6])
def test_vitpose_finds_openposes_joints_in_pictures_of_any_size(tmp_path, experts):
    judge = ViTPoseJudge.load(seeded(make_vitpose, tmp_path, 17, experts))
    found = judge.detect(np.random.default_rng(0).integers(0, 255, (3, 60, 80, 3), dtype=np.uint8))
    assert found.shape == (3, 18, 3) and np.isfinite(found).all()
    assert (found[..., 2] >= 0).all() and (found[..., 2] <= 1).all()


def test_vitpose_of_other_joints_is_refused(tmp_path):
    with pytest.raises(InputError, match="finds 13 joints; ViTPose for people finds COCO's 17"):
        ViTPoseJudge.load(make_vitpose(tmp_path, 13))


def test_the_second_look_is_where_the_first_one_found_joints():
    found = np.zeros((2, 17, 3))
    found[0, :5] = [[10, 20, 0.9], [30, 20, 0.9], [10, 60, 0.9], [20, 40, 0.9], [99, 99, 0.1]]
    whole = np.tile([0.0, 0.0, 100, 80], (2, 1))
    np.testing.assert_allclose(boxes_around(found, whole), [[10, 20, 20, 40], [0, 0, 100, 80]])
