"""What a sweep's subject is, in a few facts that outlive its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.config import SweepConfig
from search.journal import Ledger
from spaces import InputError
from trainables.storage.subject import fingerprint
from trainables.subject import Subject, find_folder


@dataclass(frozen=True)
class About:
    """A subject, as far as it can be read."""

    name: str
    source: str
    """Its folder, or where a storage has its copy."""
    digest: str
    """Of its files: equal for equal files; `unknown` where they are gone and nobody noted it."""
    words: str | None = None
    """What names it in a prompt: token and class."""
    profile: dict[str, Any] | None = None
    """How many pictures and poses it has, and the like."""


def about(config: SweepConfig, ledger: Ledger) -> About:
    """The subject of a sweep, by what the journal noted of it; a folder that is gone or has changed tells no more."""
    job = config.job
    source = job.storage.subject if job.storage else job.subject
    known = ledger.subject or (job.storage.fingerprint if job.storage else None)
    now = fingerprint_of(job.subject)
    name, digest = Path(source).name, known or now or "unknown"
    if now is None or known not in (None, now):
        return About(name, source, digest)
    try:
        subject = Subject.load(job.subject)
    except InputError:
        return About(name, source, digest)
    profile = {
        "pictures": len(subject.pictures), "poses": len(subject.poses), "prompts": len(subject.prompts),
        "class": subject.class_noun, "token": subject.token, "skeleton": Path(subject.skeleton or "").name,
        "with keypoints": sum(p.keypoints is not None for p in subject.pictures),
        "with masks": sum(p.mask is not None for p in subject.pictures),
    }  # fmt: skip
    return About(name, source, digest, f"{subject.token} {subject.class_noun}", profile)


def fingerprint_of(subject: str) -> str | None:
    """Of a subject's files as they are now; None where they cannot be read."""
    try:
        return fingerprint(find_folder(subject))
    except (InputError, OSError):
        return None
