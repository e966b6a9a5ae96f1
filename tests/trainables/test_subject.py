import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spaces import InputError
from tests.tiny import SIZE
from trainables.skeleton import skeleton_named
from trainables.subject import Picture, Subject


@pytest.fixture
def folder(tiny_subject: Path, tmp_path: Path) -> Path:
    """A copy that the test may spoil."""
    return Path(shutil.copytree(tiny_subject, tmp_path / "subject"))


def change_line(folder: Path, number: int, file: str = "metadata.jsonl", **values: object) -> None:
    """Changes fields of the line with that number, the first is 1; None takes a field out."""
    lines = [json.loads(line) for line in (folder / file).read_text().splitlines()]
    line = lines[number - 1] | values
    lines[number - 1] = {name: value for name, value in line.items() if value is not None}
    (folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines))


def change_card(folder: Path, **values: object) -> None:
    card = yaml.safe_load((folder / "subject.yaml").read_text()) | values
    (folder / "subject.yaml").write_text(yaml.safe_dump({k: v for k, v in card.items() if v is not None}))


def cut(path: Path) -> None:
    """Only the first half of the file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def jpeg(folder: Path) -> None:
    Image.open(folder / "0.png").save(folder / "0.jpg")
    cut(folder / "0.jpg")
    change_line(folder, 1, file_name="0.jpg")


def narrow(folder: Path, name: str) -> None:
    Image.new("L", (SIZE - 2, SIZE)).save(folder / name)


def a_folder(folder: Path) -> None:
    (folder / "1.png").unlink()
    (folder / "1.png").mkdir()


def huge(folder: Path, side: int) -> None:
    """A file of a few hundred kilobytes that says it is huge."""
    Image.new("1", (side, side)).save(folder / "2.png")


def float_tiff(folder: Path) -> None:
    Image.fromarray(np.zeros((SIZE, SIZE), dtype=np.float32)).save(folder / "2.tiff")
    change_line(folder, 3, file_name="2.tiff")


def move_joint(folder: Path, file: str, joint: list[float]) -> None:
    """The fourth joint of the second line."""
    keypoints = json.loads((folder / file).read_text().splitlines()[1])["keypoints"]
    change_line(folder, 2, file, keypoints=[*keypoints[:3], joint, *keypoints[4:]])


def own_skeleton(folder: Path) -> None:
    (folder / "bad.yaml").write_text("name: bad\njoints: [a, a]\nlimbs: [[a, a]]\n")
    change_card(folder, skeleton="bad.yaml")


MISTAKES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no folder": (shutil.rmtree, "subject", "is no folder"),
    "no card": (lambda f: (f / "subject.yaml").unlink(), "subject.yaml", "is missing"),
    "card is no YAML": (lambda f: (f / "subject.yaml").write_text("a: [b"), "subject.yaml", "is not YAML"),
    "card is a list": (lambda f: (f / "subject.yaml").write_text("- a"), "subject.yaml", "dictionary"),
    "no class": (lambda f: change_card(f, **{"class": None}), "subject.yaml", "class: is missing"),
    "token of two words": (lambda f: change_card(f, token="s k"), "subject.yaml", "token: 's k'"),
    "no prompts": (lambda f: change_card(f, prompts=[]), "subject.yaml", "prompts: []"),
    "prompt without name": (lambda f: change_card(f, prompts=["a dog"]), "subject.yaml", "prompts.0: 'a dog'"),
    "unknown skeleton": (lambda f: change_card(f, skeleton="squid"), "subject.yaml: skeleton", "'squid'"),
    "skeleton file missing": (
        lambda f: change_card(f, skeleton="x.yaml"),
        "subject.yaml: skeleton",
        "'x.yaml' is not in",
    ),
    "skeleton outside": (
        lambda f: change_card(f, skeleton="../x.yaml"),
        "subject.yaml: skeleton",
        "leaves the subject",
    ),
    "skeleton spoiled": (own_skeleton, "bad.yaml, line 2", "joints.1: 'a' is there twice"),
    "unknown field": (lambda f: change_card(f, tokens="sks"), "subject.yaml", "tokens: no such field"),
    "no metadata": (lambda f: (f / "metadata.jsonl").unlink(), "metadata.jsonl", "is missing"),
    "no pictures": (lambda f: (f / "metadata.jsonl").write_text("\n"), "metadata.jsonl", "has no pictures"),
    "not UTF-8": (lambda f: (f / "metadata.jsonl").write_bytes(b'{"text": "\xff"}'), "metadata.jsonl", "not UTF-8"),
    "not JSON": (lambda f: (f / "metadata.jsonl").write_text("\n{"), "metadata.jsonl:2", "is not JSON"),
    "JSON, no object": (lambda f: (f / "metadata.jsonl").write_text("3"), "metadata.jsonl:1", "3 is not right"),
    "no caption": (lambda f: change_line(f, 2, text=None), "metadata.jsonl:2", "text: is missing"),
    "no token": (lambda f: change_line(f, 2, text="a robot sksy"), "metadata.jsonl:2", "lacks the token 'sks'"),
    "no such file": (lambda f: (f / "1.png").unlink(), "metadata.jsonl:2: file_name", "'1.png' is not in"),
    "a folder": (a_folder, "metadata.jsonl:2: file_name", "'1.png' is a folder, not a picture"),
    "twice": (
        lambda f: change_line(f, 3, file_name="0.png"),
        "metadata.jsonl:3",
        "'0.png' is there twice, in line 1 too",
    ),
    "twice, spelled otherwise": (
        lambda f: change_line(f, 3, file_name="./0.png"),
        "metadata.jsonl:3",
        "is there twice",
    ),
    "a name with a zero": (lambda f: change_line(f, 1, file_name="a\0.png"), "metadata.jsonl:1", "no name of a file"),
    "a name without end": (lambda f: change_line(f, 1, file_name="a" * 300), "metadata.jsonl:1", "'aaa"),
    "outside": (lambda f: change_line(f, 1, file_name="../x.png"), "metadata.jsonl:1", "leaves the subject's folder"),
    "absolute": (lambda f: change_line(f, 1, file_name="/x.png"), "metadata.jsonl:1", "leaves the subject's folder"),
    "mask outside": (lambda f: change_line(f, 1, mask="../m.png"), "metadata.jsonl:1: mask", "leaves"),
    "truncated PNG": (lambda f: cut(f / "2.png"), "2.png", "is not a whole picture"),
    "truncated JPEG": (jpeg, "0.jpg", "is not a whole picture"),
    "empty file": (lambda f: (f / "2.png").write_bytes(b""), "2.png", "is no picture that can be read"),
    "no picture": (lambda f: (f / "2.png").write_text("hello"), "2.png", "should be one of JPEG, PNG, WEBP"),
    "a page": (lambda f: (f / "2.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n"), "2.png", "is no picture"),
    "one pixel": (lambda f: Image.new("RGB", (1, 1)).save(f / "2.png"), "2.png", "is 1 x 1 pixels; each side should"),
    "100 megapixels": (lambda f: huge(f, 10_000), "2.png", "is 10000 x 10000 pixels; at most 64 million"),
    "400 megapixels": (lambda f: huge(f, 20_000), "2.png", "at most 64 million pixels are read"),
    "floating point": (float_tiff, "2.tiff", "holds floating-point numbers"),
    "black mask": (
        lambda f: Image.new("L", (SIZE, SIZE)).save(f / "1-mask.png"),
        "metadata.jsonl:2: mask",
        "black all",
    ),
    "truncated mask": (lambda f: cut(f / "2-mask.png"), "2-mask.png", "is not a whole picture"),
    "mask of another size": (lambda f: narrow(f, "1-mask.png"), "metadata.jsonl:2: mask", "30 x 32 pixels"),
    "infinite": (lambda f: change_line(f, 1, keypoints=[[float("inf"), 0, 1]]), "metadata.jsonl:1", "keypoints.0.0"),
    "not a number": (lambda f: change_line(f, 1, keypoints=[[float("nan"), 0, 1]]), "metadata.jsonl:1", "finite"),
    "pairs": (lambda f: change_line(f, 1, keypoints=[[1, 2]]), "metadata.jsonl:1", "keypoints.0"),
    "too few joints": (
        lambda f: change_line(f, 2, keypoints=[[1, 2, 1]]),
        "metadata.jsonl:2",
        "1 joints, should be 13",
    ),
    "joint outside": (
        lambda f: move_joint(f, "metadata.jsonl", [33, 4, 1]),
        "metadata.jsonl:2",
        "(arm0_wrist) at 33, 4 is",
    ),
    "joint above": (lambda f: move_joint(f, "metadata.jsonl", [3, -0.1, 1]), "metadata.jsonl:2", "outside the 32 x 32"),
    "odd visibility": (
        lambda f: move_joint(f, "metadata.jsonl", [3, 3, -1]),
        "metadata.jsonl:2",
        "visible -1 should be 1",
    ),
    "pose outside": (lambda f: move_joint(f, "poses.jsonl", [3, 99, 1]), "poses.jsonl:2", "visible should be 0"),
    "pose grade": (lambda f: change_line(f, 3, "poses.jsonl", grade="odd"), "poses.jsonl:3", "grade: 'odd'"),
    "pose joints": (lambda f: change_line(f, 4, "poses.jsonl", keypoints=[]), "poses.jsonl:4", "0 joints"),
    "pose size": (lambda f: change_line(f, 1, "poses.jsonl", size=0), "poses.jsonl:1", "size: 0"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_said_in_one_line_that_names_the_file(folder: Path, name: str) -> None:
    spoil, where, problem = MISTAKES[name]
    spoil(folder)
    with pytest.raises(InputError) as caught:
        Subject.load(folder)
    message = str(caught.value)
    assert where in message and problem in message
    assert "\n" not in message and len(message) < 400


def test_a_link_that_leaves_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "0.png", tmp_path / "elsewhere.png")
    (folder / "0.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(InputError, match="leaves the subject's folder"):
        Subject.load(folder)


def test_a_mask_that_is_a_link_to_elsewhere_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "0-mask.png", tmp_path / "elsewhere.png")
    (folder / "0-mask.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(InputError, match=r"metadata.jsonl:1: mask: .*leaves the subject's folder"):
        Subject.load(folder)


def test_a_byte_order_mark_and_carriage_returns_are_no_mistake(folder: Path) -> None:
    before = Subject.load(folder)
    for name in ("subject.yaml", "metadata.jsonl", "poses.jsonl"):
        text = (folder / name).read_text()
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    after = Subject.load(folder)
    assert [p.caption for p in after.pictures] == [p.caption for p in before.pictures]
    assert after.prompts == before.prompts and len(after.poses) == len(before.poses)


def test_sixteen_bits_are_read_right(folder: Path) -> None:
    """Grey and coloured, the brightness is that of the same picture with 8 bits."""
    grey = np.tile(np.linspace(0, 65535, SIZE).astype(np.uint16), (SIZE, 1))
    Image.fromarray(grey).save(folder / "0.png")
    colour = np.stack([grey, grey.T, np.zeros_like(grey)], axis=2)
    assert cv2.imwrite(str(folder / "1.png"), colour[..., ::-1])
    pictures = Subject.load(folder).pictures
    assert np.abs(pictures[0].pixels.astype(int) - np.round(grey / 257)[..., None]).max() <= 1
    assert np.abs(pictures[1].pixels.astype(int) - np.round(colour / 257)).max() <= 1


def test_what_is_transparent_is_white_and_print_colours_are_read(folder: Path) -> None:
    clear = Image.new("RGBA", (SIZE, SIZE), (200, 0, 0, 0))
    clear.paste((0, 0, 200, 255), (8, 8, 24, 24))
    clear.save(folder / "0.png")
    Image.new("CMYK", (SIZE, SIZE), (0, 255, 255, 0)).save(folder / "1.jpg")
    change_line(folder, 2, file_name="1.jpg")
    first, second = (picture.pixels for picture in Subject.load(folder).pictures[:2])
    assert (first[0, 0] == 255).all() and tuple(first[16, 16]) == (0, 0, 200)
    assert second[16, 16, 0] > 240 and second[16, 16, 1:].max() < 40


def test_a_mask_may_be_transparent_or_black_and_white(folder: Path) -> None:
    """What is white and opaque is the subject, whatever the file's kind."""
    before = [picture.mask for picture in Subject.load(folder).pictures]
    mask = Image.open(folder / "0-mask.png")
    clear = Image.new("RGBA", mask.size, (255, 255, 255, 255))
    clear.putalpha(mask)
    clear.save(folder / "0-mask.png")
    Image.open(folder / "1-mask.png").convert("1").save(folder / "1-mask.png")
    after = [picture.mask for picture in Subject.load(folder).pictures]
    assert all((one == other).all() for one, other in zip(before, after, strict=True))


def test_a_skeleton_of_the_subjects_own(folder: Path) -> None:
    (folder / "mine.yaml").write_text("name: mine\njoints: [a, b]\nlimbs: [[a, b]]\n")
    change_card(folder, skeleton="mine.yaml")
    for number in (1, 2, 3):
        change_line(folder, number, keypoints=[[1, 1, 1], [30, 30, 1]])
    (folder / "poses.jsonl").unlink()
    subject = Subject.load(folder)
    assert skeleton_named(subject.skeleton).joints == ("a", "b")
    assert [len(picture.keypoints) for picture in subject.pictures] == [2, 2, 2]


def test_everything_in_the_folder_is_read(tiny_subject: Path) -> None:
    subject = Subject.load(tiny_subject)
    assert (subject.token, subject.class_noun, subject.skeleton) == ("sks", "robot", "puppet-13")
    assert [pose.grade for pose in subject.poses] == ["plain", "plain", "hard", "hard"]
    assert all(pose.size == SIZE and pose.keypoints.shape == (13, 3) for pose in subject.poses)
    assert [picture.caption for picture in subject.pictures] == [
        f"a sks robot on {x}" for x in ("grass", "sand", "snow")
    ]
    for picture in subject.pictures:
        assert picture.pixels.shape == (SIZE, SIZE, 3) and picture.pixels.dtype == np.uint8
        assert picture.keypoints.shape == (13, 3)
        red = picture.pixels[picture.mask].mean(axis=0)
        assert red.argmax() == 0 and red[0] == 220


def test_what_is_optional_may_be_missing(folder: Path) -> None:
    (folder / "poses.jsonl").unlink()
    change_card(folder, skeleton=None)
    for number in (1, 2, 3):
        change_line(folder, number, keypoints=None, mask=None, author="somebody")
    subject = Subject.load(folder)
    assert subject.poses == () and subject.skeleton is None
    assert all(picture.keypoints is None and picture.mask is None for picture in subject.pictures)


def test_poses_need_a_size_when_the_pictures_have_no_common_one(folder: Path) -> None:
    Image.new("RGB", (40, 30)).save(folder / "0.png")
    change_line(folder, 1, mask=None)
    with pytest.raises(InputError, match=r"poses.jsonl:1: size"):
        Subject.load(folder)
    for number in (1, 2, 3, 4):
        change_line(folder, number, "poses.jsonl", size=64)
    assert {pose.size for pose in Subject.load(folder).poses} == {64}


def test_a_turned_photograph_is_turned_back(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (40, 30)).save(folder / "0.jpg", exif=exif)
    change_line(folder, 1, file_name="0.jpg", mask=None)
    for number in (1, 2, 3, 4):
        change_line(folder, number, "poses.jsonl", size=64)
    assert Subject.load(folder).pictures[0].pixels.shape == (40, 30, 3)


def test_a_name_has_the_token_or_not(tiny_subject: Path) -> None:
    subject = Subject.load(tiny_subject)
    assert subject.named("a {name} at {time}", token=True) == "a sks robot at {time}"
    assert subject.named("a {name} at {time}", token=False) == "a robot at {time}"


@given(
    width=st.integers(20, 90),
    height=st.integers(20, 90),
    size=st.integers(16, 64),
    x=st.floats(0.3, 0.7),
    y=st.floats(0.3, 0.7),
)
def test_fitting_moves_pixels_mask_and_keypoints_alike(width: int, height: int, size: int, x: float, y: float) -> None:
    """A square around a keypoint is still around it afterwards."""
    side = min(width, height)
    centre = np.array([width / 2 + (x - 0.5) * side, height / 2 + (y - 0.5) * side])
    rows, columns = np.mgrid[:height, :width] + 0.5
    mask = (abs(columns - centre[0]) < side / 6) & (abs(rows - centre[1]) < side / 6)
    pixels = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
    fitted = Picture(Path("x.png"), pixels, "a sks", np.array([[*centre, 1.0]]), mask).fitted(size)
    assert fitted.pixels.shape == (size, size, 3) and fitted.mask.shape == (size, size)
    for shown in (fitted.mask, fitted.pixels[..., 0] > 127):
        found = np.argwhere(shown).mean(axis=0)[::-1] + 0.5
        assert np.abs(found - fitted.keypoints[0, :2]).max() < 1 + size / side
    assert fitted.keypoints[0, 2] == 1


def test_a_joint_that_is_cut_away_is_no_longer_visible() -> None:
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    picture = Picture(Path("x.png"), pixels, "a sks", np.array([[5.0, 10, 1], [20, 10, 1], [20, 10, 0]]), None)
    assert picture.fitted(16).keypoints[:, 2].tolist() == [0, 1, 0]


def test_a_picture_that_fits_is_not_touched(tiny_subject: Path) -> None:
    picture = Subject.load(tiny_subject).pictures[0]
    assert picture.fitted(SIZE) is picture
