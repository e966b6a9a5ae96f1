"""A real sweep, watched from outside: where it listens, and what it lets out of its environment."""

import ipaddress
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.security.sockets import command_line, family, listening

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIA0POSEFRONT0SECRET",
    "AWS_SECRET_ACCESS_KEY": "posefront-secret-of-aws-4711",
    "HF_TOKEN": "hf_posefrontsecretofthehub4711",
    "MLFLOW_TRACKING_USERNAME": "posefront-user-4711",
    "MLFLOW_TRACKING_PASSWORD": "posefront-secret-of-mlflow-4711",
}


@dataclass
class Watched:
    """What was seen of a sweep that ran to its end."""

    listening: dict[tuple[str, int], str] = field(default_factory=dict)
    command_lines: set[str] = field(default_factory=set)
    output: str = ""
    written: list[Path] = field(default_factory=list)
    """All files of the sweep, of MLflow and of Ray."""


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with tempfile.TemporaryDirectory(prefix="pf") as folder:  # Ray's sockets need a short path
        home, log = Path(folder) / "runs", Path(folder) / "output.txt"
        home.mkdir()
        with log.open("wb") as output:
            driver = subprocess.Popen(
                [sys.executable, "-m", "tests.search.drive", str(home), "4", "0.5"],
                env=os.environ | SECRETS | {"RAY_TMPDIR": folder}, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        seen = Watched()
        try:
            while driver.poll() is None:
                processes = family(driver.pid)
                seen.listening |= listening(processes)
                seen.command_lines |= {command_line(process) for process in processes}
                time.sleep(0.2)
        finally:
            driver.kill()
        seen.output = log.read_text(errors="replace")
        assert driver.wait() == 0, seen.output
        seen.written = [path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink()]
        yield seen


def test_it_listens_on_this_machine_alone(watched: Watched) -> None:
    """Ray's servers, agents and workers too, although its defaults are all addresses."""
    programs = " ".join(watched.listening.values())
    assert "gcs_server" in programs and "raylet" in programs and "RuntimeEnvAgent" in programs, "Ray was seen"
    open_to_others = {at: program for at, program in watched.listening.items() if not is_loopback(at[0])}
    assert open_to_others == {}


def test_no_secret_of_its_environment_is_written_printed_or_a_programs_argument(watched: Watched) -> None:
    names = {path.name for path in watched.written}
    assert {"sweep.json", "journal.jsonl", "mlflow.db", "pareto.html", "raylet.out"} <= names
    for name, secret in SECRETS.items():
        found = [str(path) for path in watched.written if secret.encode() in path.read_bytes()]
        assert found == [], f"{name} was written"
        assert secret not in watched.output
        assert not any(secret in line for line in watched.command_lines)
    assert any("raylet" in line for line in watched.command_lines)


def is_loopback(address: str) -> bool:
    """Also as IPv6 writes IPv4's 127.0.0.1."""
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback
