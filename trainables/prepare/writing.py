"""Files and folders that are there whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spaces import InputError


def write_whole(path: Path, content: bytes) -> None:
    """Replaces the file in one go; InputError where it cannot be written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(path, f"cannot be written ({error.strerror})") from None


@contextmanager
def whole_folder(folder: Path, force: bool) -> Iterator[Path]:
    """A new folder to write to, which takes `folder`'s place when the block ends well and leaves no trace otherwise.

    InputError where the folder is there and `force` is not given, where it is no subject's, or its place cannot be
    written.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(folder, "is there and is no folder; choose another name")
    if folder.is_dir() and any(folder.iterdir()):
        if not force:
            raise InputError(folder, "is there already; choose another name, or --force replaces it")
        if not (folder / "subject.yaml").is_file():
            raise InputError(folder, "is no subject's folder, so --force does not replace it; choose another name")
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.absolute().parent))
    except OSError as error:
        raise InputError(folder, f"cannot be written ({error.strerror})") from None
    try:
        yield fresh
        fresh.chmod(0o755)
        if folder.exists():
            old = fresh.with_name(f"{fresh.name}-old")
            folder.rename(old)
            fresh.rename(folder)
            shutil.rmtree(old)
        else:
            fresh.rename(folder)
    except OSError as error:
        raise InputError(folder, f"cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
