import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from spaces import InputError, Observation, Recipe
from tests.s3 import Server
from trainables.job import Job, StorageConfig
from trainables.storage import Carrier, Store, parse_address
from trainables.storage.carrier import OBSERVATION, STATE

RECIPE = Recipe(rank=4)
ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["s3", "folder"])
def job(request: pytest.FixtureRequest, tmp_path: Path, s3: Server) -> Job:
    where = str(tmp_path / "server") if request.param == "folder" else f"s3://{s3.bucket()}/runs"
    storage = StorageConfig(uri=str(parse_address(where) / "small"), sweep="abc", subject="nowhere")
    home = tmp_path / "head" / "small"
    return Job(folder=str(home), cache=str(home.parent / "cache"), subject="nowhere", rungs=(10, 20), storage=storage)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes the process one of another machine, by its scratch folder."""
    return lambda name: monkeypatch.setenv("POSEFRONT_SCRATCH", str(tmp_path / name))


def store_of(job: Job) -> Store:
    return Store(parse_address(job.storage.uri), patience=20)


def checkpoint(carrier: Carrier, steps: int, scored: bool = True, trial: str = "t0001") -> Path:
    """Writes what a trial writes, in its order."""
    folder = Path(carrier.job.folder) / "trials" / trial / f"step-{steps:06d}"
    (folder / "adapter").mkdir(parents=True, exist_ok=True)
    (folder / "adapter" / "weights.safetensors").write_bytes(b"adapter %d" % steps)
    (folder / STATE).write_bytes(b"state %d" % steps)
    if scored:
        (folder / "grid.png").write_bytes(b"grid")
        observation = Observation(trial, RECIPE, 7, steps, {"identity": 0.5, "pose": 0.5})
        (folder / OBSERVATION).write_text(json.dumps([observation.to_json()]))
    return folder


def test_a_sweep_without_a_storage_stays_where_it_is(job, tmp_path):
    plain = job.model_copy(update={"storage": None})
    carrier = Carrier(plain)
    assert carrier.job == plain and not carrier.carries
    carrier.begin("t0001")
    folder = checkpoint(carrier, 10)
    carrier.push(folder)
    carrier.end()
    assert carrier.told(folder) == str(folder) and (folder / STATE).exists()


def test_a_trial_goes_on_elsewhere_from_its_newest_checkpoint(job, machine):
    machine("one")
    here = Carrier(job)
    here.begin("t0001")
    folder = checkpoint(here, 10)
    here.push(folder)
    assert here.told(folder) == f"{job.folder}/trials/t0001/step-000010"
    here.push(checkpoint(here, 20, scored=False))

    machine("two")
    there = Carrier(job)
    there.begin("t0001")
    files = {path.relative_to(there.job.folder).as_posix() for path in Path(there.job.folder).rglob("*")}
    assert f"trials/t0001/step-000010/{OBSERVATION}" in files, "it is told, not made, again"
    assert {f"trials/t0001/step-{steps:06d}/{STATE}" for steps in (10, 20)} <= files
    there.push(checkpoint(there, 20))
    there.push(checkpoint(there, 30))
    states = [name for name in store_of(job).files() if name.endswith(STATE)]
    assert states == [f"trials/t0001/step-{steps:06d}/{STATE}" for steps in (20, 30)], "as many as on a disk"
    there.end()
    assert not list(Path(there.job.folder).glob("trials/*"))


@pytest.mark.parametrize("broken", range(6))
def test_a_push_that_breaks_off_never_looks_complete(job, machine, broken, monkeypatch):
    """Whichever file is the last to arrive: an observation has all its files, a state has its adapter."""
    machine("one")
    carrier = Carrier(job)
    carrier.begin("t0001")
    folder, pushed = checkpoint(carrier, 10), []
    real = Store.push

    def push(self: Store, path: Path, name: str) -> None:
        if len(pushed) == broken:
            raise KeyboardInterrupt
        pushed.append(name)
        real(self, path, name)

    monkeypatch.setattr(Store, "push", push)
    try:
        carrier.push(folder)
    except KeyboardInterrupt:
        carrier.end()
        assert folder.exists(), "what is not there yet is kept here"
    names = {name.removeprefix("trials/t0001/step-000010/") for name in store_of(job).files()}
    assert len(names) == min(broken, 4)
    if STATE in names:
        assert "adapter/weights.safetensors" in names
    if OBSERVATION in names:
        assert names == {"adapter/weights.safetensors", "grid.png", STATE, OBSERVATION}
    monkeypatch.setattr(Store, "push", real)
    carrier.push(folder)
    assert f"trials/t0001/step-000010/{OBSERVATION}" in store_of(job).files()


KILLED = """
import sys
from tests.trainables.storage.test_carrier import RECIPE, Carrier, Job, checkpoint
carrier = Carrier(Job.model_validate_json(sys.argv[1]))
carrier.begin("t0001")
folders = [checkpoint(carrier, steps) for steps in range(10, 400, 10)]
print("ready", flush=True)
for folder in folders:
    carrier.push(folder)
"""


def test_a_process_that_is_killed_while_it_pushes_leaves_only_whole_checkpoints(job, machine):
    machine("one")
    command = [sys.executable, "-c", KILLED, job.model_dump_json()]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout.readline() == "ready\n"
    store = store_of(job)
    while sum(name.endswith(OBSERVATION) for name in store.files()) < 3:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    files = store.files()
    for name in files:
        if name.endswith(OBSERVATION):
            folder = name.rpartition("/")[0]
            assert {f"{folder}/adapter/weights.safetensors", f"{folder}/grid.png"} <= files.keys()
    machine("two")
    carrier = Carrier(job)
    carrier.begin("t0001")
    complete = sorted(Path(carrier.job.folder).glob(f"trials/t0001/*/{OBSERVATION}"))
    assert len(complete) == sum(name.endswith(OBSERVATION) for name in files) >= 3
    assert list(Path(carrier.job.folder).glob(f"trials/t0001/*/{STATE}"))


def test_a_checkpoint_that_is_made_again_takes_the_place_of_the_one_before(job, machine, monkeypatch):
    """Never is the one's observation beside the other's files."""
    machine("one")
    carrier = Carrier(job)
    carrier.begin("t0001")
    carrier.push(checkpoint(carrier, 10))
    machine("two")
    other = Carrier(job)
    other.begin("t0001")
    folder = Path(other.job.folder) / "trials" / "t0001" / "step-000010"
    (folder / "adapter").mkdir()
    (folder / "adapter" / "weights.safetensors").write_bytes(b"new")
    other.push(folder)
    store = store_of(job)
    assert store.read("trials/t0001/step-000010/adapter/weights.safetensors") == b"adapter 10", "not before its scores"
    real, seen = Store.push, []

    def push(self: Store, path: Path, name: str) -> None:
        seen.append(store.read(f"trials/t0001/step-000010/{OBSERVATION}"))
        real(self, path, name)

    monkeypatch.setattr(Store, "push", push)
    (folder / OBSERVATION).write_text("[]")
    other.push(folder)
    assert set(seen) == {None} and store.read(f"trials/t0001/step-000010/{OBSERVATION}") == b"[]"
    assert store.read("trials/t0001/step-000010/adapter/weights.safetensors") == b"new"


def test_what_is_shared_is_made_once_and_the_same_for_all(job, machine, tmp_path):
    """Machines that find nothing make it each; then the first that was complete is everybody's."""
    together, seen, made = threading.Barrier(3), {}, []
    carriers = []
    for name in ("one", "two", "three"):
        machine(name)
        carriers.append(Carrier(job))

    def share(number: int) -> None:
        folder = Path(carriers[number].job.folder) / "panel"

        def make() -> None:
            if not (folder / "base.json").exists():
                together.wait(20)
                time.sleep(1.2 * number)  # one after the other, a bucket's clock has seconds
                made.append(number)
                (folder / "base.npy").write_bytes(b"%d" % number)
                (folder / "base.json").write_bytes(b"%d" % number)

        carriers[number].share(make, "panel", "base.json")
        seen[number] = (folder / "base.json").read_bytes(), (folder / "base.npy").read_bytes()

    threads = [threading.Thread(target=share, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [0, 1, 2] and set(seen.values()) == {(b"0", b"0")}
    machine("four")
    late = Carrier(job)
    late.share(lambda: made.append(4), "panel", "base.json")
    assert (Path(late.job.folder) / "panel" / "base.npy").read_bytes() == b"0"


def test_the_scratch_of_another_user_is_refused(job, machine, tmp_path, monkeypatch):
    machine("one")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(InputError, match=r"POSEFRONT_SCRATCH: .* belongs to another user"):
        Carrier(job).begin("t0001")
