"""How far a sweep of this machine is, and stopping one."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from search import driver
from search.driver import Driver
from search.journal import Journal
from search.views import status
from spaces import InputError
from tests.search import test_cli
from tests.search.examples import small_sweep
from tests.search.test_cli import call
from tests.search.test_sweep import wait_for

home = test_cli.home


def test_status_of_a_sweep_and_of_all(home, monkeypatch, capsys):
    other = small_sweep(home / "elsewhere", trials=3)
    other.model_copy(
        update={"name": "other", "job": other.job.model_copy(update={"folder": str(home / "other")})}
    ).save()
    assert call(monkeypatch, "status", "--home", home) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["sweep", "state", "trials"] and len(lines) == 3
    assert lines[1].split()[:8] == ["small", "interrupted", "2", "of", "4", "1", "4", "3"]
    assert lines[2].split() == ["other", "interrupted", "0", "of", "3", "0", "0", "0", "0.0000"]
    assert call(monkeypatch, "status", "small", "--home", home) == 0
    text = capsys.readouterr().out
    assert "t0003 failed (2 of 4 trials" in text and "t0001 at 10 steps" not in text


def test_status_travels_as_a_line_among_others(home, monkeypatch, capsys):
    assert call(monkeypatch, "status", "--json", "--home", home) == 0
    text = "Running entrypoint\n" + capsys.readouterr().out + "a warning\n"
    assert status.from_lines(text) == status.statuses(home, None)
    assert status.from_lines("nothing") is None
    assert json.loads(text.splitlines()[1])[status.KEY][0]["state"] == "interrupted"


def test_a_home_without_sweeps_says_so(tmp_path, monkeypatch, capsys):
    assert call(monkeypatch, "status", "--home", tmp_path) == 0
    assert capsys.readouterr().out == f"No sweep under {tmp_path}.\n"


def test_what_does_not_run_is_not_stopped(home):
    with pytest.raises(InputError, match="small: does not run"):
        driver.stop(home / "small", 1.0)


@pytest.mark.parametrize(
    "who",
    [
        Driver("another-machine", os.getpid(), time.time()),
        Driver(Driver.me().host, os.getpid(), time.time() - 1e6),  # the number was given out again
        None,
    ],
)
def test_only_the_very_process_that_drives_is_signalled(home, who):
    folder = home / "small"
    journal = Journal(folder)
    (folder / driver.FILE).unlink(missing_ok=True)
    if who is not None:
        who.save(folder)
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with pytest.raises(InputError, match="cannot be reached from here"):
            driver.stop(folder, 0.1)
        Driver.me().save(folder)
        assert driver.stop(folder, 0.1) is False  # it got the signal, and keeps the journal all the same
    finally:
        signal.signal(signal.SIGTERM, before)
        journal.close()
    assert heard == [signal.SIGTERM]


DRIVER = """
import sys, time
from pathlib import Path
from search.driver import Driver, terminable
from search.journal import Ended, Journal
with terminable():
    journal = Journal(Path(sys.argv[1]))
    Driver.me().save(Path(sys.argv[1]))
    try:
        time.sleep(100)
    except KeyboardInterrupt:
        journal.append(Ended(5.0, "t0001", "finished", "told to stop", 20))
        time.sleep(0.5)
        journal.close()
"""
"""What a sweep's driver is to the rest of the world; that a real one ends so too is tested with Ray."""


def test_a_running_sweep_is_stopped_and_waited_for(home, monkeypatch, capsys):
    folder = home / "small"
    process = subprocess.Popen([sys.executable, "-c", DRIVER, str(folder)], start_new_session=True)
    try:
        wait_for(lambda: driver.driver_of(folder) is not None)
        assert call(monkeypatch, "status", "small", "--home", home) == 0
        assert "running" in capsys.readouterr().out
        assert call(monkeypatch, "stop", "small", "--home", home) == 0
        assert "small: stopped; `posefront resume small` goes on with it." in capsys.readouterr().out
        assert process.wait(20) == 0, "it was waited for, and not killed"
    finally:
        process.kill()
    found = status.status_of(home, "small")
    assert (found.state, found.finished, found.driver) == (
        "interrupted",
        1,
        f"process {process.pid} on {Driver.me().host}",
    )


def test_following_tells_all_until_no_driver_has_it(home):
    with (home / "lines.txt").open("w") as file:
        status.tell(home, "small", Console(file=file, width=200), last=1000, follow=True)
    text = (home / "lines.txt").read_text()
    assert text.count(" steps: identity ") == 4 and text.splitlines()[-1].endswith("ValueError: no")
