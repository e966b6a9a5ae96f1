"""Subjects, poses, adapters, journals and sweeps that anyone may have written."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from search.journal import FILE, Journal, Observed, Proposed, read
from search.rungs import Continue
from search.views import show
from spaces import Recipe
from tests.search.examples import observed, small_sweep
from tests.security.mutations import BRIEFLY_AND_AT_LENGTH, TEXTS, fuzz, refused_or_read, spoiled, spoiled_bytes
from trainables.base import Base
from trainables.export import CONFIG, TOKEN, WEIGHTS, load_adapter, read_made_from, save_adapter
from trainables.export.kohya import kohya_keys
from trainables.export.lora import read_loras
from trainables.finetune import FineTune
from trainables.job import JudgesConfig
from trainables.judge_choice import choose
from trainables.poses import target_poses
from trainables.skeleton import load_pose, load_skeleton, render, skeleton_named
from trainables.skeleton.file import _HERE
from trainables.subject import Subject, skeleton_of
from trainables.subject.check import check_subject


@pytest.fixture
def subject(tiny_subject: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_subject, tmp_path / "subject"))


def use_subject(folder: Path) -> None:
    """What a sweep does with it before a trial starts, and a check, which goes on after the first mistake."""
    check_subject(folder)
    read = Subject.load(folder)
    for picture in read.pictures:
        picture.fitted(32)
    target_poses(read, "shipped")
    choose(JudgesConfig(), None, read)
    for pose in read.poses:
        render(pose.keypoints, 32, skeleton_of(read), source_size=pose.size)


@BRIEFLY_AND_AT_LENGTH
def test_a_subject_with_other_values_is_a_subject_or_refused(subject: Path, examples: int) -> None:
    """Each file in turn."""
    card = yaml.safe_load((subject / "subject.yaml").read_text())
    lines = {name: (subject / name).read_text() for name in ("metadata.jsonl", "poses.jsonl")}

    def with_card(values: object) -> None:
        (subject / "subject.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
        refused_or_read(lambda: use_subject(subject))

    fuzz(examples, with_card, values=spoiled(card))
    (subject / "subject.yaml").write_text(yaml.safe_dump(card))
    for name, text in lines.items():
        first, rest = text.split("\n", 1)

        with_line = partial(begin_with, subject / name, rest, lambda: use_subject(subject))
        fuzz(examples, lambda values: with_line(values), values=spoiled(json.loads(first)))  # noqa: B023
        (subject / name).write_text(text)


def begin_with(path: Path, rest: str, use: Callable[[], None], values: object) -> None:
    """Another first line."""
    path.write_text(json.dumps(values) + "\n" + rest)
    refused_or_read(use)


@pytest.mark.parametrize("name", ["subject.yaml", "metadata.jsonl", "poses.jsonl", "0.png", "0-mask.png"])
@BRIEFLY_AND_AT_LENGTH
def test_a_subject_with_other_bytes_is_a_subject_or_refused(subject: Path, name: str, examples: int) -> None:
    right = (subject / name).read_bytes()

    def check(data: bytes) -> None:
        (subject / name).write_bytes(data)
        refused_or_read(lambda: use_subject(subject))

    fuzz(examples, check, data=spoiled_bytes(right))


@pytest.mark.parametrize("kind", ["skeleton", "pose"])
@BRIEFLY_AND_AT_LENGTH
def test_skeletons_and_poses_are_read_or_refused(tmp_path: Path, kind: str, examples: int) -> None:
    skeleton, pose = tmp_path / "x.yaml", tmp_path / "x.json"
    robot = (_HERE / "robot-arm.yaml").read_text()
    joints = [[1, 2, 1] for _ in skeleton_named("robot-arm").joints]
    right_pose = {"skeleton": "x.yaml", "size": 64, "keypoints": joints}
    right = yaml.safe_load(robot) if kind == "skeleton" else right_pose
    skeleton.write_text(robot)
    pose.write_text(json.dumps(right_pose))
    path, dump, read = (skeleton, yaml.safe_dump, load_skeleton) if kind == "skeleton" else (pose, json.dumps, use_pose)

    def with_values(values: object) -> None:
        path.write_text(dump(values))
        refused_or_read(lambda: read(path))

    def with_bytes(data: bytes) -> None:
        path.write_bytes(data)
        refused_or_read(lambda: read(path))

    fuzz(examples, with_values, values=spoiled(right))
    fuzz(examples, with_bytes, data=spoiled_bytes(dump(right).encode()))


def use_pose(path: Path) -> None:
    keypoints, skeleton, size = load_pose(path)
    render(keypoints, 32, skeleton, size)


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return Base.load(tiny_base)


@pytest.fixture(scope="module")
def kept(base: Base, tiny_subject: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of UNet, text encoder and token, and the state of its fine-tune."""
    folder = tmp_path_factory.mktemp("kept")
    recipe = Recipe(rank=2, text_encoder="lora", text_encoder_rank=2, token="trained", targets="cross-kv")
    tune = FineTune(base, Subject.load(tiny_subject), recipe, 1)
    save_adapter(tune, folder)
    tune.save_state(folder / "state.safetensors")
    tune.remove()
    return folder


@pytest.fixture
def adapter(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "adapter"))


def use_adapter(base: Base, folder: Path) -> None:
    """Reads it as an export does, and puts it on and takes it off."""
    made_from = read_made_from(folder)
    made_from.prompt("a sks robot")
    for part, lora in read_loras(folder / WEIGHTS).items():
        kohya_keys(part, lora.scaled(0.5)) if part in ("unet", "text_encoder") else None
    pipeline = base.pipeline()
    try:
        load_adapter(pipeline, folder)
    finally:
        pipeline.unload_lora_weights()
        if made_from.spoken in pipeline.tokenizer.get_added_vocab():
            pipeline.unload_textual_inversion()


@BRIEFLY_AND_AT_LENGTH
def test_an_adapters_config_is_read_or_refused(adapter: Path, examples: int) -> None:
    right = json.loads((adapter / CONFIG).read_text())

    def with_values(values: object) -> None:
        (adapter / CONFIG).write_text(json.dumps(values))
        refused_or_read(lambda: read_made_from(adapter))

    def with_bytes(data: bytes) -> None:
        (adapter / CONFIG).write_bytes(data)
        refused_or_read(lambda: read_made_from(adapter))

    fuzz(examples, with_values, values=spoiled(right))
    fuzz(examples, with_bytes, data=spoiled_bytes(json.dumps(right).encode()))


@BRIEFLY_AND_AT_LENGTH
def test_what_weights_say_of_themselves_is_true_or_refused(base: Base, adapter: Path, examples: int) -> None:
    tensors = load_file(adapter / WEIGHTS)
    with safe_open(adapter / WEIGHTS, "pt") as file:
        metadata = file.metadata()
    (said,) = (name for name in metadata if name != "format")

    def check(values: object) -> None:
        save_file(tensors, adapter / WEIGHTS, metadata | {said: json.dumps(values)})
        refused_or_read(lambda: use_adapter(base, adapter))

    fuzz(min(examples, 400), check, values=spoiled(json.loads(metadata[said])))


@pytest.mark.parametrize("name", [WEIGHTS, TOKEN])
@BRIEFLY_AND_AT_LENGTH
def test_weights_with_other_bytes_are_read_or_refused(base: Base, adapter: Path, name: str, examples: int) -> None:
    """In the header, where all that can go wrong is said, most of all."""
    right = (adapter / name).read_bytes()
    header = 8 + int.from_bytes(right[:8], "little")

    def check(data: bytes) -> None:
        (adapter / name).write_bytes(data + right[header:])
        refused_or_read(lambda: use_adapter(base, adapter))

    fuzz(min(examples, 400), check, data=spoiled_bytes(right[:header]))


@BRIEFLY_AND_AT_LENGTH
def test_a_tensor_of_another_name_or_shape_is_refused(base: Base, adapter: Path, examples: int) -> None:
    tensors = load_file(adapter / WEIGHTS)
    with safe_open(adapter / WEIGHTS, "pt") as file:
        metadata = file.metadata()

    def check(number: int, name: str, change: Callable[..., object]) -> None:
        which = sorted(tensors)[number % len(tensors)]
        values = {key: value for key, value in tensors.items() if key != which}
        save_file(values | {name: change(tensors[which])}, adapter / WEIGHTS, metadata)
        refused_or_read(lambda: use_adapter(base, adapter))

    changes = [
        lambda t: t[:1].clone(),
        lambda t: t.flatten(),
        lambda t: t.int(),
        lambda t: t[None].clone(),
        lambda t: t,
    ]
    names = TEXTS.map(lambda text: text.encode("utf-8", "ignore").decode()) | st.sampled_from(sorted(tensors))
    fuzz(min(examples, 400), check, number=st.integers(0, 99), name=names, change=st.sampled_from(changes))


@BRIEFLY_AND_AT_LENGTH
def test_a_state_with_another_header_is_read_or_refused(
    base: Base, kept: Path, tiny_subject: Path, tmp_path: Path, examples: int
) -> None:
    right = (kept / "state.safetensors").read_bytes()
    header, path = 8 + int.from_bytes(right[:8], "little"), tmp_path / "state.safetensors"
    tune = FineTune(base, Subject.load(tiny_subject), read_made_from(kept).recipe, 1)

    def check(data: bytes) -> None:
        path.write_bytes(data + right[header:])
        refused_or_read(lambda: tune.load_state(path))

    try:
        fuzz(examples, check, data=spoiled_bytes(right[:header]))
    finally:
        tune.remove()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a sweep with two trials and an observation."""
    sweep = small_sweep(tmp_path)
    sweep.save()
    journal = Journal(sweep.folder)
    for trial in ("t0001", "t0002"):
        journal.append(Proposed(1.0, trial, Recipe(rank=4), {"rank": 4}, 7))
    seen = observed("t0001", 10, 0.5, 0.5, Recipe(rank=4))
    journal.append(Observed(2.0, (seen,), Continue(1, 1), str(sweep.folder / "trials" / "t0001" / "step-000010")))
    journal.close()
    return tmp_path


@BRIEFLY_AND_AT_LENGTH
def test_a_journal_is_read_or_refused(home: Path, examples: int) -> None:
    path = home / "small" / FILE
    lines = path.read_text().splitlines(keepends=True)

    def with_values(values: object, number: int) -> None:
        path.write_text("".join([*lines[:number], json.dumps(values) + "\n", *lines[number + 1 :]]))
        refused_or_read(lambda: show.as_json(show.find(home, "small")))

    def with_bytes(data: bytes) -> None:
        path.write_bytes(data)
        refused_or_read(lambda: show.as_json(show.find(home, "small")))

    for number, line in enumerate(lines):
        spoil = st.tuples(spoiled(json.loads(line)), st.just(number))
        fuzz(examples, lambda drawn: with_values(*drawn), drawn=spoil)
    fuzz(examples, with_bytes, data=spoiled_bytes("".join(lines).encode()))
    path.write_text("".join(lines))
    assert len(read(home / "small").table) == 1


@BRIEFLY_AND_AT_LENGTH
def test_a_sweeps_config_is_read_or_refused(home: Path, examples: int) -> None:
    path = home / "small" / "sweep.json"
    right = json.loads(path.read_text())

    def with_values(values: object) -> None:
        path.write_text(json.dumps(values))
        refused_or_read(lambda: show.as_json(show.find(home, "small")))

    def with_bytes(data: bytes) -> None:
        path.write_bytes(data)
        refused_or_read(lambda: show.as_json(show.find(home, "small")))

    fuzz(examples, with_values, values=spoiled(right))
    fuzz(examples, with_bytes, data=spoiled_bytes(json.dumps(right).encode()))
