"""A stand-in for EC2's metadata service (IMDSv2), with one address for each of several machines."""

import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from search.spot import INSTANCE_ACTION, TOKEN


class MetadataService(ThreadingHTTPServer):
    """Machine NAME's service is at `address(NAME)`. A question without a token is refused, as EC2 does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokens: set[str] = set()
        self.actions: dict[str, str] = {}
        self.asked = Counter[str]()
        """How often each machine's notice was asked for."""

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def take(self, name: str, at: float, action: str = "terminate") -> None:
        """From now on machine NAME has notice of its end at so many seconds since the epoch."""
        time = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.actions[name] = json.dumps({"action": action, "time": time})


class _Handler(BaseHTTPRequestHandler):
    server: MetadataService

    def do_PUT(self) -> None:
        if not self.path.endswith(TOKEN) or not self.headers.get("X-aws-ec2-metadata-token-ttl-seconds"):
            return self._answer(400, "")
        token = uuid.uuid4().hex
        self.server.tokens.add(token)
        return self._answer(200, token)

    def do_GET(self) -> None:
        name = self.path.removesuffix(INSTANCE_ACTION).strip("/")
        self.server.asked[name] += 1
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens:
            return self._answer(401, "")
        action = self.server.actions.get(name)
        if not self.path.endswith(INSTANCE_ACTION) or action is None:
            return self._answer(404, "")
        return self._answer(200, action)

    def _answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: it is asked many times a second."""


@contextmanager
def metadata_service() -> Iterator[MetadataService]:
    service = MetadataService()
    thread = threading.Thread(target=service.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.shutdown()
        service.server_close()
        thread.join()
