"""A sweep on a real head, from the command that submits it to the front, with everybody going away in between."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from analysis.observations import from_mlflow
from search import config
from search.cluster import parcel
from search.journal import read
from tests.search import head
from tests.search.examples import TEXT
from tests.search.head import wait_for
from tests.search.test_submit import ROBOT
from tests.search.test_sweep import observed_once

ROOT = Path(__file__).parents[2]
TOKEN = "c" * 32
TRIALS = 8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not head.HAS_DASHBOARD, reason="needs Ray's dashboard: pip install 'posefront[cluster]'"),
]


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A copy of the code whose trials are curves: what is installed would train, so a scored trial ran the copy."""
    folder = tmp_path / "code"
    for room in parcel.ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    curves = (ROOT / "tests" / "search" / "curves.py").read_text(encoding="utf-8")
    curves = curves[: curves.index("\n\ncloudpickle.")].replace("from ray import cloudpickle, tune\n", "")
    curves = curves.replace("class Curves(tune.Trainable):", "class Trial:")
    curves = curves.replace("setup(self, config: dict[str, Any])", "setup(self, config, imported_in=0.0)")
    curves += "\n    def cleanup(self) -> None:\n        pass\n"
    (folder / "trainables" / "trial.py").write_text(curves, encoding="utf-8")
    sweep = folder / "search" / "sweep.py"
    text = sweep.read_text(encoding="utf-8")
    assert 'f"sweep {self.config.name} in' in text
    sweep.write_text(
        text.replace('f"sweep {self.config.name} in', 'f"copied sweep {self.config.name} in'), encoding="utf-8"
    )
    return folder


def client(code: Path, *arguments: object, token: str = TOKEN) -> subprocess.Popen:
    """`posefront` of that code, as on a laptop that shares nothing with the cluster but the token."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "POSEFRONT_"))}
    environment = clean | {"PYTHONPATH": str(code), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "search", *map(str, arguments)], cwd=code, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def posefront(code: Path, *arguments: object, token: str = TOKEN) -> tuple[int, str]:
    """Exit code and all that it printed."""
    process = client(code, *arguments, token=token)
    text = process.communicate(timeout=150)[0]
    assert "Traceback" not in text, text
    return process.returncode, text


def read_until(process: subprocess.Popen, wanted: str) -> str:
    text = ""
    for line in process.stdout:
        text += line
        if wanted in line:
            return text
    raise AssertionError(text)


@dataclass(frozen=True)
class World:
    """A head that is up, and what a person has who submits to it."""

    address: str
    home: Path
    """Of the cluster."""
    code: Path
    space: Path
    subject: Path

    @property
    def at(self) -> tuple[str, str]:
        return "--address", self.address

    def submit(self, subject: Path | None = None) -> tuple[object, ...]:
        return (
            "submit", self.space, "--subject", subject or self.subject, "--name", "one", "--trials", TRIALS,
            "--gpus-per-trial", 0, *self.at,
        )  # fmt: skip

    def pace(self, seconds: float) -> None:
        """What a trial's next rungs take."""
        (self.home / "cache" / "seconds").write_text(str(seconds))


@pytest.fixture
def world(code: Path, tmp_path: Path, fresh_database: Path) -> Iterator[World]:
    home, subject, space = tmp_path / "home", tmp_path / "my-robot", tmp_path / "small.yaml"
    (home / "cache").mkdir(parents=True)
    shutil.copyfile(fresh_database, home / "record.db")
    shutil.copytree(ROBOT, subject)
    space.write_text(TEXT)
    there = {
        "PYTHONPATH": str(ROOT), "POSEFRONT_HOME": str(home), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN,
        "POSEFRONT_TRACKING_URI": f"sqlite:///{home}/record.db",
    }  # fmt: skip
    with head.head(there) as address:
        yield World(address, home, code, space, subject)


def test_a_sweep_goes_on_without_its_client(world):
    code, at = world.code, world.at
    world.pace(1.5)
    refused, text = posefront(code, *world.submit(), token="d" * 32)
    assert refused == 2 and "refuses the token" in text

    laptop = client(code, *world.submit())
    text = read_until(laptop, " steps: identity ")
    assert "sweep one is job one.1 on" in text and "Running entrypoint" not in text
    assert "copied sweep one in" in text, "the driver ran other code"
    shutil.rmtree(world.subject)  # it is on the cluster
    laptop.send_signal(signal.SIGINT)
    text = laptop.communicate(timeout=60)[0]
    assert laptop.returncode == 130 and "posefront status one --follow" in text and "Traceback" not in text

    laptop = client(code, "status", "one", "--follow", *at)
    read_until(laptop, " steps: identity ")
    laptop.kill()
    laptop.wait(20)
    refused, text = posefront(code, *world.submit(ROBOT))
    assert refused == 2 and "one: is driven by job one.1 already" in text and text.count("\n") == 1

    done, text = posefront(code, "status", "--json", *at)
    assert done == 0
    [seen] = json.loads(text)["posefront-status"]
    assert (seen["name"], seen["trials"]) == ("one", TRIALS) and seen["front"] > 0
    world.pace(0)
    done, text = posefront(code, "status", "one", "--follow", *at)
    assert done == 0 and "Finished after" in text
    assert text.count(" steps: identity ") == len(read(world.home / "one").observed), "its lines, from the first"
    kept = {path.read_bytes() for path in (world.home / "one").rglob("weights.safetensors")}
    assert kept == {b"adapter"}, "the trials ran other code"


def test_a_sweep_on_a_cluster_is_stopped_in_order_and_resumed(world):
    code, at, folder = world.code, world.at, world.home / "one"
    world.pace(1.0)
    done, text = posefront(code, *world.submit(), "--no-follow")
    assert done == 0 and "`posefront stop one --address" in text
    wait_for(lambda: (folder / "journal.jsonl").exists() and len(read(folder).observed) >= 3)

    done, text = posefront(code, "stop", "one", *at)
    assert done == 0 and "one: stopped; `posefront resume one --address" in text
    before = read(folder)
    assert before.closed is not None and before.closed.status == "interrupted", "it was killed, not stopped"
    done, text = posefront(code, "status", "one", *at)
    assert done == 0 and "interrupted" in text and "one.1 stopped" in text
    again, text = posefront(code, "stop", "one", *at)
    assert again == 2 and "one: does not run on" in text

    world.pace(0)
    done, text = posefront(code, "resume", "one", *at)
    assert done == 0 and "sweep one is job one.2" in text and "Finished after" in text
    after = read(folder)
    assert len(after.endings) == TRIALS and {e.status for e in after.endings.values()} <= {"finished", "stopped"}
    assert all(after.observed[key] == event for key, event in before.observed.items())
    assert set(observed_once(folder).values()) == {1}
    recorded = from_mlflow(f"sqlite:///{world.home}/record.db", "one")
    assert sorted((o.trial, o.steps) for o in recorded) == sorted(after.observed)
    subject = Path(config.load(world.home, "one").job.subject)
    assert subject.is_relative_to(world.home / "sent"), "a resumed sweep needs its subject"
