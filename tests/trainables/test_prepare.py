"""From photographs to a subject folder."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from search import cli
from spaces import InputError
from trainables.poses.people import people_poses
from trainables.prepare import is_person, prepare
from trainables.prepare.photos import Photo, find_photos, read_photo, square, subject_box
from trainables.subject import Subject

SIZE = 64
SPIDER = "name: spider\njoints: [hub, a, b]\nlimbs: [[hub, a], [hub, b]]\nmirror: [[a, b]]\n"


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth noise: photographs that differ from each other."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """One of each kind."""
    folder = tmp_path / "photos"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    scene(120, 80, 1).save(folder / "1.jpg", exif=exif)
    clear = Image.new("RGBA", (200, 100), (9, 9, 9, 0))
    clear.paste((200, 30, 30, 255), (140, 40, 170, 80))
    clear.save(folder / "2.png")
    scene(90, 90, 3).convert("L").save(folder / "3.webp")
    scene(90, 70, 4).convert("CMYK").save(folder / "10.jpg")
    Image.fromarray(np.tile(np.linspace(0, 65535, 80).astype(np.uint16), (80, 1))).save(folder / "11.png")
    (folder / "notes.txt").write_text("not a photograph")
    return folder


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["posefront", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_photographs_of_every_kind_become_a_subject(photos: Path, tmp_path: Path) -> None:
    made = prepare(photos, tmp_path / "out", "robot", token="zwx", size=SIZE)
    subject = Subject.load(tmp_path / "out")
    assert (subject.token, subject.class_noun, subject.skeleton) == ("zwx", "robot", None)
    assert [picture.pixels.shape for picture in subject.pictures] == [(SIZE, SIZE, 3)] * 5
    assert {picture.caption for picture in subject.pictures} == {"a photo of zwx robot"}
    assert all("{name}" in prompt for prompt in subject.prompts) and len(subject.prompts) >= 5
    ramp = subject.pictures[4].pixels  # 16 bits, dark to bright
    assert ramp[0, 0].max() < 10 and ramp[0, -1].min() > 245 and abs(int(ramp[5, SIZE // 2, 0]) - 128) < 4
    assert any("skeleton" in step for step in made.steps) and any("annotate" in step for step in made.steps)
    assert any("skeleton: is missing" in finding.text for finding in made.findings)


def test_a_turned_photograph_is_cut_upright(photos: Path, tmp_path: Path) -> None:
    prepare(photos, tmp_path / "out", "robot", size=SIZE)
    upright = np.asarray(scene(120, 80, 1).rotate(-90, expand=True).crop((0, 20, 80, 100)).resize((SIZE, SIZE)))
    found = Subject.load(tmp_path / "out").pictures[0].pixels
    assert np.abs(found.astype(int) - upright).mean() < 6


def test_what_is_transparent_is_white_and_the_rest_is_the_mask(photos: Path, tmp_path: Path) -> None:
    """The square is around what is opaque, at the right of the photograph."""
    prepare(photos, tmp_path / "out", "robot", size=SIZE)
    picture = Subject.load(tmp_path / "out").pictures[1]
    assert (picture.pixels[0, 0] == 255).all()
    red = (picture.pixels[..., 0] > 150) & (picture.pixels[..., 1] < 120)
    assert (red & picture.mask).sum() / (red | picture.mask).sum() > 0.9 and picture.mask.sum() == 30 * 40
    rows, columns = np.nonzero(picture.mask)
    assert abs(columns.mean() + 0.5 - SIZE / 2) < 1.5 and abs(rows.mean() + 0.5 - SIZE / 2) < 5


def test_a_profile_is_brought_to_srgb(tmp_path: Path) -> None:
    """A profile whose red and blue are exchanged says that red is blue; one that cannot be read changes nothing."""
    picture = Image.new("RGB", (32, 32), (180, 60, 60))
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned = plain.replace(b"rXYZ", b"swap").replace(b"bXYZ", b"rXYZ").replace(b"swap", b"bXYZ")
    for name, profile in (("same.png", plain), ("broken.png", b"no profile"), ("turned.png", turned)):
        picture.save(tmp_path / name, icc_profile=profile)
    for name in ("same.png", "broken.png"):
        assert np.abs(read_photo(tmp_path / name).pixels.astype(int) - (180, 60, 60)).max() <= 2
    assert np.abs(read_photo(tmp_path / "turned.png").pixels.astype(int) - (60, 60, 180)).max() <= 3


def test_masks_beside_the_photographs_are_taken(photos: Path, tmp_path: Path) -> None:
    (photos / "masks").mkdir()
    mask = Image.new("L", (90, 90))
    mask.paste(255, (20, 20, 60, 60))
    mask.save(photos / "masks" / "3.png")
    prepare(photos, tmp_path / "out", "robot", size=SIZE)
    picture = Subject.load(tmp_path / "out").pictures[2]
    assert abs(picture.mask.mean() - 40 * 40 / 64**2) < 0.03  # a square of 64 around 40 x 40
    Image.new("L", (80, 90)).save(photos / "masks" / "3.png")
    with pytest.raises(InputError, match=r"3.png: is 80 x 90 pixels, its photograph is 90 x 90"):
        prepare(photos, tmp_path / "other", "robot", size=SIZE)


def test_people_get_joints_masks_and_poses(photos: Path, tmp_path: Path) -> None:
    """The joints go along with the crop; where nobody is found, that is said."""
    person = people_poses()[0].keypoints

    def detect(pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[1:3]
        found = (person * (height / 512, height / 512, 1))[None] + (width / 2 - height / 2, 0, 0)
        return found if (height, width) != (90, 90) else np.zeros((1, 18, 3))

    made = prepare(photos, tmp_path / "out", "tall woman", size=SIZE, detect=detect)
    subject = made.subject
    assert subject.skeleton == "openpose-18" and len(subject.poses) == len(people_poses())
    joints = [picture.keypoints is not None for picture in subject.pictures]
    assert joints == [True, True, False, True, True]
    assert "3.webp: no person was found; annotate it by hand" in made.notes
    photo = subject.pictures[0]  # 80 x 120
    seen = photo.keypoints[photo.keypoints[:, 2] > 0]
    assert len(seen) >= 10 and seen[:, :2].min() >= 0 and seen[:, :2].max() <= SIZE
    assert photo.mask[seen[:, 1].astype(int).clip(0, 63), seen[:, 0].astype(int).clip(0, 63)].all()


def test_a_skeleton_file_goes_along(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "spider.yaml").write_text(SPIDER)
    made = prepare(photos, tmp_path / "out", "robot", skeleton=str(tmp_path / "spider.yaml"), size=SIZE)
    assert yaml.safe_load((tmp_path / "out" / "subject.yaml").read_text())["skeleton"] == "skeleton.yaml"
    assert (tmp_path / "out" / "skeleton.yaml").read_text() == SPIDER
    assert made.subject.skeleton.endswith("out/skeleton.yaml")
    assert any("posefront subject poses" in step for step in made.steps)


def test_nothing_is_written_where_one_photograph_is_bad(photos: Path, tmp_path: Path) -> None:
    (photos / "4.jpg").write_bytes((photos / "1.jpg").read_bytes()[:300])
    Image.new("RGB", (20, 20)).save(photos / "5.png")
    with pytest.raises(InputError) as caught:
        prepare(photos, tmp_path / "out", "robot", size=SIZE)
    said = str(caught.value)
    assert "4.jpg: is not a whole picture" in said and "5.png: is 20 x 20 pixels" in said and "at least 32" in said
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_subject_is_only_replaced_when_told_so(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(photos, out, "robot", size=SIZE)
    with pytest.raises(InputError, match=r"is there already; .*--force"):
        prepare(photos, out, "dog", size=SIZE)
    assert Subject.load(out).class_noun == "robot"
    prepare(photos, out, "dog", size=SIZE, force=True)
    assert Subject.load(out).class_noun == "dog"
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "page").write_text("dear")
    with pytest.raises(InputError, match="is no subject's folder, so --force does not replace it"):
        prepare(photos, tmp_path / "diary", "dog", size=SIZE, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["diary", "out", "photos"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"class_noun": " "}, "--class"),
        ({"class_noun": "robot", "token": "s k"}, "--token: 's k' should be one rare word"),
        ({"class_noun": "robot", "size": 63}, "--size: 63 should be"),
        ({"class_noun": "robot", "skeleton": "squid"}, "--skeleton: 'squid' is not a skeleton"),
        ({"class_noun": "robot", "detect": np.asarray}, "--openpose: finds people's joints"),
    ],
)
def test_an_option_that_is_wrong_is_named(photos: Path, tmp_path: Path, options, said) -> None:
    with pytest.raises(InputError) as caught:
        prepare(photos, tmp_path / "out", **options)
    assert said in str(caught.value) and not (tmp_path / "out").exists()


def test_the_subject_may_not_take_the_photographs_place(photos: Path, tmp_path: Path) -> None:
    for out in (photos, tmp_path):
        with pytest.raises(InputError, match="holds the photographs"):
            prepare(photos, out, "robot", size=SIZE, force=True)
    assert len(find_photos(photos)) == 5


def test_photographs_are_in_the_order_that_people_count_in(photos: Path, tmp_path: Path) -> None:
    assert [path.name for path in find_photos(photos)] == ["1.jpg", "2.png", "3.webp", "10.jpg", "11.png"]
    (photos / "a.HEIC").write_bytes(b"x")
    with pytest.raises(InputError, match=r"a.HEIC: cannot be read; save it as"):
        find_photos(photos)
    with pytest.raises(InputError, match="has no photographs"):
        find_photos(tmp_path)


@given(
    width=st.integers(20, 900), height=st.integers(20, 900), size=st.sampled_from([64, 256, 512]),
    ends=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)  # fmt: skip
def test_the_square_is_inside_and_holds_the_subject_where_it_can(width, height, size, ends) -> None:
    x, y = sorted(ends[:2]), sorted(ends[2:])
    box = (x[0] * width, y[0] * height, x[1] * width, y[1] * height)
    left, top, side = square(width, height, box, size)
    assert left >= 0 and top >= 0 and left + side <= width + 1e-6 and top + side <= height + 1e-6
    longest = max(box[2] - box[0], box[3] - box[1])
    if longest <= side:
        assert left <= box[0] + 1e-6 and top <= box[1] + 1e-6
        assert box[2] <= left + side + 1e-6 and box[3] <= top + side + 1e-6
    assert side >= min(width, height, size)  # rather more of the surroundings than enlarged


def test_the_box_is_around_mask_and_joints() -> None:
    mask = np.zeros((40, 60), dtype=bool)
    mask[10:20, 30:50] = True
    photo = Photo(Path("x"), np.zeros((40, 60, 3), np.uint8), mask, np.array([[5.0, 30, 1], [0, 0, 0]]))
    assert subject_box(photo) == (5, 10, 50, 30)
    assert subject_box(Photo(Path("x"), photo.pixels, None)) is None


def test_who_is_a_person() -> None:
    assert is_person("woman") and is_person("old Man") and not is_person("robot") and not is_person("snowman")


def test_the_command_says_what_was_made_and_what_is_next(photos: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    options = (photos, "-o", out, "--class", "person", "--openpose", "none", "--size", SIZE)
    assert call(monkeypatch, "prepare", *options) == 0
    said = capsys.readouterr().out
    assert "5 pictures, 0 with joints, 1 with masks, 30 target poses" in said and f"posefront annotate {out}" in said
    assert call(monkeypatch, "prepare", *options) == 2
    assert "--force" in capsys.readouterr().err
    lines = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    assert [line["file_name"] for line in lines] == [f"{number:02d}.png" for number in range(5)]


def test_openpose_that_is_not_there_is_one_line(photos: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    options = (photos, "-o", tmp_path / "out", "--class", "person", "--openpose", tmp_path)
    assert call(monkeypatch, "prepare", *options) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert (
        len(said) == 1
        and "body_pose_model.pth, OpenPose" in said[0]
        and "or none to mark the joints by hand" in said[0]
    )
    assert not (tmp_path / "out").exists()
