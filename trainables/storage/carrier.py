"""Takes a trial's files to the sweep's storage and brings them to whichever machine the trial goes on.

A checkpoint's `observation.json` goes last, so that its presence says there, as on a disk, that the checkpoint is
complete; a state goes after its adapter, so that whoever goes on from it need not write the adapter again.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from spaces import InputError
from trainables.job import Job
from trainables.storage.address import parse_address
from trainables.storage.store import StorageError, Store, tree, within
from trainables.storage.subject import POSES, SUBJECT, fingerprint

OBSERVATION, STATE = "observation.json", "state.safetensors"
KEPT = 2
"""So many of a running trial's states, as the trial itself keeps on its disk."""
SCRATCH_VARIABLE = "POSEFRONT_SCRATCH"


class Carrier:
    """Between this machine and the storage. A sweep without one has its folder in everybody's sight: nothing moves."""

    def __init__(self, job: Job) -> None:
        self._told = Path(job.folder)
        self.job = job
        """With the folders of this machine."""
        if job.storage is not None:
            folder = scratch() / f"{self._told.name}-{job.storage.sweep}"
            self.job = job.moved(folder, scratch() / "cache")
        self._folder = Path(self.job.folder)
        self._trial: str | None = None
        self._pushed: dict[str, tuple[int, int]] = {}
        """What this process took there: name to bytes and time of change."""
        self._complete: set[str] = set()
        """Prefixes of the checkpoints that are complete there."""
        self._behind = False
        """Whether the storage lacks something."""

    @property
    def carries(self) -> bool:
        return self.job.storage is not None

    def told(self, folder: Path) -> str:
        """What the driver calls a folder of this machine."""
        return str(self._told / folder.relative_to(self._folder))

    def begin(self, trial: str) -> None:
        """Brings the subject, what the trial has observed, and the states that it may go on from."""
        if not self.carries:
            return
        self._trial, self._pushed = trial, {}
        _private(scratch())
        self._bring_subject()
        there = self._store.files(f"trials/{trial}")
        self._complete = {name.rpartition("/")[0] for name in there if name.endswith(f"/{OBSERVATION}")}
        for name in there:
            path = within(self._folder, name)
            if path.name in (OBSERVATION, STATE) and not path.exists():
                self._store.pull(name, path)
            if path.name == OBSERVATION:
                self._pushed[name] = _stamp(path)

    def push(self, folder: Path) -> None:
        """Takes what is new in a checkpoint's folder there; when it is complete, old states go, as on a disk."""
        prefix = folder.relative_to(self._folder).as_posix()
        observation = f"{prefix}/{OBSERVATION}"
        if not self.carries:
            return
        if prefix in self._complete:
            if self._pushed[observation] == _stamp(folder / OBSERVATION):
                return
            self._store.delete([observation])  # the trial could not use it, and made the checkpoint again
            self._complete.discard(prefix)
        self._behind = True
        files = [path for path in tree(folder) if not path.name.endswith(".partial")]
        for path in sorted(files, key=lambda path: (path.name == OBSERVATION, path.name == STATE, path)):
            name, stamp = path.relative_to(self._folder).as_posix(), _stamp(path)
            if self._pushed.get(name) != stamp:
                self._store.push(path, name)
                self._pushed[name] = stamp
        if (folder / OBSERVATION).exists():
            self._complete.add(prefix)
            kept = {f"{complete}/{STATE}" for complete in sorted(self._complete)[-KEPT:]}
            states = [name for name in self._store.files(f"trials/{self._trial}") if name.endswith(f"/{STATE}")]
            self._store.delete(name for name in states if name < f"{prefix}/" and name not in kept)
        self._behind = False

    def share(self, make: Callable[[], object], prefix: str, last: str) -> None:
        """Makes the files below a prefix once for all machines, where `make` writes them to this machine's folder.

        Who finds none makes them and takes them there under a name of their own; then the first that were complete
        are everybody's, so that all trials are scored against the same.
        """
        if not self.carries:
            make()
            return
        folder = self._folder / prefix
        shared = folder / ".shared"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not shared.exists():
                if first_of(self._store, prefix, last) is None:
                    make()
                    self._share(folder, prefix, last)
                shutil.rmtree(folder)
                bring_first(self._store, prefix, last, folder)
                shared.touch()
            make()

    def _share(self, folder: Path, prefix: str, last: str) -> None:
        own = f"{prefix}/{uuid4().hex}"
        for path in sorted(tree(folder), key=lambda path: (path.name == last, path)):
            if path.suffix not in (".lock", ".partial"):
                self._store.push(path, f"{own}/{path.relative_to(folder).as_posix()}")

    def end(self) -> None:
        """Frees this machine's disk of a trial, unless it has what the storage did not take."""
        if self.carries and self._trial is not None and not self._behind:
            shutil.rmtree(self._folder / "trials" / self._trial, ignore_errors=True)

    @cached_property
    def _store(self) -> Store:
        return Store(parse_address(self.job.storage.uri))

    def _bring_subject(self) -> None:
        """Once for this machine, whole or not at all."""
        wanted = [Path(path) for path in (self.job.subject, self.job.poses)]
        wanted = [path for path in wanted if path.is_relative_to(self._folder)]
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder / "subject.lock"):
            if not all(path.exists() for path in wanted):
                bring_subject(self._store, self.job.storage.fingerprint, self._folder)


def bring_subject(store: Store, expected: str | None, folder: Path) -> None:
    """The sweep's copies of the subject and of its target poses, each whole or not at all.

    `expected` is the subject's fingerprint, None where it is a shipped one. InputError when the copy is another.
    """
    for name in (POSES, SUBJECT):
        arriving = folder / f".{name}.{uuid4().hex}"
        try:
            store.pull_tree(name, arriving)
            if (
                name == SUBJECT
                and expected is not None
                and (not arriving.exists() or fingerprint(arriving) != expected)
            ):
                raise StorageError(store.address / name, "is not the copy of the subject that the sweep began with")
            if arriving.exists() and not (folder / name).exists():
                arriving.rename(folder / name)
        finally:
            shutil.rmtree(arriving, ignore_errors=True)


def first_of(store: Store, prefix: str, last: str) -> str | None:
    """The name below a prefix whose files were complete first, None where there are none; the same for all who ask."""
    complete = {name: file.changed for name, file in store.files(prefix).items() if name.endswith(f"/{last}")}
    return min(complete, key=lambda name: (complete[name], name)).split("/")[-2] if complete else None


def bring_first(store: Store, prefix: str, last: str, folder: Path) -> None:
    """Brings the files that were complete first into a folder, if there are any; `last` after the others."""
    first = f"{prefix}/{first_of(store, prefix, last)}"
    for name in sorted(store.files(first), key=lambda name: (name == f"{first}/{last}", name)):
        store.pull(name, within(folder, name.removeprefix(f"{first}/")))


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written anew: its bytes and its time in ns."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def scratch() -> Path:
    """This machine's folder for copies of what is on storages."""
    named = os.environ.get(SCRATCH_VARIABLE)
    return Path(named or Path(tempfile.gettempdir()) / f"posefront-{os.getuid()}").absolute()


def _private(folder: Path) -> None:
    """Makes a folder for oneself. InputError where it is somebody else's, who could put anything there."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise InputError(SCRATCH_VARIABLE, f"{folder} belongs to another user; name a folder of your own")
