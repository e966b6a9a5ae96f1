"""A sweep on a storage, as a driver or a reader on any machine finds it there."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from filelock import FileLock
from pydantic import ValidationError

from search import config as configs
from search import journal
from search.config import SweepConfig, first_complaint
from spaces import InputError
from trainables.job import HELD_OUT, SEARCHED, Job, StorageConfig
from trainables.storage import (
    POSES,
    SUBJECT,
    Store,
    bring_first,
    bring_subject,
    fingerprint,
    parse_address,
    subject_files,
)

PATIENCE = 30.0
"""Seconds that a command waits for a storage that does not answer."""
TERM = "term"
"""Which lease the journal in a home was last written under."""
PANELS, LAST = (SEARCHED, HELD_OUT), "base.json"
"""Where the panels' files are, and which of them is written last."""


def store_of(job: Job, patience: float = PATIENCE) -> Store:
    """The storage of a sweep that has one."""
    return Store(parse_address(job.storage.uri), patience)


def storage_for(where: str, home: Path, name: str, subject: str) -> StorageConfig:
    """What a new sweep of that name keeps of its storage. InputError when the place cannot be, or has the sweep."""
    address = parse_address(where) / name
    if address.scheme == "file" and Path(address.root).resolve() == (home / name).resolve():
        raise InputError("--storage", f"{where} is the home: a home that all machines see needs no --storage")
    store = Store(address, PATIENCE)
    store.check()
    if store.read(configs.FILE) is not None:
        resume = f"`posefront resume {name} --storage {where}` goes on with it"
        raise InputError("--name", f"{name!r} exists in {where}; {resume}, or choose another name")
    return StorageConfig(uri=str(address), sweep=uuid4().hex[:12], subject=subject)


def is_taken(where: str, name: str) -> bool:
    """Whether the storage has a sweep of that name."""
    store = Store(parse_address(where) / name, PATIENCE)
    store.check()
    return store.read(configs.FILE) is not None


def locate(home: Path, name: str, where: str | None) -> SweepConfig:
    """The config of a sweep of this home, else of the storage, as if begun here. InputError when there is none."""
    if where is None or (home / name / configs.FILE).exists():
        config = configs.load(home, name)
        if where is not None and config.job.storage is not None:
            asked = str(parse_address(where) / name)
            if asked != config.job.storage.uri:
                raise InputError("--storage", f"{name} in {home} is kept at {config.job.storage.uri}, not at {asked}")
        return config
    store = Store(parse_address(where) / name, PATIENCE)
    store.check()
    content = store.read(configs.FILE)
    if content is None:
        known = ", ".join(configs.sweeps(home)) or "none"
        raise InputError(name, f"is not a sweep at {where}, nor under {home}; there are: {known}")
    try:
        config = SweepConfig.model_validate_json(content)
    except ValidationError as error:
        where = store.address / configs.FILE
        raise InputError(where, f"is not a sweep's config: {first_complaint(error)}") from None
    if config.name != name or config.job.storage is None or config.job.storage.uri != str(store.address):
        raise InputError(store.address / configs.FILE, "is another sweep's: a sweep cannot be moved by copying")
    return config.moved(home)


def begin(config: SweepConfig, store: Store) -> SweepConfig:
    """Takes a new sweep's subject and poses to the storage as they are now, and makes its folder; the config with the
    copies. InputError where the home has the name."""
    source, poses, storage = Path(config.job.subject), Path(config.job.poses), config.job.storage
    changes: dict[str, object] = {}
    if source.is_absolute():  # a shipped one is where posefront is
        changes["subject"] = str(config.folder / SUBJECT)
        storage = storage.model_copy(update={"fingerprint": fingerprint(source)})
    if poses.is_absolute():
        changes["poses"] = str(config.folder / POSES)
    config = config.model_copy(update={"job": config.job.model_copy(update=changes | {"storage": storage})})
    for folder, name in ((source, SUBJECT), (poses, POSES)):
        store.delete(store.files(name))  # of an attempt that was cut short
        if folder.is_absolute():
            for path in subject_files(folder):
                store.push(path, f"{name}/{path.relative_to(folder).as_posix()}")
    store.write(configs.FILE, config.model_dump_json(indent=2).encode())  # last: it makes all of it a sweep
    config.save()
    _bring_subject(config, store)
    return config


def bring(config: SweepConfig, store: Store, note: Callable[[str], None]) -> None:
    """Makes the sweep's folder what it is at the storage: config, journal, subject."""
    refresh(config, store)
    _bring_subject(config, store)
    begun_with, source = config.job.storage.fingerprint, Path(config.job.storage.subject)
    if begun_with is not None and source.is_dir() and fingerprint(source) != begun_with:
        note(f"storage: {source} has changed since the sweep began, which goes on with the copy of then")


def refresh(config: SweepConfig, store: Store) -> None:
    """Brings the journal, where a driver elsewhere has written it since, and the config, if there is none here."""
    folder = config.folder
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "refresh.lock"):
        if not (folder / configs.FILE).exists():
            _write(folder / configs.FILE, config.model_dump_json(indent=2).encode())
        terms = sorted(int(Path(name).stem) for name in store.files("journal") if Path(name).stem.isdigit())
        if not terms or terms[-1] <= term_here(folder) or journal.is_running(folder):
            return
        content = store.read(journal_name(terms[-1]))
        if content is not None:
            _write(folder / journal.FILE, b"".join(map(_moved(folder), content.splitlines(keepends=True))))


def fetch(store: Store, folder: Path, path: Path) -> None:
    """Brings a file or a folder of the sweep's folder here, whole or not at all, if it is there and not here."""
    if path.exists() or not path.is_relative_to(folder):
        return
    name = path.relative_to(folder).as_posix()
    panel = name.split("/")[0]
    if panel in PANELS:
        bring_first(store, panel, LAST, folder / panel)
        return
    if path.suffix:
        try:
            store.pull(name, path)
        except FileNotFoundError:
            return
    elif files := store.files(name):
        arriving = path.parent / f".{path.name}.{uuid4().hex}"
        for file in files:
            store.pull(file, arriving / file.removeprefix(f"{name}/"))
        arriving.rename(path)


def _bring_subject(config: SweepConfig, store: Store) -> None:
    inside = [Path(path) for path in (config.job.subject, config.job.poses)]
    if any(path.is_relative_to(config.folder) and not path.exists() for path in inside):
        bring_subject(store, config.job.storage.fingerprint, config.folder)


def journal_name(term: int) -> str:
    return f"journal/{term:06d}.jsonl"


def term_here(folder: Path) -> int:
    """Under which lease the folder's journal was written, 0 if it only came from a storage."""
    path = folder / TERM
    return int(path.read_text(encoding="ascii")) if path.exists() else 0


def set_term(folder: Path, term: int) -> None:
    _write(folder / TERM, str(term).encode())


def _moved(folder: Path) -> Callable[[bytes], bytes]:
    """Of a line of the journal: with its checkpoint's folder in the sweep's folder here."""

    def line(content: bytes) -> bytes:
        event = json.loads(content)
        if "folder" not in event:
            return content
        return (json.dumps(event | {"folder": str(folder.joinpath(*Path(event["folder"]).parts[-3:]))}) + "\n").encode()

    return line


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    partial.write_bytes(content)
    os.replace(partial, path)
