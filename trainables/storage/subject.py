"""A sweep's own copy of its subject, which nobody changes."""

import hashlib
from pathlib import Path

from trainables.storage.store import tree

SUBJECT, POSES = "subject", "poses"
"""Folders of the copies, in the sweep's."""


def subject_files(folder: Path) -> list[Path]:
    """The files of a subject, hidden ones left out. InputError for a link that leaves the folder."""
    return [path for path in tree(folder) if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def fingerprint(folder: Path) -> str:
    """Of names and contents: equal for equal files."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(subject_files(folder)):
        for part in (path.relative_to(folder).as_posix().encode(), path.read_bytes()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
