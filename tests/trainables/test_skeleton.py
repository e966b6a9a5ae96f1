import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces import InputError
from trainables.skeleton import OPENPOSE_18, PUPPET_13, load_pose, puppet_skeleton, region, render


def standing(size: float = 64) -> np.ndarray:
    """A figure with straight arms and legs, all joints visible."""
    unit = [[0.5, 0.15]]
    unit += [[0.4, 0.3], [0.3, 0.4], [0.2, 0.5], [0.6, 0.3], [0.7, 0.4], [0.8, 0.5]]
    unit += [[0.45, 0.6], [0.44, 0.75], [0.43, 0.9], [0.55, 0.6], [0.56, 0.75], [0.57, 0.9]]
    return np.column_stack([np.array(unit) * size, np.ones(13)])


@given(arms=st.integers(1, 4), legs=st.integers(1, 4))
def test_mirroring_twice_changes_nothing_and_keeps_kinds(arms, legs):
    skeleton = puppet_skeleton(arms, legs)
    mirror = np.array(skeleton.mirror)
    assert (mirror[mirror] == np.arange(len(skeleton.joints))).all()
    suffix = [name.split("_")[-1] for name in skeleton.joints]
    assert [suffix[i] for i in mirror] == suffix
    assert all(0 <= a < len(skeleton.joints) and 0 <= b < len(skeleton.joints) for a, b in skeleton.limbs)


@pytest.mark.parametrize("skeleton", [PUPPET_13, OPENPOSE_18])
def test_every_limb_has_a_colour_of_its_own(skeleton):
    assert len({skeleton.colour(i) for i in range(len(skeleton.limbs))}) == len(skeleton.limbs)


@pytest.mark.parametrize("size", [64, 128, 512])
def test_joints_are_white_where_they_should_be_at_any_size(size):
    keypoints = standing(size)
    pixels = np.asarray(render(keypoints, size))
    assert pixels.shape == (size, size, 3)
    for x, y, _ in keypoints[1:]:
        near = pixels[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2]
        assert near.min(axis=2).max() > 128
    assert (pixels[:2] == 0).all()


def test_the_same_pose_in_other_units_is_the_same_picture():
    assert (np.asarray(render(standing(64), 64)) == np.asarray(render(standing(512), 64, source_size=512))).all()


def test_an_invisible_joint_takes_its_limbs_along():
    keypoints = standing()
    whole = np.asarray(render(keypoints, 64)).any(axis=2)
    keypoints[3, 2] = 0
    without = np.asarray(render(keypoints, 64)).any(axis=2)
    assert without.sum() < whole.sum() and not (without & ~whole).any()
    assert not without[30:34, 10:16].any()


def test_the_region_covers_limbs_and_torso_and_little_else():
    covered = region(standing(), 64)
    assert covered[int(0.45 * 64), 32] and covered[int(0.4 * 64), int(0.3 * 64)]
    assert not covered[2, 2] and not covered[40, 4] and 0.1 < covered.mean() < 0.6


def test_a_pose_file_is_read_back(tmp_path):
    path = tmp_path / "pose.json"
    path.write_text(json.dumps({"skeleton": "puppet-13", "size": 64, "keypoints": standing().tolist()}))
    keypoints, skeleton, size = load_pose(path)
    np.testing.assert_array_equal(keypoints, standing())
    assert skeleton is PUPPET_13 and size == 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "should be"),
        (
            '{"skeleton": "horse", "size": 64, "keypoints": []}',
            "'horse' is not a skeleton; there are puppet-13, openpose-18",
        ),
        ('{"skeleton": "puppet-13", "size": 64, "keypoints": [[1, 2, 1]]}', "should be (13, 3)"),
        ('{"skeleton": "puppet-13", "size": 64, "keypoints": "x"}', "should be a list"),
    ],
)
def test_a_bad_pose_file_is_explained(tmp_path, text, said):
    path = tmp_path / "pose.json"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_pose(path)
    assert said in str(error.value) and "pose.json" in str(error.value)
