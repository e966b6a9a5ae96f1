import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.judges.identity import mask_out
from trainables.judges.keypoints import coco_sigmas, decode, oks, pck
from trainables.skeleton import OPENPOSE_18, PUPPET_13


@given(x=st.floats(8, 55), y=st.floats(8, 55), sigma=st.floats(0.5, 1.0))
def test_a_gaussian_heatmap_is_read_to_a_fraction_of_a_cell(x, y, sigma):
    cells = torch.arange(16) + 0.5
    distance = ((cells[:, None] - y / 4) ** 2 + (cells[None, :] - x / 4) ** 2) / sigma**2
    found = decode((-0.5 * distance)[None, None], 64)[0, 0]
    assert found[0] == pytest.approx(x, abs=0.6) and found[1] == pytest.approx(y, abs=0.6)
    assert found[2] > 0.9


def test_a_flat_heatmap_is_no_detection():
    assert decode(torch.zeros(1, 1, 16, 16), 64)[0, 0, 2] < 0.15


def test_pck_counts_visible_joints_within_the_threshold():
    target = np.array([[[10, 10, 1], [20, 20, 1], [30, 30, 0], [40, 40, 1]]], dtype=float)
    found = np.array([[[10, 13.1], [20, 23.3], [0, 0], [np.inf, np.inf]]])
    assert pck(found, target, 64) == pytest.approx([1 / 3])
    assert pck(target, target, 64) == [1.0]
    target[..., 2] = 0
    assert np.isnan(pck(found, target, 64)).all()


@given(shift=st.floats(-20, 20))
def test_pck_does_not_see_where_the_whole_scene_is(shift):
    generator = np.random.default_rng(0)
    target, found = generator.uniform(0, 64, (5, 13, 2)), generator.uniform(0, 64, (5, 13, 2))
    np.testing.assert_allclose(pck(found + shift, target + shift, 64, 0.3), pck(found, target, 64, 0.3))


def test_what_is_outside_the_region_cannot_be_seen():
    generator = np.random.default_rng(1)
    regions = generator.random((2, 8, 8)) < 0.5
    one, other = generator.integers(0, 255, (2, 2, 8, 8, 3)).astype(np.uint8)
    other[regions] = one[regions]
    assert (mask_out(one, regions) == mask_out(other, regions)).all()
    assert (mask_out(one, regions)[regions] == one[regions]).all()


def test_oks_is_what_a_hand_computes():
    """Two joints in a box of 20 x 40: s^2 = 0.53 * 800 = 424. One is exact, one is 10 pixels off."""
    target = np.array([[[10, 10, 1], [30, 50, 1], [99, 0, 0]]], dtype=float)
    found = target[..., :2] + np.array([[[0, 0], [6, 8], [50, 50]]])
    sigmas = np.array([0.079, 0.107, 0.026])
    expected = (1 + np.exp(-100 / (2 * 424 * (2 * 0.107) ** 2))) / 2
    assert oks(found, target, sigmas) == pytest.approx([expected])
    assert oks(target, target, sigmas) == [1.0]
    assert oks(np.full((1, 3, 2), np.inf), target, sigmas) == [0.0]
    assert np.isnan(oks(found, target * (1, 1, 0), sigmas)).all()


def test_every_joint_of_people_has_its_sigma_and_of_others_none():
    sigmas = coco_sigmas(OPENPOSE_18.joints)
    assert sigmas[OPENPOSE_18.joints.index("l_hip")] == 0.107 and len(sigmas) == 18
    assert coco_sigmas(PUPPET_13.joints) is None
