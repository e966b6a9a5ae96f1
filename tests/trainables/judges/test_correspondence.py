from dataclasses import replace

import numpy as np
import pytest
import torch

from spaces import InputError
from tests.trainables.judges.models import make_clip, seeded
from trainables.hub import SHIPPED
from trainables.judges import CorrespondenceJudge, IdentityJudge, pck, silhouette_iou
from trainables.judges.assembly import assemble, handedness, shape_of, sided_triples, spanning_tree
from trainables.judges.correspondence import peaks, refined
from trainables.puppets.characters import Character, sample_robot
from trainables.puppets.draw import Drawing, sample_drawing
from trainables.skeleton import OPENPOSE_18, PUPPET_13, Skeleton, puppet_skeleton
from trainables.subject import Subject


@pytest.fixture(scope="module")
def encoder() -> IdentityJudge:
    return IdentityJudge.load(SHIPPED["puppets"] / "judges" / "identity")


@pytest.fixture(scope="module")
def robot() -> Character:
    """With three arms and one leg, which no model saw."""
    return replace(sample_robot(np.random.default_rng(3)), arms=3, legs=1)


def drawings(character: Character, grade: str, count: int, seed: int) -> list[Drawing]:
    generator = np.random.default_rng(seed)
    return [sample_drawing(generator, character, grade) for _ in range(count)]


def judge_of(encoder: IdentityJudge, references: list[Drawing], skeleton: Skeleton) -> CorrespondenceJudge:
    return CorrespondenceJudge(
        encoder, *(stacked(references, name) for name in ("pixels", "keypoints", "mask")), skeleton
    )


def stacked(drawn: list[Drawing], name: str) -> np.ndarray:
    return np.stack([getattr(d, name) for d in drawn])


@pytest.fixture(scope="module")
def judge(encoder, robot) -> CorrespondenceJudge:
    return judge_of(encoder, drawings(robot, "plain", 4, 1), puppet_skeleton(3, 1))


def test_a_picture_corresponds_to_itself(encoder, robot):
    reference = drawings(robot, "plain", 1, 5)
    found = judge_of(encoder, reference, puppet_skeleton(3, 1)).detect(reference[0].pixels[None])
    assert pck(found, reference[0].keypoints[None], 64) == [1.0]
    assert np.abs(found[0, :, :2] - reference[0].keypoints[:, :2]).mean() < 1.5
    assert (found[..., 2] > 0).all()


def test_a_figure_that_moves_takes_its_joints_along(encoder, robot):
    """By a whole patch of 8 pixels, over a scene without marks."""
    reference = drawings(robot, "plain", 1, 6)[0]
    grey = np.where(reference.mask[..., None], reference.pixels, np.uint8(150))
    columns = np.flatnonzero(reference.mask.any(0))
    step = -8 if columns[0] > 63 - columns[-1] else 8
    judge = CorrespondenceJudge(
        encoder, grey[None], reference.keypoints[None], reference.mask[None], puppet_skeleton(3, 1)
    )
    moved = np.roll(grey, step, axis=1)
    assert not np.roll(reference.mask, step, axis=1)[:, 0 if step > 0 else -1].any()
    wanted = reference.keypoints + np.array([step, 0, 0])
    assert pck(judge.detect(moved[None]), wanted[None], 64) >= 0.8


def test_joints_of_a_morphology_that_no_model_saw_are_found(judge, robot):
    new = drawings(robot, "plain", 6, 2)
    wanted = stacked(new, "keypoints")
    found = judge.detect(stacked(new, "pixels"))
    assert pck(found, wanted, 64, 0.1).mean() > 0.7
    assert pck(found, wanted, 64, 0.1).mean() > pck(found, np.roll(wanted, 1, axis=0), 64, 0.1).mean() + 0.3
    assert (found[..., 2] >= judge.detected).mean() > 0.6


def test_outlines_are_found(judge, robot):
    new = drawings(robot, "plain", 6, 2)
    outlines = judge.silhouettes(stacked(new, "pixels"))
    met = silhouette_iou(outlines, stacked(new, "mask")).mean()
    assert met > 0.4
    assert met > silhouette_iou(outlines, np.roll(stacked(new, "mask"), 1, axis=0)).mean() + 0.1


def test_scenes_without_the_figure_have_fewer_joints(judge, robot):
    new = drawings(robot, "plain", 6, 2)
    scenes = np.where(stacked(new, "mask")[..., None], np.uint8(140), stacked(new, "pixels"))
    with_figure, without = (
        (judge.detect(pixels)[..., 2] >= judge.detected).mean() for pixels in (stacked(new, "pixels"), scenes)
    )
    assert without < with_figure - 0.3


def test_each_picture_is_looked_at_by_itself(judge, robot):
    pixels = stacked(drawings(robot, "hard", 4, 3), "pixels")
    order = [3, 1, 0, 2]
    np.testing.assert_allclose(judge.detect(pixels[order]), judge.detect(pixels)[order], atol=1e-3)


def test_a_joint_that_is_hidden_in_one_reference_is_learned_from_the_others(encoder, robot):
    references = drawings(robot, "plain", 4, 1)
    hidden = stacked(references, "keypoints")
    hidden[0, 3] = (1000.0, -1000.0, 0.0)
    hidden[1:, 5, 2] = 0
    skeleton = puppet_skeleton(3, 1)
    pixels, masks = stacked(references, "pixels"), stacked(references, "mask")
    found = CorrespondenceJudge(encoder, pixels, hidden, masks, skeleton).detect(pixels[1:])
    assert pck(found, stacked(references, "keypoints")[1:], 64, 0.1).mean() > 0.7
    hidden[:, 3, 2] = 0
    with pytest.raises(InputError, match="no reference picture shows arm0_wrist"):
        CorrespondenceJudge(encoder, pixels, hidden, masks, skeleton)


def test_a_subject_without_keypoints_has_nothing_to_carry_over(encoder):
    subject = Subject.load("puppets/robot")
    bare = replace(subject, pictures=tuple(replace(p, keypoints=None) for p in subject.pictures))
    with pytest.raises(InputError, match=r"metadata.jsonl: no picture has keypoints"):
        CorrespondenceJudge.of_subject(encoder, bare, PUPPET_13, 64)


def test_an_encoder_without_patches_that_match_is_refused(tmp_path):
    with pytest.raises(InputError, match="no dense features"):
        IdentityJudge.load(seeded(make_clip, tmp_path)).dense(np.zeros((1, 32, 32, 3), np.uint8))


def test_limbs_of_the_right_lengths_decide_between_places_that_look_the_same():
    """A chain of three joints: the last has two places as likely, one of them at the right distance."""
    chain = Skeleton("chain", ("a", "b", "c"), ((0, 1), (1, 2)), (0, 1, 2))
    shape = shape_of(np.array([[[0, 0, 1], [10, 0, 1], [20, 0, 1]]], dtype=float), chain)
    places = np.array([[[5, 5], [50, 50]], [[5, 15], [40, 40]], [[60, 60], [5, 25]]], dtype=float)[None]
    alike = np.array([[[0.9, 0.2], [0.9, 0.1], [0.8, 0.8]]])
    assert assemble(places, alike, shape).tolist() == [[0, 0, 1]]


def test_a_larger_figure_of_the_same_shape_is_the_same_figure():
    chain = Skeleton("chain", ("a", "b", "c"), ((0, 1), (1, 2)), (0, 1, 2))
    shape = shape_of(np.array([[[0, 0, 1], [10, 0, 1], [20, 0, 1]]], dtype=float), chain)
    places = np.array([[[0, 0], [0, 0]], [[13.5, 0], [0, 0]], [[13.5, 10], [13.5, 13.5]]], dtype=float)[None]
    alike = np.array([[[0.9, -1], [0.9, -1], [0.8, 0.8]]])
    assert assemble(places, alike, shape).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("skeleton", [PUPPET_13, OPENPOSE_18, puppet_skeleton(4, 3)], ids=lambda s: s.name)
def test_the_tree_reaches_every_joint_once_parents_first(skeleton):
    tree = spanning_tree(skeleton)
    reached = [skeleton.root]
    for parent, child in tree:
        assert parent in reached and child not in reached
        reached.append(child)
    assert sorted(reached) == list(range(len(skeleton.joints)))


def test_handedness_does_not_change_with_a_turn_and_does_with_a_mirror():
    keypoints = sample_drawing(np.random.default_rng(0), sample_robot(np.random.default_rng(0)), "plain").keypoints
    triples, turns = sided_triples(keypoints[None], PUPPET_13)
    assert len(triples) > 20
    turn = np.array([[np.cos(2.0), -np.sin(2.0)], [np.sin(2.0), np.cos(2.0)]])
    assert (handedness((keypoints[:, :2] @ turn.T)[None], triples) == turns).all()
    assert (handedness((keypoints[:, :2] * (-1, 1))[None], triples) == -turns).all()
    exchanged = handedness(keypoints[list(PUPPET_13.mirror), :2][None], triples)[0]
    assert (exchanged == -turns).mean() > 0.8
    assert all(exchanged[k] == -turns[k] for k, triple in enumerate(triples) if 0 in triple)


def test_left_and_right_that_were_exchanged_are_put_right_where_looks_cannot_tell(judge, robot):
    new = drawings(robot, "plain", 2, 8)
    right = stacked(new, "keypoints")[..., :2] / 2
    exchanged = right[:, list(judge.skeleton.mirror)]
    same_looks = torch.zeros(2, len(judge.skeleton.joints), 32, 32)
    np.testing.assert_allclose(judge._sides_put_right(exchanged, same_looks), right)
    np.testing.assert_allclose(judge._sides_put_right(right, same_looks), right)
    told_apart = same_looks.clone()
    for number, joints in enumerate(exchanged):
        for joint, (x, y) in enumerate(joints):
            told_apart[number, joint, int(y), int(x)] = 1.0
    np.testing.assert_allclose(judge._sides_put_right(exchanged, told_apart), exchanged)


def test_peaks_are_local_maxima_and_are_read_to_a_fraction_of_a_cell():
    cells = torch.arange(32) + 0.5
    bump = lambda x, y: torch.exp(-((cells[:, None] - y) ** 2 + (cells[None, :] - x) ** 2) / 4)  # noqa: E731
    maps = (0.5 * bump(20.7, 9.3) + 0.4 * bump(6.0, 25.0))[None, None]
    places, values = peaks(maps, 2)
    np.testing.assert_allclose(refined(maps, places[:, :, 0])[0, 0], [20.7, 9.3], atol=0.25)
    assert values[0, 0, 0] > values[0, 0, 1] > 0.3
    np.testing.assert_allclose(places[0, 0, 1], [6, 25], atol=0.6)


def test_silhouettes_that_meet_in_half():
    one, other = np.zeros((2, 1, 4, 4), bool)
    one[0, :2], other[0, 1:3] = True, True
    assert silhouette_iou(one, other) == pytest.approx([1 / 3])
    assert np.isnan(silhouette_iou(np.zeros_like(one), np.zeros_like(one))).all()
