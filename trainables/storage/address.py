"""Where a sweep's files are kept beside the home: a bucket or a folder, as a person writes it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from spaces import InputError

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FORMS = "s3://BUCKET/PREFIX, file:///FOLDER or a folder"


@dataclass(frozen=True)
class Address:
    """A place for files. It never holds credentials: those come by AWS's own chain."""

    scheme: Literal["s3", "file"]
    root: str
    """`bucket/prefix`, or a folder's absolute path; no slash at its end."""

    def __str__(self) -> str:
        return f"s3://{self.root}" if self.scheme == "s3" else Path(self.root).as_uri()

    def __truediv__(self, name: str) -> "Address":
        return Address(self.scheme, f"{self.root}/{name}")

    @property
    def bucket(self) -> str:
        """Of an `s3` address."""
        return self.root.partition("/")[0]

    @property
    def prefix(self) -> str:
        """What the keys of an `s3` address begin with; empty for the whole bucket."""
        return self.root.partition("/")[2]


def parse_address(text: str, where: object = "--storage") -> Address:
    """The address of a text; InputError says what is wrong with it."""
    scheme, colon, _ = text.partition("://")
    if not colon:
        if not text or ":" in text.partition("/")[0]:
            raise InputError(where, f"{text!r} should be {_FORMS}")
        return Address("file", str(Path(text).absolute()))
    if scheme not in ("s3", "file"):
        raise InputError(where, f"{text!r:.200} should be {_FORMS}")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise InputError(where, f"{text!r:.200} should be {_FORMS}") from None
    if "@" in parts.netloc or parts.query or parts.fragment:  # not repeated: it may be a secret
        what = "should be an address alone, without credentials or settings"
        raise InputError(where, f"{what}; those come from AWS_PROFILE, AWS_ENDPOINT_URL and the like")
    if scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise InputError(where, f"{text!r} should be file:/// and an absolute path")
        return Address("file", str(Path(unquote(parts.path))))
    prefix = parts.path.strip("/")
    if not _BUCKET.fullmatch(parts.netloc):
        raise InputError(where, f"{text!r} has no bucket's name after s3://; it should be s3://BUCKET/PREFIX")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise InputError(where, f"{text!r} has a part that is empty, . or ..")
    return Address("s3", f"{parts.netloc}/{prefix}".rstrip("/"))
