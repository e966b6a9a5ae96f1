"""A local S3 server that can be made to fail: moto's, in a thread, on a free port of localhost."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "a-secret-that-no-file-may-have",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/no/aws-config",
    "AWS_SHARED_CREDENTIALS_FILE": "/no/aws-credentials",
}


class Server:
    """What was put there stays when it goes down and comes up again on its port."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._broken_until = 0.0
        self.refused = 0
        """Requests that were answered 500."""
        self.requests: list[str] = []
        """Method and path of all requests."""
        self._server: BaseWSGIServer | None = None
        self.port = 0
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        self._server = make_server("127.0.0.1", self.port, self._answer, True, request_handler=MotoRequestHandler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def down(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def breaks_for(self, seconds: float) -> None:
        """Answers 500 to everything for a while."""
        self._broken_until = time.monotonic() + seconds

    def bucket(self) -> str:
        """A new bucket's name."""
        name = f"bucket-{uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> Any:
        return boto3.client("s3", endpoint_url=self.url)

    def keys(self, bucket: str) -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", ()) if not item["Key"].endswith("/")]

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        if time.monotonic() < self._broken_until:
            self.refused += 1
            start("500 Internal Server Error", [("Content-Length", "0")])
            return [b""]
        return self._app(environ, start)


@contextmanager
def served() -> Iterator[Server]:
    """A server, with the environment that clients find it by."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    server = Server()
    os.environ["AWS_ENDPOINT_URL"] = server.url
    try:
        yield server
    finally:
        server.down()
        os.environ.clear()
        os.environ.update(before)
