"""A Ray head on this machine with a job server, for tests that submit; it is ended by its own processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

BIN = Path(sys.executable).parent
HAS_DASHBOARD = all(find_spec(name) for name in ("aiohttp_cors", "grpc", "opencensus", "prometheus_client"))
"""Ray's job server is a part of its dashboard, whose packages come with `posefront[cluster]`."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(ready: Callable[[], object], seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.1)


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def head(environment: dict[str, str], cpus: int = 2) -> Iterator[str]:
    """The address of a head's dashboard. `environment` is that of the head, its jobs and its trials."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets need a short path
    port, dashboard = free_port(), free_port()
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **environment}
    command = [
        str(BIN / "ray"), "start", "--head", "--block", f"--port={port}", f"--num-cpus={cpus}",
        "--node-ip-address=127.0.0.1", "--object-store-memory=100000000", "--disable-usage-stats",
        f"--temp-dir={folder}", *dashboard_options(dashboard),
    ]  # fmt: skip
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    others: list[subprocess.Popen] = []
    try:
        wait_for(lambda: answers(port))
        others += job_server(port, dashboard, environment)
        wait_for(lambda: answers(dashboard))
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        for each in (*others, process):
            each.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        for each in (*others, process):
            with suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
            each.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def dashboard_options(port: int) -> list[str]:
    return ["--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}"]


def job_server(gcs_port: int, port: int, environment: dict[str, str]) -> list[subprocess.Popen]:
    """Nothing: the dashboard, which the head starts, has one."""
    return []
