"""The cluster's MLflow server, and its database kept on S3 where that is asked for."""

import logging
import signal
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from search.tracking import mlflow_server
from spaces import InputError

logger = logging.getLogger(__name__)

DATABASE = "mlflow.db"
ARTIFACTS = "artifacts"
KEPT_EVERY = 60.0
"""Seconds between two copies: what the record may lack of its last minute, a resumed sweep makes up for."""


def serve(folder: Path, store: str | None = None, host: str = "127.0.0.1", port: int = 5000) -> int:
    """Runs MLflow's server over a folder until it ends or is told to (SIGTERM, Ctrl-C); its exit code.

    `store`: an `s3://` address that has the artifacts, and a copy of the database that is brought back where the folder
    has none. InputError when it cannot be reached: a server with an empty database beside a full store would soon
    replace it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = Copy(folder / DATABASE, store) if store else None
    if kept is not None:
        kept.restore()
    server = subprocess.Popen(command(folder, store, host, port), env=mlflow_server.environment())
    told = False

    def end(*_: object) -> None:
        nonlocal told
        told = True
        server.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        while True:
            try:
                code = server.wait(KEPT_EVERY if kept else None)
                return 0 if told else code
            except subprocess.TimeoutExpired:
                _try(kept)
    finally:
        if kept is not None:
            _try(kept)


def command(folder: Path, store: str | None, host: str, port: int) -> list[str]:
    """The server's."""
    artifacts = f"{store.rstrip('/')}/{ARTIFACTS}" if store else str(folder.absolute() / ARTIFACTS)
    return mlflow_server.command(folder.absolute() / DATABASE, artifacts, host, port, workers=2)


class Copy:
    """A database's copy on S3: whole, consistent, and replaced only when there is something new."""

    def __init__(self, database: Path, store: str) -> None:
        self._database = database
        self._store = store.rstrip("/")
        self._seen: tuple[tuple[int, int], ...] | None = None
        self._files, self._path = _filesystem(self._store)

    def restore(self) -> bool:
        """Brings the copy back where there is no database. InputError when the store does not answer."""
        try:
            there = bool(self._files.get_file_info(self._path).is_file)
            if self._database.exists() or not there:
                return False
            partial = self._database.with_suffix(".partial")
            with self._files.open_input_stream(self._path) as source, partial.open("wb") as target:
                while block := source.read(1 << 20):
                    target.write(block)
        except OSError as error:
            raise InputError("--s3", f"{self._store} cannot be read ({_line(error)})") from None
        with closing(sqlite3.connect(partial)) as found:
            problem = _problem(found)
        if problem:
            raise InputError("--s3", f"{self._store}/{DATABASE} is no whole database ({problem}); move it away")
        partial.replace(self._database)
        return True

    def keep(self) -> bool:
        """Writes the copy if the database has changed since; whether it has."""
        now = _state(self._database)
        if not now or now == self._seen:
            return False
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / DATABASE
            with closing(sqlite3.connect(self._database)) as live, closing(sqlite3.connect(path)) as copy:
                live.backup(copy)
            with self._files.open_output_stream(self._path) as target:  # seen by readers when it is closed, whole
                target.write(path.read_bytes())
        self._seen = now
        return True


def _try(kept: Copy | None) -> None:
    """A store that is away for a while must not end the server."""
    try:
        if kept is not None:
            kept.keep()
    except (OSError, sqlite3.Error) as error:
        logger.warning("the copy on S3 is behind: %s", _line(error))


def _filesystem(store: str) -> tuple[Any, str]:
    from pyarrow import ArrowInvalid
    from pyarrow.fs import FileSystem

    if not store.startswith("s3://"):
        raise InputError("--s3", f"{store!r} should be such as s3://my-bucket/posefront/mlflow")
    try:
        files, path = FileSystem.from_uri(store)
    except (ArrowInvalid, OSError) as error:
        raise InputError("--s3", f"{store} cannot be used ({_line(error)})") from None
    return files, f"{path}/{DATABASE}"


def _state(database: Path) -> tuple[tuple[int, int], ...]:
    """Size and time of the database and of its log of writes; empty where there is none."""
    paths = [path for path in (database, database.with_name(f"{database.name}-wal")) if path.exists()]
    return tuple((stat.st_size, stat.st_mtime_ns) for stat in (path.stat() for path in paths))


def _problem(database: sqlite3.Connection) -> str | None:
    try:
        [verdict] = database.execute("PRAGMA quick_check(1)").fetchone()
        return None if verdict == "ok" else verdict
    except sqlite3.DatabaseError as error:
        return str(error)


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
