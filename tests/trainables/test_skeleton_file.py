"""Skeletons that people write."""

import json
from pathlib import Path

import numpy as np
import pytest

from spaces import InputError
from trainables.skeleton import SKELETONS, load_pose, load_skeleton, region, render, skeleton_named

SPIDER = """name: spider
joints: [hub, a, a_foot, b, b_foot]
limbs:
  - [hub, a]
  - [a, a_foot]
  - [hub, b]
  - [b, b_foot]
mirror: [[a, b], [a_foot, b_foot]]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "spider.yaml"
    path.write_text(SPIDER)
    return path


def test_a_file_says_all_of_a_skeleton(file: Path) -> None:
    spider = load_skeleton(file)
    assert (spider.name, spider.joints) == ("spider", ("hub", "a", "a_foot", "b", "b_foot"))
    assert spider.limbs == ((0, 1), (1, 2), (0, 3), (3, 4)) and spider.mirror == (0, 3, 4, 1, 2)
    assert spider.root == 0 and spider.drawing == "openpose" and spider.body == ()
    file.write_text(SPIDER + "root: b\nbody: [hub, a, b]\ndrawing: puppets\n")
    spider = load_skeleton(file)
    assert (spider.root, spider.body, spider.drawing) == (3, (0, 1, 3), "puppets")


def test_the_root_is_where_most_limbs_meet_or_a_chains_first_joint(file: Path) -> None:
    file.write_text("name: star\njoints: [tip, hub, x, y]\nlimbs: [[tip, hub], [hub, x], [hub, y]]\n")
    assert load_skeleton(file).root == 1
    file.write_text("name: chain\njoints: [foot, middle, tip]\nlimbs: [[foot, middle], [middle, tip]]\n")
    assert load_skeleton(file).root == 0


def test_a_byte_order_mark_and_carriage_returns_are_no_mistake(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + SPIDER.replace("\n", "\r\n").encode())
    assert load_skeleton(file).name == "spider"


MISTAKES = {
    "is not YAML": ("joints: [a", "is not YAML"),
    "a list": ("- a", "should be a mapping with name, joints"),
    "no limbs": ("name: x\njoints: [a, b]\n", "limbs: is missing"),
    "an unknown field": (SPIDER + "colour: red\n", "line 9: colour: no such field; fields are name, joints"),
    "a joint twice": (SPIDER.replace("b_foot]\nl", "a]\nl"), "line 2: joints.4: 'a' is there twice"),
    "a joint that is a number": (SPIDER.replace("[hub, a, a_foot,", "[hub, 7, a_foot,"), "line 2: joints.1: 7"),
    "an unknown joint": (SPIDER.replace("[hub, b]", "[hub, c]"), "line 6: limbs.2: 'c' is not a joint; joints are hub"),
    "three ends": (SPIDER.replace("[hub, b]", "[hub, b, a]"), "line 6: limbs.2"),
    "a limb to itself": (SPIDER.replace("[hub, b]", "[b, b]"), "line 6: limbs.2: joins 'b' with itself"),
    "a limb twice": (SPIDER.replace("[hub, b]", "[a, hub]"), "line 6: limbs.2: a to hub is there twice"),
    "a joint on its own": (SPIDER.replace("  - [hub, b]\n", ""), "line 2: joints.3: no limbs lead from 'hub' to 'b'"),
    "an odd mirror": (SPIDER.replace("[a, b], [a_foot", "[a, b], [a"), "line 8: mirror.1: 'a' has the other side 'b'"),
    "its own mirror": (SPIDER.replace("[[a, b]", "[[hub, hub]"), "line 8: mirror.0: 'hub' is its own other side"),
    "an unknown root": (SPIDER + "root: top\n", "line 9: root: 'top' is not a joint"),
    "an unknown body": (SPIDER + "body: [hub, top]\n", "line 9: body.1: 'top' is not a joint"),
    "an unknown drawing": (SPIDER + "drawing: ink\n", "line 9: drawing: 'ink' is not right"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_names_file_line_field_and_what_is_right(file: Path, name: str) -> None:
    text, said = MISTAKES[name]
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_skeleton(file)
    assert str(file) in str(caught.value) and said in str(caught.value)


def test_bytes_that_are_no_text_are_refused(file: Path) -> None:
    file.write_bytes(b"name: \xff")
    with pytest.raises(InputError, match=r"is not UTF-8 \(byte 6\)"):
        load_skeleton(file)


def test_a_name_is_a_shipped_skeleton_or_a_file(file: Path) -> None:
    assert skeleton_named("spider.yaml", folder=file.parent) == skeleton_named(str(file)) == load_skeleton(file)
    for name, skeleton in SKELETONS.items():
        assert skeleton_named(name) is skeleton and skeleton.name == name
    with pytest.raises(InputError, match="'squid' is not a skeleton; there are puppet-13, openpose-18"):
        skeleton_named("squid")
    with pytest.raises(InputError, match=r"subject.yaml: 'squid.yaml' is not in"):
        skeleton_named("squid.yaml", "subject.yaml", file.parent)


def test_a_pose_may_name_the_file_beside_it(file: Path) -> None:
    pose = file.parent / "pose.json"
    keypoints = [[1, 1, 1], [2, 2, 1], [3, 3, 1], [4, 4, 1], [5, 5, 0]]
    pose.write_text(json.dumps({"skeleton": "spider.yaml", "size": 8, "keypoints": keypoints}))
    found, skeleton, size = load_pose(pose)
    assert (found.tolist(), skeleton.name, size) == (keypoints, "spider", 8)


@pytest.mark.parametrize("name", ["quadruped", "robot-arm"])
def test_shipped_skeletons_are_drawn_and_have_a_region(name: str) -> None:
    skeleton = SKELETONS[name]
    angles = np.linspace(0, 2 * np.pi, len(skeleton.joints), endpoint=False)
    keypoints = np.column_stack([128 + 100 * np.cos(angles), 128 + 100 * np.sin(angles), np.ones(len(angles))])
    pixels = np.asarray(render(keypoints, 256, skeleton))
    for joint, (x, y, _) in enumerate(keypoints):
        assert np.abs(pixels[int(y), int(x)].astype(int) - skeleton.joint_colour(joint)).max() <= 2
    assert region(keypoints, 256, skeleton)[keypoints[:, 1].astype(int), keypoints[:, 0].astype(int)].all()


def test_people_are_drawn_as_the_real_controlnet_learned_them() -> None:
    """Hue of 20 degrees a step, limbs at 60 % under joints in full, 8 pixels wide at 512."""
    skeleton = SKELETONS["openpose-18"]
    keypoints = np.zeros((18, 3))
    keypoints[2], keypoints[3] = (100, 256, 1), (400, 256, 1)  # right shoulder to right elbow, the third limb
    pixels = np.asarray(render(keypoints, 512, skeleton))
    assert skeleton.colour(2) == (255, 170, 0) and skeleton.joint_colour(3) == (255, 255, 0)
    assert tuple(pixels[256, 250]) == (153, 102, 0)
    assert tuple(pixels[256, 100]) == (255, 170, 0) and tuple(pixels[256, 400]) == (255, 255, 0)
    assert 7 <= (pixels[:, 250].any(axis=1)).sum() <= 9
