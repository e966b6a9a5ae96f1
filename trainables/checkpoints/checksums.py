"""Whether files are as they were written: a list of checksums beside them, as `sha256sum -c` reads it too."""

import hashlib
from pathlib import Path

from spaces import InputError

SUFFIX = ".sha256"


def write_checksums(folder: Path) -> None:
    """Of all files of a folder, beside it: `adapter` has `adapter.sha256`."""
    lines = [f"{_digest(path)}  {path.relative_to(folder.parent).as_posix()}\n" for path in _files(folder)]
    folder.with_suffix(SUFFIX).write_text("".join(lines), encoding="utf-8")


def check(folder: Path) -> None:
    """InputError when a file is damaged or gone. A folder without checksums, from an older sweep, passes."""
    sums = folder.with_suffix(SUFFIX)
    if not sums.exists():
        return
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        path = folder.parent / name
        if not path.is_file() or _digest(path) != digest:
            raise InputError(path, "is damaged: it is not as it was written (its checksum differs)")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
