"""What went wrong with a disk, which is no fault of the recipe's that was being tried."""

import errno
import os
import re

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""No space left, quota used up, a file larger than allowed, a file system that has become read-only."""


def disk_trouble(error: BaseException | str | None) -> str | None:
    """Why nothing more can be written, in a few words, if that is what the error, its cause or its text is about."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else _from_text(str(error))
        if number in FULL:
            place = getattr(error, "filename", None)
            return os.strerror(number) + (f" ({place})" if place else "")
        error = None if isinstance(error, str) else error.__cause__ or error.__context__
    return None


def _from_text(text: str) -> int | None:
    """safetensors, SQLite and pyarrow raise errors of their own, with the system's in their text."""
    if found := re.search(r"\(os error (\d+)\)|\[[Ee]rrno (\d+)\]|errno[ =:]+(\d+)", text):
        return int(found[1] or found[2] or found[3])
    return errno.ENOSPC if "database or disk is full" in text else None
