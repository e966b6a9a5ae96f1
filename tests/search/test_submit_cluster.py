"""A sweep on a real head, from the command that submits it to the front, with everybody going away in between."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.observations import from_mlflow
from search import parcel, show
from search.journal import read
from tests.search import head
from tests.search.examples import TEXT
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
    assert 'f"sweep {config.name} in' in text
    sweep.write_text(text.replace('f"sweep {config.name} in', 'f"copied sweep {config.name} in'), encoding="utf-8")
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


def test_a_sweep_goes_on_without_its_client_and_is_stopped_and_resumed(code, tmp_path, fresh_database):
    home, subject, space = tmp_path / "home", tmp_path / "my-robot", tmp_path / "small.yaml"
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "seconds").write_text("1.5")
    shutil.copyfile(fresh_database, home / "mlflow.db")
    shutil.copytree(ROBOT, subject)
    space.write_text(TEXT)
    there = {
        "PYTHONPATH": str(ROOT), "POSEFRONT_HOME": str(home), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN,
        "POSEFRONT_TRACKING_URI": f"sqlite:///{home}/mlflow.db",
    }  # fmt: skip
    with head.head(there) as address:
        at = ("--address", address)
        command = ("submit", space, "--subject", subject, "--name", "one", "--trials", TRIALS, *at)
        code_of_refusal, text = posefront(code, *command, token="d" * 32)
        assert code_of_refusal == 2 and "refuses the token" in text

        laptop = client(code, *command)
        text = read_until(laptop, " steps: identity ")
        assert "sweep one is job one.1 on" in text and "Running entrypoint" not in text
        assert "copied sweep one in" in text, "the driver ran other code"
        shutil.rmtree(subject)  # it is on the cluster
        laptop.send_signal(signal.SIGINT)
        text = laptop.communicate(timeout=60)[0]
        assert laptop.returncode == 130 and "posefront status one --follow" in text and "Traceback" not in text

        laptop = client(code, "status", "one", "--follow", *at)
        read_until(laptop, " steps: identity ")
        laptop.kill()
        laptop.wait(20)
        refused, text = posefront(code, *command[:3], ROBOT, *command[4:])
        assert refused == 2 and "one: is driven by job one.1 already" in text and text.count("\n") == 1

        (home / "cache" / "seconds").write_text("20")  # nothing ends from here on
        done, text = posefront(code, "status", "--json", *at)
        assert done == 0
        [seen] = json.loads(text)["posefront-status"]
        assert (seen["name"], seen["state"], seen["trials"]) == ("one", "running", TRIALS) and seen["front"] > 0

        done, text = posefront(code, "stop", "one", *at)
        assert done == 0 and "one: stopped; `posefront resume one --address" in text
        before = read(home / "one")
        assert before.closed is not None and before.closed.status == "interrupted", "it was killed, not stopped"
        done, text = posefront(code, "status", "one", *at)
        assert done == 0 and "interrupted" in text and "one.1 stopped" in text
        again, text = posefront(code, "stop", "one", *at)
        assert again == 2 and "one: does not run on" in text

        (home / "cache" / "seconds").write_text("0")
        done, text = posefront(code, "resume", "one", *at)
        assert done == 0 and "sweep one is job one.2" in text and "Finished after" in text

    after = read(home / "one")
    assert len(after.endings) == TRIALS and {e.status for e in after.endings.values()} <= {"finished", "stopped"}
    for key, event in before.observed.items():
        assert after.observed[key] == event
    assert set(observed_once(home / "one").values()) == {1}
    recorded = from_mlflow(f"sqlite:///{home}/mlflow.db", "one")
    assert sorted((o.trial, o.steps) for o in recorded) == sorted(after.observed)
    settings = show.find(home, "one").config
    assert Path(settings.job.subject).is_relative_to(home / "sent"), "a resumed sweep needs its subject"
