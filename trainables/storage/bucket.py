"""Files in an S3 bucket, by pyarrow. Credentials come by AWS's own chain, the endpoint from AWS_ENDPOINT_URL."""

import os
import re
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from spaces import InputError
from trainables.storage.address import Address

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

_REFUSED = (
    "ACCESS_DENIED|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|INVALID_SIGNATURE|SIGNATURE_DOES_NOT_MATCH|"
    "MISSING_AUTHENTICATION_TOKEN|UNRECOGNIZED_CLIENT|ACCOUNT_PROBLEM|OPT_IN_REQUIRED|NOT_SIGNED_UP|HTTP status 40[13]"
)
_HOPELESS = {
    _REFUSED: "refuses what these credentials ask ({}); see AWS_PROFILE, AWS_ACCESS_KEY_ID, or the machine's role",
    "NO_SUCH_BUCKET": "has no such bucket",
    "HTTP status 301|PERMANENT_REDIRECT": "is in another region; set AWS_REGION",
    "INVALID_BUCKET_NAME|HTTP status 400": "does not take the request ({})",
}
"""Errors that no waiting mends, as pyarrow words them, and what to say of each."""


def endpoint() -> str | None:
    """The server that stands in for AWS, if the environment names one."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


class Bucket:
    """The backend of `Store` for s3:// addresses. An object is there whole or not at all."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def check(self) -> None:
        """InputError where the bucket is not there. A listing of a bucket that is not there would be empty."""
        from pyarrow.fs import FileType

        if self._fs.get_file_info(self.address.bucket).type == FileType.NotFound:
            raise InputError(self.address, f"{endpoint() or 'AWS'} has no bucket {self.address.bucket!r}")

    def files(self, prefix: str) -> dict[str, tuple[int, float]]:
        from pyarrow.fs import FileSelector

        root = f"{self.address.root}/{prefix}".rstrip("/")
        found = self._fs.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
        start = len(self.address.root) + 1
        return {info.path[start:]: (info.size, info.mtime_ns / 1e9) for info in found if info.is_file}

    def reader(self, name: str) -> AbstractContextManager[BinaryIO]:
        return self._fs.open_input_stream(self._path(name))

    def write(self, name: str, data: bytes) -> None:
        # One write and a close: what pyarrow has not closed, or could not write, never becomes an object.
        with self._fs.open_output_stream(self._path(name)) as stream:
            stream.write(data)

    def delete(self, name: str) -> None:
        self._fs.delete_file(self._path(name))

    def hopeless(self, error: OSError) -> str | None:
        """What is wrong, if no waiting mends it."""
        for pattern, said in _HOPELESS.items():
            if match := re.search(pattern, str(error)):
                return said.format(match[0])
        return None

    def _path(self, name: str) -> str:
        return f"{self.address.root}/{name}"

    @cached_property
    def _fs(self) -> "S3FileSystem":
        from pyarrow.fs import S3FileSystem, resolve_s3_region

        server = urlsplit(endpoint() or "")
        if endpoint() and (server.scheme not in ("http", "https") or not server.netloc):
            raise InputError("AWS_ENDPOINT_URL", f"{endpoint()!r} should be such as http://127.0.0.1:9000")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if not region:
            region = "us-east-1" if endpoint() else resolve_s3_region(self.address.bucket)
        return S3FileSystem(
            endpoint_override=server.netloc + server.path.rstrip("/") or None,
            scheme=server.scheme or "https",
            region=region,
            connect_timeout=10,
            request_timeout=60,
            allow_delayed_open=True,  # a small file is one request
        )
