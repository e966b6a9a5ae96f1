"""The servers that a person starts: the annotation page and MLflow's."""

import subprocess
import sys
from pathlib import Path

from search.tracking.mlflow_server import command
from tests.security.sockets import family, listening

ROOT = Path(__file__).parents[2]


def test_the_annotation_page_listens_on_this_machine_alone(tiny_subject: Path) -> None:
    annotate = [sys.executable, "-m", "search", "annotate", str(tiny_subject), "--no-browser"]
    with subprocess.Popen(annotate, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline().startswith("http://127.0.0.1:")
            found = listening(family(server.pid))
        finally:
            server.terminate()
    assert [address for address, _ in found] == ["127.0.0.1"]


def test_make_ui_starts_mlflow_on_this_machine_alone() -> None:
    """What make would run, and what that starts; `tests/search/tracking/test_ui.py` looks at what listens."""
    said = subprocess.run(["make", "-n", "ui"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert ".venv/bin/posefront ui" in said.splitlines()
    started = command(Path("mlflow.db"), "mlartifacts")
    assert started[started.index("--host") + 1] == "127.0.0.1"
    assert started.count("--host") == 1
