"""Files in a folder that all machines see, such as a file server's."""

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from spaces import InputError
from trainables.storage.address import Address

_PARTIAL = ".posefront-partial"


class Folder:
    """The backend of `Store` for folders. A file is there whole or not at all."""

    def __init__(self, address: Address) -> None:
        self.address, self._root = address, Path(address.root)

    def check(self) -> None:
        """InputError where there can be no such folder."""
        nearest = next(parent for parent in (self._root, *self._root.parents) if parent.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise InputError(self.address, f"{nearest} is no folder that can be written")

    def files(self, prefix: str) -> dict[str, tuple[int, float]]:
        found = {}
        for path in (self._root / prefix).rglob("*"):
            try:
                if path.is_file() and not path.name.endswith(_PARTIAL):
                    stat = path.stat()
                    found[path.relative_to(self._root).as_posix()] = stat.st_size, stat.st_mtime
            except FileNotFoundError:  # deleted since it was listed
                continue
        return found

    def reader(self, name: str) -> AbstractContextManager[BinaryIO]:
        return (self._root / name).open("rb")

    def write(self, name: str, data: bytes) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.parent / f".{uuid4().hex}{_PARTIAL}"
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def delete(self, name: str) -> None:
        (self._root / name).unlink()

    def hopeless(self, error: OSError) -> str | None:
        """Of a folder's errors the number tells all."""
        return None
