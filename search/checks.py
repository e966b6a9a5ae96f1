"""What is looked at before a sweep starts, so that a mistake is one line now and not a failed trial later."""

import re
import socket
from pathlib import Path

from spaces import InputError
from trainables.job import Job
from trainables.subject import Subject

SHIPPED_BASES = ("puppets",)
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
JUDGES = ("judges/identity", "judges/keypoints")
"""Beside the models of a base's folder: what scores its pictures."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def check_job(job: Job) -> None:
    """The subject is read in full; of base and ControlNet only that they are there, since reading them is slow."""
    Subject.load(job.subject)
    if job.base not in SHIPPED_BASES:
        parts = (*PARTS, *JUDGES) if job.controlnet else (*PARTS, "controlnet", *JUDGES)
        _check_models(job.base, "--base", parts)
    if job.controlnet is not None:
        _check_models(job.controlnet, "--controlnet", ())


def check_address(address: str) -> None:
    """Whether something listens at HOST:PORT: Ray itself would try for minutes. `auto` finds this machine's own."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError("--address", f"{address!r} should be HOST:PORT of a Ray head, such as 10.0.0.1:6379, or auto")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError("--address", f"no Ray head answers at {address} ({reason})") from None


def _check_models(source: str, option: str, parts: tuple[str, ...]) -> None:
    folder = Path(source)
    if not folder.is_dir():
        if _HUB_ID.fullmatch(source) is None:
            named = f"a diffusers folder, a hub id such as owner/name, or {', '.join(SHIPPED_BASES)}"
            raise InputError(option, f"{source!r} is not there; it should be {named}")
        return
    for part in parts:
        if not (folder / part).is_dir():
            hint = "; name one with --controlnet" if part == "controlnet" else ""
            raise InputError(option, f"{folder} has no {part}/; a diffusers folder has {', '.join(PARTS)}{hint}")
