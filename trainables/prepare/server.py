"""Serves the annotation page to this machine's browser alone."""

import hmac
import json
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from spaces import InputError
from trainables.prepare.annotation import Annotation

PAGE = Path(__file__).with_name("annotate.html")
_MOST_BYTES = 64_000_000
_POLICY = "default-src 'none'; img-src 'self' data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
_POLICY += "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

Route = Callable[[int, bytes], tuple[str, bytes] | None]
"""(number of the picture, body) to (content type, content); None is nothing to say."""


class AnnotationServer(ThreadingHTTPServer):
    """On 127.0.0.1, at an address that holds a random word: other pages and other users cannot guess it.

    GET TOKEN/, state, picture/N, mask/N; PUT keypoints/N (JSON), mask/N (PNG), mask-of-joints/N; DELETE mask/N. What
    is wrong with a request is answered by 400 and one line.
    """

    daemon_threads = True

    def __init__(self, annotation: Annotation, port: int = 0) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError("--port", f"{port} cannot be used ({reason}); 0 takes a free one") from None
        self.annotation = annotation
        self.word = secrets.token_urlsafe(16)
        self.routes: dict[tuple[str, str], Route] = {
            ("GET", ""): lambda _, __: ("text/html; charset=utf-8", PAGE.read_bytes()),
            ("GET", "state"): lambda _, __: ("application/json", json.dumps(annotation.state()).encode()),
            ("GET", "picture"): lambda number, _: ("image/png", annotation.picture(number)),
            ("GET", "mask"): lambda number, _: _if_any(annotation.mask(number)),
            ("PUT", "keypoints"): lambda number, body: annotation.mark(number, _json(body)),
            ("PUT", "mask"): lambda number, body: annotation.paint(number, body),
            ("PUT", "mask-of-joints"): lambda number, _: annotation.paint_joints(number),
            ("DELETE", "mask"): lambda number, _: annotation.paint(number, None),
        }

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{self.word}/"


class _Handler(BaseHTTPRequestHandler):
    server: AnnotationServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        self._answer("GET")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is the person's."""

    def _answer(self, method: str) -> None:
        body = self._body()
        if body is None:
            return self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "text/plain", b"too large")
        word, _, path = self.path.split("?")[0].lstrip("/").partition("/")
        kind, _, number = path.partition("/")
        route = self.server.routes.get((method, kind))
        known = number.isdecimal() and len(number) < 9 and int(number) < len(self.server.annotation.pictures)
        if not self._is_ours(word) or route is None or (kind not in ("", "state")) != known:
            return self._send(HTTPStatus.NOT_FOUND, "text/plain", b"not here")
        try:
            answer = route(int(number or 0), body)
        except InputError as mistake:
            return self._send(HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8", str(mistake).encode())
        if answer is None:
            return self._send(HTTPStatus.NO_CONTENT, "text/plain", b"")
        return self._send(HTTPStatus.OK, *answer)

    def _is_ours(self, word: str) -> bool:
        """The random word, asked for at this machine's own address and not by way of a name that leads here."""
        host = self.headers.get("Host", "").rpartition(":")[0]
        return host in ("127.0.0.1", "localhost") and hmac.compare_digest(word.encode(), self.server.word.encode())

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or len(length) > 9 or int(length) > _MOST_BYTES:
            self.close_connection = True
            return None
        return self.rfile.read(int(length))

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", _POLICY),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _if_any(content: bytes | None) -> tuple[str, bytes] | None:
    return None if content is None else ("image/png", content)


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InputError("keypoints", "should be JSON") from None
