"""When something that is not ours does not answer: how long to leave it alone, and what to say of it."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from spaces import InputError

FIRST, MOST = 1.0, 30.0
"""Seconds of the first pause, and of the longest."""
LENGTH = 160
"""Characters of an error that no other words are known for."""
DAMAGED = r"file is not a database|database disk image is malformed|malformed database schema"
"""What SQLite says of a database that was cut short or overwritten."""
_WORDS = {
    r"Connection refused|NewConnectionError|Name or service not known": "does not answer",
    r"[Tt]imed out|Timeout": "does not answer in time",
    r"Connection aborted|Connection reset|RemoteDisconnected|Connection broken": "breaks off in mid-answer",
    r"database is locked": "has its database locked by another process",
    DAMAGED: "has a damaged database (`posefront record --rebuild` makes a new one from the journals)",
    r"database or disk is full|No space left on device": "has no space left on its disk",
}


class Unreachable(InputError):
    """A server does not answer: a mistake when a sweep is started, an outage later."""


class BackOff:
    """Growing pauses between attempts."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` counts seconds and never jumps."""
        self._clock = clock
        self._since: float | None = None
        self._until, self._next = clock(), FIRST

    @property
    def failing_for(self) -> float:
        """Seconds since the first failure; 0 when all is well."""
        return 0.0 if self._since is None else self._clock() - self._since

    @property
    def seconds_left(self) -> float:
        """Of the pause."""
        return max(0.0, self._until - self._clock())

    def failed(self) -> None:
        """An attempt failed."""
        if self._since is None:
            self._since = self._clock()

    def pause(self, progress: bool = False) -> None:
        """Waits twice as long as the last time, or as at first when there was progress."""
        wait = FIRST if progress else self._next
        self._until, self._next = self._clock() + wait, min(2 * wait, MOST)

    def end(self) -> None:
        """All is well again."""
        self._since, self._until, self._next = None, self._clock(), FIRST


def damage_of(database: Path) -> str | None:
    """What SQLite finds wrong with a database file, read from end to end; None when all is well, or there is none."""
    if not database.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return None if "locked" in str(error) else str(error)
    return None if found == "ok" else " ".join(str(found).split())


def in_short(error: BaseException) -> str:
    """An error in a few words; libraries wrap a refused connection in a paragraph."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    for pattern, words in _WORDS.items():
        if re.search(pattern, text):
            return words
    if found := re.search(r"too many (5\d\d) error responses|failed with error code (5\d\d)", text):
        return f"answers {found[1] or found[2]}"
    return text if len(text) <= LENGTH else f"{text[:LENGTH]} ..."
