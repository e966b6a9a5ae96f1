"""The watcher against a metadata service over HTTP; beside Ray and trials it is in tests/benchmarks/test_faults.py."""

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks.faults.metadata import MetadataService, metadata_service
from search import spot
from search.spot import Metadata, watch
from trainables.machine.notice import VARIABLE, Notice, current


@pytest.fixture
def service():
    with metadata_service() as running:
        yield running


@pytest.fixture
def drained(monkeypatch) -> list[tuple]:
    """What Ray was told: here there is none."""
    told = []
    monkeypatch.setattr(spot, "drain", lambda *arguments: told.append(arguments))
    return told


def test_no_notice_is_none_and_a_notice_says_what_and_when(service: MetadataService):
    metadata = Metadata(service.address("i-1"))
    assert metadata.notice() is None
    service.take("i-1", 1_900_000_000.0)
    assert metadata.notice() == ("terminate", 1_900_000_000.0)
    assert Metadata(service.address("i-2")).notice() is None


def test_a_token_that_ran_out_is_renewed(service: MetadataService):
    metadata = Metadata(service.address("i-1"))
    assert metadata.notice() is None
    service.tokens.clear()
    assert metadata.notice() is None and len(service.tokens) == 1


def test_ray_is_told_before_the_trials(service, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "node" / "notice"))
    seen = []
    monkeypatch.setattr(spot, "drain", lambda *arguments: seen.append((arguments, current())))
    deadline = float(round(time.time()) + 120)
    thread = threading.Timer(0.3, service.take, ("i-1", deadline))
    thread.start()
    watch(Metadata(service.address("i-1")), 0.05, tmp_path / "node" / "notice", "head:1", "abc")
    [(arguments, before)] = seen
    assert before is None and arguments[:2] == ("head:1", "abc") and arguments[3] == deadline
    notice = current()
    assert notice.leave and notice.deadline == deadline and "terminate" in notice.reason
    assert "Ray and the trials were told" in capsys.readouterr().out
    assert service.asked.total() >= 3


def test_without_ray_the_trials_save_and_stay(service, tmp_path, monkeypatch, capsys):
    def unreachable(*arguments: object) -> None:
        raise ConnectionError("no head")

    monkeypatch.setattr(spot, "drain", unreachable)
    service.take("i-1", time.time() + 120)
    watch(Metadata(service.address("i-1")), 0.05, tmp_path / "notice", None, None)
    assert not Notice(**json.loads((tmp_path / "notice").read_text())).leave
    assert "no head" in capsys.readouterr().out


def test_a_service_that_is_away_is_said_once_and_waited_for(service, drained, tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = Metadata(f"http://127.0.0.1:{free.getsockname()[1]}")

    def there_again() -> None:
        nobody.address = service.address("i-1")
        time.sleep(0.3)
        service.take("i-1", time.time() + 120)

    threading.Timer(0.3, there_again).start()
    watch(nobody, 0.05, tmp_path / "notice", None, None)
    out = capsys.readouterr().out
    assert out.count("does not answer") == 1 and out.count("answers again") == 1 and len(drained) == 1


def test_a_notice_from_before_this_machine_was_started_again_does_not_count(service, drained, tmp_path):
    (tmp_path / "notice").write_text("{}")
    thread = threading.Thread(
        target=watch, args=(Metadata(service.address("i-1")), 0.05, tmp_path / "notice", None, None)
    )
    thread.start()
    time.sleep(0.3)
    assert not (tmp_path / "notice").exists()
    service.take("i-1", time.time())
    thread.join(5)
    assert not thread.is_alive() and drained


def test_where_trials_look_has_to_be_known():
    command = [sys.executable, "-m", "search.spot"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and VARIABLE in done.stderr and "Traceback" not in done.stderr
