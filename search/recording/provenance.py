"""Which code ran: its git revision, and the versions of what it is built on."""

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CODE = Path(__file__).parents[2]
FILE = "revision.txt"
"""Beside the code, where that was copied out of its checkout: what git said there."""
PACKAGES = ("posefront", "ray", "torch", "diffusers", "transformers", "peft", "optuna", "mlflow")
GIT, CHANGED = "git", "+changes"
"""The revision's name, and what follows it where files were changed since."""
_SECONDS = 10.0


def provenance() -> dict[str, str]:
    """Versions by name, Python's too, and the revision as `git` where it is known."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # the code alone was sent to a cluster
            continue
    revision = revision_of(CODE)
    return found | ({GIT: revision} if revision else {})


def revision_of(code: Path) -> str | None:
    """The commit of a checkout, with `+changes` where tracked files differ; None where there is none to be known."""
    said = code / FILE
    if said.is_file():
        return said.read_text(encoding="utf-8").strip() or None
    if _git(code, "ls-files", "--error-unmatch", "search/recording/provenance.py") is None:
        return None  # no checkout, or another project's that we are installed in
    commit = _git(code, "rev-parse", "HEAD")
    changed = _git(code, "status", "--porcelain", "--untracked-files=no")
    return commit and commit + (CHANGED if changed else "")


def _git(code: Path, *arguments: str) -> str | None:
    """What git prints; None where it is not there or refuses."""
    command: Sequence[str] = ("git", "-C", str(code), *arguments)
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
