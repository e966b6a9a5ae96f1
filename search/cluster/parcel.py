"""What travels to a cluster with a job: the code that runs here, and the files that a sweep was given."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from search.recording.provenance import CODE, FILE, revision_of
from spaces import InputError

ROOMS = ("spaces", "trainables", "search", "analysis")
"""The folders of code that a sweep needs."""
SENT = "sent"
"""The folder of the files beside the code."""
MARK = "sent:"
"""Before an argument that is a file's or a folder's place among those."""
THERE = "cluster:"
"""Before a path that is the cluster's own."""
MOST_BYTES = 80_000_000
"""Of files beside the code, before compression. Ray's server takes 100 MiB at a time."""


class Parcel:
    """A folder that is filled with the code at once, and with what is added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bytes = 0
        """Of what was added."""
        self._digest, self._count = hashlib.sha256(), 0
        for room in ROOMS:
            shutil.copytree(CODE / room, folder / room, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        (folder / FILE).write_text(revision_of(CODE) or "", encoding="utf-8")

    @property
    def digest(self) -> str:
        """Of all that was added, in its order."""
        return self._digest.hexdigest()[:16]

    def add(self, path: Path, option: str) -> str:
        """Takes a file or a whole folder along; the argument that stands for it there.

        InputError, blamed on the option, when it is too large or has a link that leads out of it.
        """
        place = f"{self._count}/{path.name}"
        self._count += 1
        for file, name in _files(path, option):
            self.bytes += file.stat().st_size
            if self.bytes > MOST_BYTES:
                much = f"is too much to send, more than {MOST_BYTES / 1e6:.0f} MB in all"
                raise InputError(f"{option} {path}", f"{much}; copy it to the cluster, and name it {THERE}/its/path")
            self._digest.update(f"{place}/{name}".encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
            target = self.folder / SENT / place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        return MARK + place


def _files(path: Path, option: str) -> Iterator[tuple[Path, str]]:
    """The file, or those of the folder but hidden ones, with their names below it."""
    if path.is_file():
        yield path, ""
        return
    root = path.resolve()
    for parent, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            file = Path(parent, name)
            if not file.resolve().is_relative_to(root):
                link = f"{name} is a link that leads out of the folder; put the file itself there"
                raise InputError(f"{option} {path}", link)
            if file.is_file():
                yield file, file.relative_to(path).as_posix()
