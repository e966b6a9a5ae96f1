import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.puppets.characters import (
    BACKGROUNDS,
    SUBJECT_PERSON,
    SUBJECT_ROBOT,
    is_reserved,
    sample_character,
    sample_odd_robot,
    sample_person,
    sample_robot,
)
from trainables.puppets.draw import draw, sample_drawing
from trainables.puppets.poses import SIZE, keypoints_of, sample_stance
from trainables.skeleton import PUPPET_13, puppet_skeleton

KINDS = {"person": sample_person, "robot": sample_robot, "odd": sample_odd_robot}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(list(KINDS)), grade=st.sampled_from(["plain", "hard"]))
def test_every_joint_is_in_the_picture_on_the_figure(seed, kind, grade):
    generator = np.random.default_rng(seed)
    character = KINDS[kind](generator)
    drawing = sample_drawing(generator, character, grade)
    assert drawing.pixels.shape == (SIZE, SIZE, 3) and drawing.pixels.dtype == np.uint8
    assert len(drawing.keypoints) == len(puppet_skeleton(character.arms, character.legs).joints)
    assert (drawing.keypoints[:, :2] >= 0).all() and (drawing.keypoints[:, :2] < SIZE).all()
    for x, y, _ in drawing.keypoints:
        near = drawing.mask[max(0, int(y) - 2) : int(y) + 3, max(0, int(x) - 2) : int(x) + 3]
        assert near.any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_limb_lengths_are_the_builds_whatever_the_stance(seed):
    generator = np.random.default_rng(seed)
    character = sample_robot(generator)
    for grade in ("plain", "hard"):
        points = keypoints_of(character, sample_stance(generator, grade))[:, :2]
        upper, lower = np.linalg.norm(points[2] - points[1]), np.linalg.norm(points[3] - points[2])
        assert upper / lower == pytest.approx(character.build.upper_arm / character.build.forearm, rel=1e-6)


def test_the_same_generator_draws_the_same_picture():
    first, second = (sample_drawing(np.random.default_rng(7), SUBJECT_ROBOT, "hard") for _ in range(2))
    assert (first.pixels == second.pixels).all() and (first.keypoints == second.keypoints).all()


def test_the_background_is_all_that_a_scene_changes():
    stance = sample_stance(np.random.default_rng(3), "plain")
    drawings = [draw(SUBJECT_PERSON, stance, scene, np.random.default_rng(4)) for scene in BACKGROUNDS]
    inside = np.logical_and.reduce([d.mask for d in drawings])
    eroded = inside & np.roll(inside, 1, 0) & np.roll(inside, -1, 0) & np.roll(inside, 1, 1) & np.roll(inside, -1, 1)
    for drawing in drawings[1:]:
        assert (drawing.mask == drawings[0].mask).all()
        change = np.abs(drawing.pixels[eroded].astype(int) - drawings[0].pixels[eroded])
        assert np.percentile(change, 95) <= 1  # an edge may shine through
        assert (drawing.pixels[~drawing.mask] != drawings[0].pixels[~drawing.mask]).any(axis=1).mean() > 0.9


def test_hard_stances_are_wider_than_plain_ones():
    generator = np.random.default_rng(5)
    mirror = np.array(PUPPET_13.mirror)

    def asymmetry(grade):
        shapes = [keypoints_of(SUBJECT_PERSON, sample_stance(generator, grade))[:, :2] for _ in range(200)]
        flipped = [(np.column_stack([-s[:, 0], s[:, 1]])[mirror]) for s in shapes]
        return np.mean(
            [np.linalg.norm((s - s.mean(0)) - (f - f.mean(0))) for s, f in zip(shapes, flipped, strict=True)]
        )

    assert asymmetry("hard") > 1.5 * asymmetry("plain")


def test_no_training_character_looks_like_a_shipped_subject():
    generator = np.random.default_rng(6)
    assert is_reserved(SUBJECT_ROBOT) and is_reserved(SUBJECT_PERSON)
    assert not any(is_reserved(sample_character(generator, person)) for person in (True, False) for _ in range(500))


def test_a_caption_names_as_many_parts_as_it_is_asked_for():
    assert SUBJECT_ROBOT.caption("on grass", 0) == "a robot on grass"
    assert SUBJECT_ROBOT.caption("on grass", 1) == "a robot with red body on grass"
    assert SUBJECT_PERSON.caption("at night") == "a person with green shirt and white trousers and purple hair at night"


def test_odd_robots_never_have_the_trained_number_of_limbs():
    generator = np.random.default_rng(8)
    limbs = {(c.arms, c.legs) for c in (sample_odd_robot(generator) for _ in range(100))}
    assert (2, 2) not in limbs and len(limbs) == 5
