"""Files by name in a bucket or a folder, with patience for a place that does not answer for a while."""

import errno
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from spaces import InputError
from trainables.storage.address import Address
from trainables.storage.bucket import Bucket
from trainables.storage.folder import Folder

PATIENCE = 900.0
"""Seconds that a trial waits for a storage that does not answer, before it fails."""
_CHUNK = 2**23
_HOPELESS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR,
    errno.ENAMETOOLONG, errno.EINVAL,
}  # fmt: skip
"""Errors of a disk, of the storage's or of this machine's, that no waiting mends."""
_DELAYS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
Result = TypeVar("Result")


@dataclass(frozen=True)
class File:
    """A file that is on the storage."""

    size: int
    """Bytes."""
    changed: float
    """Seconds since the epoch, by the storage's clock."""


class StorageError(InputError):
    """The storage refuses, or did not answer for as long as one had patience."""


class Store:
    """Files below an address. Names are relative with slashes; each file is written whole or not at all.

    What fails for a while (a network that is down, a server that answers 500) is tried again for `patience` seconds;
    what no waiting mends is a StorageError at once.
    """

    def __init__(
        self, address: Address, patience: float = PATIENCE, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self.address, self.patience, self._sleep = address, patience, sleep
        self._backend = (Bucket if address.scheme == "s3" else Folder)(address)
        self._jitter = random.Random(os.urandom(8))  # of pauses alone, so that many trials do not ask in step

    def check(self) -> None:
        """InputError where bucket or folder cannot be."""
        self.patient(self._backend.check)

    def files(self, prefix: str = "") -> dict[str, File]:
        """The files below a folder (a name without a slash at its end), by name."""
        found = self.patient(lambda: self._backend.files(prefix))
        return {name: File(size, changed) for name, (size, changed) in found.items()}

    def read(self, name: str) -> bytes | None:
        """A file's content, None where there is no such file."""

        def whole() -> bytes:
            with self._backend.reader(name) as stream:
                return stream.read()

        try:
            return self.patient(whole)
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        self.patient(lambda: self._backend.write(name, data))

    def push(self, path: Path, name: str) -> None:
        """Takes a file of this machine there."""
        self.write(name, path.read_bytes())

    def pull(self, name: str, path: Path) -> None:
        """Brings a file to this machine, whole or not at all. FileNotFoundError where there is none."""

        def copy() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.parent / f".{uuid4().hex}.partial"
            try:
                with self._backend.reader(name) as stream, partial.open("wb") as file:
                    while chunk := stream.read(_CHUNK):
                        file.write(chunk)
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)

        self.patient(copy)

    def delete(self, names: Iterable[str]) -> None:
        """Deletes files; those that are gone already are no matter."""
        for name in names:
            try:
                self.patient(lambda name=name: self._backend.delete(name))
            except FileNotFoundError:
                continue

    def push_tree(self, folder: Path, prefix: str) -> None:
        """Takes all files of a folder there."""
        for path in tree(folder):
            self.push(path, f"{prefix}/{path.relative_to(folder).as_posix()}")

    def pull_tree(self, prefix: str, folder: Path) -> None:
        """Brings all files below a prefix into a folder."""
        for name in self.files(prefix):
            self.pull(name, within(folder, name.removeprefix(f"{prefix}/")))

    def patient(self, call: Callable[[], Result]) -> Result:
        """Calls until it succeeds, the storage refuses or patience ends; FileNotFoundError passes."""
        began = time.monotonic()
        for delay in _delays():
            try:
                return call()
            except FileNotFoundError:
                raise
            except OSError as error:
                said = error.strerror if error.errno in _HOPELESS else self._backend.hopeless(error)
                if said is not None:
                    raise StorageError(error.filename or self.address, said) from None
                waited = time.monotonic() - began
                if waited + delay > self.patience:
                    reason = " ".join(str(error).split())
                    raise StorageError(self.address, f"did not answer for {waited:.0f} s ({reason:.200})") from None
            self._sleep(delay * self._jitter.uniform(0.5, 1.0))
        raise AssertionError("delays have no end")


def tree(folder: Path) -> list[Path]:
    """All files in a folder and in those below it. InputError for a link that leaves it: what it leads to is not
    the folder's to give away."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            if not path.resolve().is_relative_to(folder.resolve()):
                raise InputError(path, f"leads out of {folder}; put the file itself there")
            found.append(path)
    return found


def within(folder: Path, name: str) -> Path:
    """The path of a name in a folder. InputError for a name that leaves it."""
    path = folder / name
    if not Path(os.path.normpath(path)).is_relative_to(folder) or name.startswith("/"):
        raise InputError(folder, f"the storage has a file {name!r:.100} that would leave it")
    return path


def _delays() -> Iterator[float]:
    yield from _DELAYS
    while True:
        yield _DELAYS[-1]
