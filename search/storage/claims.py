"""What a lease needs of a storage beside files: names that one alone can make, and the storage's clock."""

import os
import time
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from spaces import InputError
from trainables.storage import Store
from trainables.storage.bucket import endpoint

_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "403", "401"}


class FolderClaims:
    """In a folder, a hard link is made by one alone, on a file server too."""

    def __init__(self, store: Store) -> None:
        self._store, self._root = store, Path(store.address.root)

    def create(self, name: str, data: bytes) -> bool:
        """Writes the file unless it is there; whether it did."""

        def link() -> bool:
            path, own = self._root / name, self._own(name)
            try:
                own.write_bytes(data)
                os.link(own, path)
            except FileExistsError:
                return False
            finally:
                own.unlink(missing_ok=True)
            return True

        return self._store.patient(link)

    def age(self, name: str) -> float:
        """Seconds since the file was written, by the storage's clock; nobody else's clock plays a part."""

        def measure() -> float:
            own = self._own(name)
            own.touch()
            try:
                return own.stat().st_mtime - (self._root / name).stat().st_mtime
            finally:
                own.unlink(missing_ok=True)

        return self._store.patient(measure)

    def _own(self, name: str) -> Path:
        path = (self._root / name).parent / f".{uuid4().hex}.posefront-partial"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class BucketClaims:
    """In a bucket, by boto3: pyarrow has no writes on condition."""

    def __init__(self, store: Store) -> None:
        try:
            import boto3  # noqa: F401
        except ImportError:
            raise InputError("--storage", "s3:// needs boto3: pip install 'posefront[s3]'") from None
        self._store, self._address = store, store.address

    def create(self, name: str, data: bytes) -> bool:
        """Writes the object unless it is there; whether it did."""

        def put() -> bool:
            asked = self._ask("put_object", name, Body=data, IfNoneMatch="*")
            # An answer that was lost is asked for again, and then the object is there: it may be ours.
            return asked is not None or self._store.read(name) == data

        return self._store.patient(put)

    def age(self, name: str) -> float:
        """Seconds since the object was written, by the server's clock; nobody else's clock plays a part."""

        def measure() -> float:
            asked = self._ask("head_object", name)
            now = asked["ResponseMetadata"]["HTTPHeaders"].get("date")
            read = parsedate_to_datetime(now).timestamp() if now else time.time()
            return read - asked["LastModified"].timestamp()

        return self._store.patient(measure)

    def _ask(self, method: str, name: str, **arguments: Any) -> dict[str, Any] | None:
        """The answer, None when a condition is not met. OSError for what may mend itself."""
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError

        key = "/".join(filter(None, (self._address.prefix, name)))
        try:
            return getattr(self._client, method)(Bucket=self._address.bucket, Key=key, **arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code == "PreconditionFailed" or status == 412:
                return None
            if code == "NoSuchBucket":
                where = endpoint() or "AWS"
                raise InputError(self._address, f"{where} has no bucket {self._address.bucket!r}") from None
            if code in _REFUSED:
                hint = "see AWS_PROFILE, AWS_ACCESS_KEY_ID, or the machine's role"
                raise InputError(self._address, f"refuses what these credentials ask ({code}); {hint}") from None
            if status >= 500 or code in ("ConditionalRequestConflict", "SlowDown", "RequestTimeout"):
                raise OSError(f"{code} (HTTP status {status})") from None
            if code in ("404", "NoSuchKey"):
                raise FileNotFoundError(name) from None
            raise InputError(self._address, f"does not take the request ({code} {error})") from None
        except NoCredentialsError:
            hint = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
            raise InputError(self._address, f"no AWS credentials were found; {hint}") from None
        except HTTPClientError as error:  # no connection, or one that broke
            raise OSError(str(error)) from None
        except (BotoCoreError, ValueError) as error:
            raise InputError(self._address, f"cannot be asked ({error})") from None

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        style = {"addressing_style": "path"} if endpoint() else {}  # as pyarrow does
        config = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard", "max_attempts": 2}, s3=style)
        try:
            return boto3.session.Session().client("s3", config=config)
        except (BotoCoreError, ValueError) as error:
            raise InputError(self._address, f"cannot be asked ({error})") from None


def claims_of(store: Store) -> FolderClaims | BucketClaims:
    return (BucketClaims if store.address.scheme == "s3" else FolderClaims)(store)
