"""Trials of one node that start together fetch a base's weights once: the others wait for the one that began."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import ClassVar

import pytest

COMMIT = "0" * 40
WEIGHTS = os.urandom(3_000_000)
FILES = {"config.json": b"{}", "diffusion_pytorch_model.safetensors": WEIGHTS}
BLOCK = 300_000
FETCH = """
import sys
from trainables import hub
print(hub.find("somebody/controlnet", hub.CONTROLNET))
"""


class Hub(BaseHTTPRequestHandler):
    """Has one model, and takes a second to hand out its weights."""

    sent: ClassVar[Counter[str]] = Counter()
    lock = Lock()

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        if "/resolve/" not in self.path:
            siblings = [{"rfilename": name, "size": len(data)} for name, data in FILES.items()]
            model = {"id": "somebody/controlnet", "sha": COMMIT, "siblings": siblings}
            tree = [{"type": "file", "path": name, "size": len(FILES[name]), "oid": COMMIT} for name in FILES]
            body = json.dumps(tree if "/tree/" in self.path else model).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        name = self._head()
        with self.lock:
            self.sent[name] += 1
        for start in range(0, len(FILES[name]), BLOCK):
            self.wfile.write(FILES[name][start : start + BLOCK])
            time.sleep(0.1)

    def _head(self) -> str:
        name = self.path.rsplit("/", 1)[-1]
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(FILES[name]).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(FILES[name])))
        self.end_headers()
        return name

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    Hub.sent.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_three_processes_fetch_each_file_once(endpoint: str, tmp_path: Path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | {
        "HF_HOME": str(tmp_path), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
    }  # fmt: skip
    trials = [
        subprocess.Popen([sys.executable, "-c", FETCH], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    folders = {trial.communicate(timeout=120)[0].strip() for trial in trials}
    assert all(trial.returncode == 0 for trial in trials) and len(folders) == 1
    assert (Path(folders.pop()) / "diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS
    assert Hub.sent == {name: 1 for name in FILES}
