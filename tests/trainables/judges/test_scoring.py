from dataclasses import replace

import numpy as np
import pytest

from spaces import InputError
from trainables.hub import SHIPPED
from trainables.judges import CorrespondenceJudge, IdentityJudge, Judges, load_judges
from trainables.judges.scoring import Scorer, Wanted, diversity, retrieval_rank
from trainables.puppets.gallery import drawn_characters
from trainables.skeleton import PUPPET_13
from trainables.subject import Subject


@pytest.fixture(scope="module")
def judges() -> Judges:
    return load_judges(SHIPPED["puppets"])


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject.load("puppets/robot")


@pytest.fixture(scope="module")
def scorer(judges, subject) -> Scorer:
    """The panel asks for the poses of the subject's own pictures, the last two of which pass for hard."""
    made = Scorer(judges, subject, PUPPET_13, wanted(subject), 64)
    made.hang(*drawn_characters(person=False, count=8))
    return made


def wanted(subject: Subject) -> Wanted:
    poses = np.stack([p.keypoints for p in subject.pictures])
    return Wanted(poses, np.arange(len(poses)) >= 3, ["a robot"] * len(poses))


def pictures(subject: Subject) -> np.ndarray:
    return np.stack([p.pixels for p in subject.pictures])


def test_the_subjects_own_pictures_in_their_own_poses_score_best(scorer, subject):
    cells = scorer.cells(pictures(subject))
    assert cells["identity"].min() > 0.7 and cells["pose"].mean() > 0.9
    assert cells["copycat"] == pytest.approx(np.ones(5), abs=1e-5)
    assert (cells["retrieval_rank"] == 1).all()
    assert np.isnan(cells["pose_hard"][:3]).all() and np.isnan(cells["pose_plain"][3:]).all()
    others, _ = drawn_characters(person=False, count=5)
    worse = scorer.cells(others)
    assert worse["identity"].max() < cells["identity"].min()
    assert worse["retrieval_rank"].mean() > 1.5 and worse["copycat"].max() < 0.999


def test_scores_do_not_depend_on_the_order_of_pictures_and_gallery(judges, subject, scorer):
    order = [4, 3, 1, 0, 2]
    asked = wanted(subject)
    turned = Scorer(judges, subject, PUPPET_13, replace(asked, poses=asked.poses[order], hard=asked.hard[order]), 64)
    turned.hang(*(values[::-1] for values in drawn_characters(person=False, count=8)))
    cells, again = scorer.cells(pictures(subject)), turned.cells(pictures(subject)[order])
    for name, values in cells.items():
        np.testing.assert_allclose(again[name], values[order], atol=1e-5)


def test_drift_is_nought_for_equal_pictures_and_symmetric(scorer, subject):
    one, other = pictures(subject)[:2], pictures(subject)[3:5]
    np.testing.assert_allclose(scorer.distance(one, one, [0, 1]), 0, atol=1e-6)
    np.testing.assert_allclose(scorer.distance(one, other, [0, 1]), scorer.distance(other, one, [0, 1]), atol=1e-6)


def test_joints_that_are_carried_over_bring_the_outline(judges, subject):
    carried = CorrespondenceJudge.of_subject(judges.identity, subject, PUPPET_13, 64)
    scorer = Scorer(replace(judges, keypoints=carried), subject, PUPPET_13, wanted(subject), 64)
    cells = scorer.cells(pictures(subject))
    assert cells["pose"].mean() > 0.8 and cells["silhouette"].mean() > 0.4
    assert "retrieval_rank" not in cells and "oks" not in cells and "prompt" not in cells


def test_pictures_that_are_all_alike_have_no_diversity():
    one = np.eye(3)[[0, 0, 0, 1]]
    np.testing.assert_allclose(diversity(one, np.array([0, 0, 1, 1], bool)), [0, 0, 1, 1])
    np.testing.assert_allclose(diversity(one[2:], np.array([False, True])), [1, 1])
    assert np.isnan(diversity(one, np.array([0, 0, 0, 1], bool))[3])


def test_the_rank_counts_those_that_are_nearer_than_the_nearest_picture():
    subject, gallery = np.eye(4)[:2], np.eye(4)[2:]
    embedded = np.array([[0.1, 0.9, 0.5, 0.2], [0.1, 0.2, 0.5, 0.3], [0.1, 0.4, 0.5, 0.3]])
    assert retrieval_rank(embedded, subject, gallery).tolist() == [1, 3, 2]


def test_a_picture_with_neither_keypoints_nor_mask_cannot_be_judged(judges, subject):
    bare = replace(subject, pictures=(replace(subject.pictures[0], keypoints=None, mask=None), *subject.pictures[1:]))
    with pytest.raises(InputError, match=r"00.png: has neither keypoints nor a mask"):
        Scorer(judges, bare, PUPPET_13, wanted(subject), 64)


def test_a_judge_is_loaded_where_it_ships():
    assert isinstance(load_judges(SHIPPED["puppets"]).identity, IdentityJudge)
