"""What tells one base from another: a digest of its files. Without torch."""

import hashlib
from pathlib import Path, PurePath

from trainables import hub


def fingerprint(folder: Path, control: Path) -> str:
    """16 hex digits over the names and contents of all that was read; a hub snapshot stands for its contents."""
    digest = hashlib.blake2b(digest_size=8)
    for name, part in (*((name, folder / name) for name in hub.BASE), ("controlnet", control)):
        snapshot = next((parent.name for parent in part.parents if parent.parent.name == "snapshots"), None)
        if snapshot is not None:
            digest.update(f"{part.name} {snapshot}".encode())
            continue
        names = [f"{name}/{path.name}" for path in part.iterdir() if path.is_file()]
        for file in hub.read_files(names, {name: hub.WITH_CONTROLNET[name]}, part):
            digest.update(file.encode())
            with (part / PurePath(file).name).open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()
