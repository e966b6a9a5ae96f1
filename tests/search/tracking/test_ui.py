"""`posefront ui`: MLflow on this machine alone, gone when it is told to go."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from search import sweep
from search.journal import read
from search.tracking import ui
from spaces import InputError
from tests.search.curves import Curves
from tests.search.examples import small_sweep
from tests.search.inprocess import Lines, without_ray


def test_a_home_without_a_record_and_a_port_that_is_taken_are_one_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"has no mlflow\.db"), ui.served(tmp_path):
        pass
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind((ui.LOCALHOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port: {port} is taken"), ui.served(tmp_path, port):
            pass
        assert ui._free(port, any_other=True) != port


@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_the_sweeps_page_and_leaves_nothing_behind(told, tracking_uri, tmp_path, monkeypatch):
    config = small_sweep(tmp_path, trials=2)
    without_ray(monkeypatch)
    assert sweep.run(config, Lines(config), Curves).missing is None
    command = [sys.executable, "-m", "search", "ui", "small", "--no-browser", "--home", str(tmp_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    page = process.stdout.readline().strip()
    begun = psutil.Process(process.pid).children(recursive=True)
    try:
        run = read(config.folder).parent_run_id
        assert page.startswith("http://127.0.0.1:") and f"/runs/{run}" in page
        assert urllib.request.urlopen(page, timeout=60).status == 200
        listening = [c for each in begun for c in each.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert {c.laddr.ip for c in listening} == {ui.LOCALHOST}
    finally:
        process.send_signal(told)
        assert process.wait(60) == 0
    assert begun and not [each for each in begun if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
