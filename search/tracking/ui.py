"""MLflow's pages on a home's record: on this machine alone, for as long as somebody looks."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from analysis.observations import EXPERIMENT
from search.tracking.addresses import Addresses
from search.tracking.mlflow_server import LOCALHOST, command, environment
from spaces import InputError

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
PORT = 5000
START = 120.0
"""Seconds that a server may take to answer, on a machine that is busy with a sweep."""
END = 10.0
"""Seconds that it may take to end."""


@contextmanager
def served(home: Path, port: int | None = None) -> Iterator[str]:
    """The address of an MLflow server over the home's record; it and all that it started end with the block.

    `port`: None takes 5000, or a free one if that is taken. InputError where the home has no record, a port that was
    asked for is taken, or the server does not start.
    """
    if not (home / DATABASE).is_file():
        raise InputError("--home", f"{home} has no {DATABASE}: no sweep was recorded there")
    at = _free(PORT if port is None else port, port is None)
    with TemporaryFile() as said:
        server = subprocess.Popen(
            command(home / DATABASE, str(home / ARTIFACTS), port=at),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=environment(),
            start_new_session=True,  # Ctrl-C is ours, and what it started can be told to end with it
        )
        try:
            address = f"http://{LOCALHOST}:{at}"
            _wait(server, address, said)
            yield address
        finally:
            _end(server)


def page(address: str, sweep: str | None = None, run_id: str | None = None) -> str:
    """A server's page of all sweeps, or of one by its run; the server's own where it has no sweeps."""
    query = urllib.parse.urlencode({"experiment_name": EXPERIMENT})
    try:
        with urllib.request.urlopen(f"{address}/api/2.0/mlflow/experiments/get-by-name?{query}", timeout=60) as answer:
            experiment = json.load(answer)["experiment"]["experiment_id"]
    except urllib.error.HTTPError:
        return f"{address}/"
    except (OSError, ValueError, LookupError) as error:
        raise InputError(address, f"does not answer as MLflow does ({error})") from None
    where = Addresses(experiment, run_id or "", sweep or "", {})
    return f"{address}/{where.run if run_id else where.experiment}"


def _free(port: int, any_other: bool) -> int:
    for wanted in (port, 0) if any_other else (port,):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a server left a minute ago is no bar
            with suppress(OSError):
                tried.bind((LOCALHOST, wanted))
                return int(tried.getsockname()[1])
    raise InputError("--port", f"{port} is taken on this machine; leave it out for one that is free")


def _wait(server: subprocess.Popen[bytes], address: str, said: IO[bytes]) -> None:
    until = time.monotonic() + START
    while time.monotonic() < until:
        if server.poll() is not None:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise InputError("MLflow", f"its server ended at once: {last[0]:.200}")
        with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
            return
        time.sleep(0.2)
    raise InputError("MLflow", f"its server does not answer on {address} after {START:.0f} s")


def _end(server: subprocess.Popen[bytes]) -> None:
    """With all processes of its session: workers outlive a server that is only killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(END)
