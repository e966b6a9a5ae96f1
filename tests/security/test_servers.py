"""The servers that a person starts: the annotation page and MLflow's."""

import subprocess
import sys
from pathlib import Path

from tests.security.sockets import family, listening

ROOT = Path(__file__).parents[2]


def test_the_annotation_page_listens_on_this_machine_alone(tiny_subject: Path) -> None:
    command = [sys.executable, "-m", "search", "annotate", str(tiny_subject), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline().startswith("http://127.0.0.1:")
            found = listening(family(server.pid))
        finally:
            server.terminate()
    assert [address for address, _ in found] == ["127.0.0.1"]


def test_make_ui_starts_mlflow_on_this_machine_alone() -> None:
    """What make would run; the same words in the cluster's file have tests of their own."""
    said = subprocess.run(["make", "-n", "ui"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    command = said[said.index("mlflow server") :].replace("\\\n", " ").split()
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command.count("--host") == 1
