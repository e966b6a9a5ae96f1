"""Names in files that others wrote: none leads out of the folder that it is in."""

import json
import shutil
from pathlib import Path

import pytest

from search import config, journal
from search.finetunes.generate import adapter_of
from search.journal import Ended, Journal, Observed, Proposed
from search.rungs import Continue
from search.storage.pruning import Pruning
from search.views import show
from spaces import InputError, Recipe
from spaces.paths import inside
from tests.search.examples import observed, small_space, small_sweep
from trainables.export import CONFIG, WEIGHTS, MadeFrom, read_made_from
from trainables.export.diffusers import write_diffusers
from trainables.prepare.annotation import Annotation
from trainables.skeleton import load_pose
from trainables.subject import Subject

OUTSIDE = ("..", "../x", "a/../../x", "/etc/passwd", "a\\..\\..\\x", "C:\\x", "a\0b", "out/x", "loop")


@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_leads_out_of_a_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    (folder / "loop").symlink_to("loop")
    with pytest.raises(InputError) as refused:
        inside(folder, name, "here")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["x.png", "a/x.png", "a/../x.png", ".", "x" * 200, "ünï.png", "a b"])
def test_what_is_inside_is_found(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name, "here").resolve() == (tmp_path / name).resolve()


@pytest.mark.parametrize("name", ["subject.yaml", "metadata.jsonl", "poses.jsonl", "0.png", "0-mask.png"])
def test_a_subjects_file_that_is_a_link_to_elsewhere_is_refused(tiny_subject: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(tiny_subject, tmp_path / "subject"))
    shutil.move(folder / name, tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leaves the subject's folder"):
        Subject.load(folder)


@pytest.mark.parametrize("name", ["../x.yaml", "/x.yaml", "a\\x.yaml"])
def test_a_poses_skeleton_is_beside_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.yaml").write_text("name: secret\n")
    (tmp_path / "p").mkdir()
    pose = tmp_path / "p" / "pose.json"
    pose.write_text(json.dumps({"skeleton": name, "size": 64, "keypoints": []}))
    with pytest.raises(InputError, match=r"pose.json: skeleton: .*(leaves the folder|has a backslash)"):
        load_pose(pose)


@pytest.mark.parametrize("token", ["../x", "a/b", "a\\b", ".hidden", 'a"b', "a'b", "a\x00b", "x" * 61])
def test_a_token_is_no_path_and_no_program(tiny_subject: Path, tmp_path: Path, token: str) -> None:
    folder = Path(shutil.copytree(tiny_subject, tmp_path / "subject"))
    card = (folder / "subject.yaml").read_text()
    (folder / "subject.yaml").write_text(card.replace("token: sks", f"token: {json.dumps(token)}"))
    with pytest.raises(InputError, match=r"token: .*one word such as sks|is not YAML"):
        Subject.load(folder)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """Its config alone, which is read first; the weights are not looked at."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    MadeFrom(recipe=Recipe(), steps=1, seed=1, token="sks", class_noun="robot", base="x",
             base_fingerprint="y").write(folder / CONFIG)  # fmt: skip
    (folder / WEIGHTS).write_bytes(b"weights")
    return folder


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "..\\secret", "secret", "a\0b", "pytorch_lora_weights.bin"]
)
def test_an_adapter_names_no_files_but_its_own(adapter: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    values = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps(values | {"files": [name]}))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match=r"adapter_config.json: is not the config of an adapter \(files.0"):
        write_diffusers(adapter, out)
    assert list(out.iterdir()) == []


def test_an_adapters_file_that_is_a_link_to_elsewhere_is_not_exported(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (adapter / WEIGHTS).unlink()
    (adapter / WEIGHTS).symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="leaves the folder"):
        read_made_from(adapter)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a sweep with one scored checkpoint that is on the front and one that is not."""
    home = tmp_path / "home"
    sweep = small_sweep(home)
    sweep.save()
    written = Journal(sweep.folder)
    for trial, score in (("t0001", 0.9), ("t0002", 0.1)):
        written.append(Proposed(1.0, trial, Recipe(rank=4), {"rank": 4}, 7))
        folder = sweep.folder / "trials" / trial / "step-000010"
        (folder / "adapter").mkdir(parents=True)
        written.append(Observed(2.0, (observed(trial, 10, score, score, Recipe(rank=4)),), Continue(1, 1), str(folder)))
    written.append(Ended(3.0, "t0002", "stopped", "x", 10))
    written.close()
    return home


def rewrite(home: Path, old: str, new: str) -> None:
    path = home / "small" / journal.FILE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("trial", ["../../victim", "/victim", "..", "a/b", "a\\\\b", "", "x" * 101])
def test_a_trials_name_is_no_path(home: Path, trial: str) -> None:
    rewrite(home, '"t0002"', f'"{trial}"')
    with pytest.raises(InputError, match=r"journal.jsonl, line 3: is not an event of a sweep: trial"):
        show.find(home, "small")


def test_a_label_is_no_path(home: Path) -> None:
    rewrite(home, '"label": ""', '"label": "/../../../../secret"')
    with pytest.raises(InputError, match=r"journal.jsonl, line 2: .*is no name of ours"):
        show.find(home, "small")


def test_what_is_read_and_deleted_is_the_sweeps_own(home: Path, tmp_path: Path) -> None:
    """Whatever folder the journal of a sweep that came from elsewhere says."""
    victim = tmp_path / "victim" / "trials" / "t0002" / "step-000010"
    (victim / "adapter").mkdir(parents=True)
    (victim / "state.safetensors").touch()
    for folder in (str(victim), f"{home}/small/../../victim/trials/t0002/step-000010"):
        rewrite(home, f'"folder": "{home / "small" / "trials" / "t0002" / "step-000010"}"', f'"folder": "{folder}"')
        ledger = journal.read(home / "small")
        Pruning(small_space().objectives, home / "small" / "trials").prune(ledger)
        assert (victim / "adapter").is_dir() and (victim / "state.safetensors").exists()
        assert not (home / "small" / "trials" / "t0002" / "step-000010" / "adapter").exists()
        rewrite(home, f'"folder": "{folder}"', f'"folder": "{home / "small" / "trials" / "t0002" / "step-000010"}"')


def test_a_sweep_is_where_it_is_found(home: Path, tmp_path: Path) -> None:
    """Not where its config says that it was; so a home can be moved, too."""
    moved = tmp_path / "moved"
    home.rename(moved)
    found = show.find(moved, "small")
    assert found.config.folder == moved / "small"
    assert adapter_of(found, found.front[0]) == moved / "small" / "trials" / "t0001" / "step-000010" / "adapter"


@pytest.mark.parametrize("name", ["../home/small", "small/.", "/etc", "..", "a\0b", "x" * 300, "a\\b"])
def test_a_sweeps_name_is_no_path(home: Path, name: str) -> None:
    with pytest.raises(InputError, match="is not a sweep under"):
        config.load(home, name)
    with pytest.raises(InputError, match="--name"):
        config.check_new(home, name)


def test_a_config_of_another_name_is_refused(home: Path) -> None:
    path = home / "small" / config.FILE
    path.write_text(path.read_text().replace('"name": "small"', '"name": "../../x"'))
    with pytest.raises(InputError, match=r"sweep.json: name: '../../x' should be 'small'"):
        config.load(home, "small")


def test_masks_are_written_into_the_subjects_folder(tiny_subject: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_subject, tmp_path / "subject"))
    (tmp_path / "elsewhere").mkdir()
    (folder / "masks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leaves the subject's folder"):
        Annotation(folder).paint_joints(0)
    assert list((tmp_path / "elsewhere").iterdir()) == []
