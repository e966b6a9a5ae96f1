"""Spaces and recipes that anyone may have written."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from spaces import InputError, Recipe, load_space, parse_space, shipped_spaces, space_file
from spaces.text import DEEPEST, parse_json, parse_yaml, read_text
from tests.security.mutations import BRIEFLY_AND_AT_LENGTH, VALUES, fuzz, refused_or_read, spoiled, spoiled_bytes

TEXTS = {name: space_file(name).read_text(encoding="utf-8") for name in shipped_spaces()}
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def use(text: str) -> None:
    """What a sweep does first: points of the space, by chance and by its priors."""
    space = parse_space(text, "x", "x.yaml")
    generator = np.random.default_rng(0)
    for draw in (space.sample, space.sample_prior):
        assert isinstance(space.recipe(draw(generator)), Recipe)


@pytest.mark.parametrize("name", ["two-stage", "puppets"])
@BRIEFLY_AND_AT_LENGTH
def test_a_space_with_other_values_is_a_space_or_refused(name: str, examples: int) -> None:
    right = yaml.safe_load(TEXTS[name]) | {"inference": {"guidance": [3, 5], "lora_scale": 0.8}}
    as_text = spoiled(right).map(lambda values: yaml.safe_dump(values, allow_unicode=True))
    fuzz(examples, lambda text: refused_or_read(lambda: use(text)), text=as_text)


@BRIEFLY_AND_AT_LENGTH
def test_a_space_with_other_bytes_is_a_space_or_refused(tmp_path: Path, examples: int) -> None:
    path = tmp_path / "x.yaml"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused_or_read(lambda: load_space(str(path)))

    fuzz(examples, check, data=spoiled_bytes(TEXTS["puppets"].encode()))


@BRIEFLY_AND_AT_LENGTH
def test_a_recipe_of_any_values_is_a_recipe_or_refused(examples: int) -> None:
    right = {name: value for name, value in Recipe(pose_from=0, token="trained", prior="base").model_dump().items()}
    fuzz(examples, lambda values: refused_or_read(lambda: Recipe.parse(values)), values=spoiled(right) | VALUES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "values (aliases written out)"),
        ("base: &a [*a]\n", "alias contains itself"),
        ("a: &a {x: 1}\n" + "".join(f"{c}: &{c} {{<<: [*a, *a]}}\n" for c in "bcdefg"), "no such field"),
        ("rungs: " + "[" * 500 + "]" * 500, "nested more than"),
        ("rungs: " + "[" * 60 + "]" * 60, "nested more than"),
        ("about: !!python/object/apply:os.system [touch here]", "could not determine a constructor"),
        ("about: 2001-99-99", "month must be in 1..12"),
        ("about: !!bool x", "is not YAML"),
        ("about: [1]\nrecipe: {rank: [1, 2]}\nrungs: [1, 2]", "about: [1] should be"),
        ("rungs: [1, 1" + "0" * 400 + "]\nrecipe: {rank: [1, 2]}", "step counts up to 1,000,000"),
        ("eta: 1" + "0" * 400 + "\nrungs: [1]\nrecipe: {rank: [1, 2]}", "eta: 1000"),
        ("rungs: [1]\nrecipe: {rank: {low: 1, high: 1" + "0" * 400 + "}}", "should be a number"),
        ("rungs: [1]\nrecipe: {rank: [1, 2]}\nobjectives: [[identity], pose]", "should be a list, such as"),
        (
            "rungs: [1]\nrecipe: {rank: [1, 2]}\ninference: {guidance: &a [1" + ", 1" * 999 + "], lora_scale: *a, "
            "controlnet_scale: *a, controlnet_start: *a, controlnet_end: *a}",
            "1000 x 1000 x 1000 x 1000 x 1000 are 1000000000000000 ways",
        ),
    ],
)  # fmt: skip
def test_what_grows_without_end_or_is_no_plain_value_is_refused_at_once(text: str, said: str) -> None:
    began = time.monotonic()
    with pytest.raises(InputError) as refused:
        parse_space(text, "x", "x.yaml")
    assert said in str(refused.value) and len(str(refused.value)) < 2000
    assert time.monotonic() - began < 10


def test_files_without_end_are_refused(tmp_path: Path) -> None:
    """Too large, a pipe that nobody writes to, a device that never ends."""
    large, pipe, zero = tmp_path / "large.yaml", tmp_path / "pipe.yaml", tmp_path / "zero.yaml"
    large.write_text("about: x\n" * 50_000)
    os.mkfifo(pipe)
    zero.symlink_to("/dev/zero")
    for path, said in ((large, "is too large; at most 200,000 bytes"), (pipe, "no plain file"), (zero, "no plain")):
        with pytest.raises(InputError, match=said):
            load_space(str(path))
    with pytest.raises(InputError, match="is no name of a file"):
        load_space("a\0.yaml")


def test_the_largest_yaml_is_read_in_bounded_time() -> None:
    began = time.monotonic()
    for unit in ("- a\n", "[a,", "'"):
        try:
            parse_yaml(unit * (200_000 // len(unit)), "x")
        except InputError:
            continue
    assert time.monotonic() - began < 120


def test_json_is_bounded_too() -> None:
    for text, said in (
        ("[" * 100_000, "nested"), ("[" * 60 + "]" * 60, f"more than {DEEPEST} deep"), ("9" * 5000, "is not JSON"),
        ('{"a": 1, "a": 2}', "'a' is there twice"), ("", "is not JSON"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            parse_json(text, "x")
    assert parse_json(json.dumps({"a": [{"b": None}]}), "x") == {"a": [{"b": None}]}


def test_text_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfx")
    assert read_text(tmp_path / "x") == "x"
