"""A real MLflow server, and a proxy before it that fails on demand."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

START_SECONDS = 120


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[subprocess.Popen]:
    """`mlflow server` on this machine, with `mlflow.db` and artifacts in the folder."""
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "mlartifacts"), "--serve-artifacts",
    ]  # fmt: skip
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = (folder / "server.log").open("ab")
    server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True)
    try:
        until = time.monotonic() + START_SECONDS
        while not _healthy(port):
            assert server.poll() is None and time.monotonic() < until, (folder / "server.log").read_text()
            time.sleep(0.1)
        yield server
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)
        log.close()


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class FaultyProxy:
    """Passes requests on, until told otherwise.

    `mode` is `pass`, `errors` (500 to all), `some errors` (500 to every third), `slow` (waits `delay` seconds first),
    `mute` (takes the request and never answers), or `lost` (the server hears the request; its answer is dropped).
    `down` and `up` close and open the port itself.
    """

    def __init__(self, target: int) -> None:
        self.target, self.port, self.mode, self.delay = target, free_port(), "pass", 0.0
        self.served = self.failed = 0
        self.closing = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self.up()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.proxy = self
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def close(self) -> None:
        self.closing.set()
        self.down()


class _Server(ThreadingHTTPServer):
    allow_reuse_address, daemon_threads, block_on_close = True, True, False
    proxy: FaultyProxy


class _Handler(BaseHTTPRequestHandler):
    """One request a connection, so that `down` and `up` are felt at once."""

    server: _Server

    def _pass(self) -> None:
        proxy, self.close_connection = self.server.proxy, True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        mode = proxy.mode
        proxy.served += 1
        if mode == "mute":
            proxy.closing.wait()
        elif mode == "errors" or (mode == "some errors" and proxy.served % 3 == 0):
            proxy.failed += 1
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            proxy.closing.wait(proxy.delay if mode == "slow" else 0.0)
            self._answer(*_forwarded(proxy.target, self.command, self.path, body, dict(self.headers)), mode == "lost")

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, lost: bool) -> None:
        if lost:
            self.server.proxy.failed += 1
            return
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


def _forwarded(
    port: int, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, list[tuple[str, str]], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers | {"Connection": "close"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.getheaders(), content
