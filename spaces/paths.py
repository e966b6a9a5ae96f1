"""Names of files that others wrote, which may not lead out of the folder that they are in."""

import re
from pathlib import Path

from spaces.errors import InputError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What sweeps and trials are called: one part of a path, on any system."""


def inside(folder: Path, name: str, where: object, of: str = "the folder") -> Path:
    """The file of that name in the folder, links followed. InputError where it is elsewhere, or is no name at all."""
    if "\\" in name:
        raise InputError(where, f"{name!r:.80} has a backslash; folders are separated by /")
    try:
        path, whole = (folder / name).resolve(), folder.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(where, f"{name!r:.80} is no name of a file ({error})") from None
    if not path.is_relative_to(whole):
        raise InputError(where, f"{name!r:.80} leaves {of}")
    return folder / path.relative_to(whole)
