import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spaces import InputError
from tests.s3 import Server
from trainables.storage import StorageError, Store, parse_address, within

LETTERS = st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"), exclude_characters="/\\")
NAMES = st.text(LETTERS, min_size=1, max_size=12).filter(lambda name: name not in (".", ".."))
TREES = st.recursive(
    st.binary(max_size=64), lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=4), max_leaves=8
).filter(lambda tree: isinstance(tree, dict))


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, s3: Server) -> Store:
    where = str(tmp_path / "store") if request.param == "folder" else f"s3://{s3.bucket()}/runs"
    return Store(parse_address(where), patience=20)


def write_tree(tree: dict, folder: Path) -> dict[str, bytes]:
    """Its files by name."""
    found = {}
    for name, content in tree.items():
        if isinstance(content, dict):
            found |= {f"{name}/{inner}": data for inner, data in write_tree(content, folder / name).items()}
        else:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            found[name] = content
    return found


def read_tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES)
def test_any_tree_of_files_comes_back_as_it_was(store, tmp_path_factory, tree):
    here, back = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("back")
    files = write_tree(tree, here)
    prefix = here.name
    store.push_tree(here, prefix)
    store.pull_tree(prefix, back)
    assert read_tree(back) == files
    assert {name: file.size for name, file in store.files(prefix).items()} == {
        f"{prefix}/{name}": len(data) for name, data in files.items()
    }
    store.delete(list(store.files(prefix)))
    assert store.files(prefix) == {}


def test_files_that_are_large_come_back(store, tmp_path):
    data = os.urandom(12_000_000)  # more than one part of an upload
    (tmp_path / "large").write_bytes(data)
    store.push(tmp_path / "large", "a/large")
    store.pull("a/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data


def test_what_is_not_there(store, tmp_path):
    assert store.read("none") is None and store.files("none") == {}
    with pytest.raises(FileNotFoundError):
        store.pull("none/x", tmp_path / "back")
    store.delete(["none/x"])
    assert not (tmp_path / "back").exists() and not list(tmp_path.glob(".*.partial"))


def test_names_that_begin_alike_are_not_below_each_other(store):
    for name in ("trials/t1/x", "trials/t10/x", "trials/t1.json"):
        store.write(name, b"1")
    assert set(store.files("trials/t1")) == {"trials/t1/x"}
    assert set(store.files()) == {"trials/t1/x", "trials/t10/x", "trials/t1.json"}


def test_a_file_is_replaced_whole_while_others_read_it(store):
    """Readers see one content or the other, never half of one."""
    contents = [bytes([n]) * 200_000 for n in (1, 2)]
    store.write("x", contents[0])
    done = threading.Event()

    def write() -> None:
        for n in range(20):
            store.write("x", contents[n % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert store.read("x") in contents
    writer.join()


def test_a_link_that_leaves_the_folder_is_refused(store, tmp_path):
    (tmp_path / "secret").write_text("s")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="leads out of"):
        store.push_tree(tmp_path / "here", "x")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="would leave it"):
        within(tmp_path / "here", name)


def test_a_server_that_answers_500_for_a_while_is_waited_for(s3):
    store = Store(parse_address(f"s3://{s3.bucket()}/runs"), patience=60)
    store.write("x", b"before")
    refused = s3.refused
    s3.breaks_for(3)
    began = time.monotonic()
    store.write("x", b"after")
    assert time.monotonic() - began > 2.9 and s3.refused > refused
    assert store.read("x") == b"after"


def test_a_server_that_is_down_for_a_while_is_waited_for(s3):
    store = Store(parse_address(f"s3://{s3.bucket()}/runs"), patience=60)
    s3.down()
    timer = threading.Timer(2, s3.up)
    timer.start()
    try:
        store.write("x", b"1")
        assert store.read("x") == b"1"
    finally:
        timer.join()


def test_patience_ends(s3):
    store = Store(parse_address(f"s3://{s3.bucket()}/runs"), patience=1)
    s3.breaks_for(20)
    try:
        with pytest.raises(StorageError, match=r"s3://bucket-\w+/runs: did not answer for \d s") as caught:
            store.read("x")
        assert "\n" not in str(caught.value)
    finally:
        s3.breaks_for(0)


def test_a_bucket_that_is_not_there_is_said_at_once(s3):
    store = Store(parse_address("s3://no-such-bucket/runs"), patience=60)
    began = time.monotonic()
    with pytest.raises(InputError, match="no bucket 'no-such-bucket'"):
        store.check()
    with pytest.raises(StorageError, match="has no such bucket"):
        store.write("x", b"1")
    assert time.monotonic() - began < 5


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(parse_address(str(tmp_path / "file" / "runs")), patience=60)
    with pytest.raises(InputError, match="no folder that can be written"):
        store.check()
    with pytest.raises(StorageError, match="Not a directory"):
        store.write("x", b"1")
