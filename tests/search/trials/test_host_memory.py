"""A trial that takes the machine's memory, with Ray's own monitor of it."""

import psutil
import pytest

from search.journal import read
from search.sweep import run
from tests.search.curves import Curves
from tests.search.examples import small_sweep
from tests.search.inprocess import Lines
from tests.search.sameness import assert_nothing_is_lost


@pytest.mark.slow
def test_a_trial_that_takes_the_machines_memory_fails_with_that_reason_and_the_others_go_on(
    tracking_uri, tmp_path, monkeypatch
):
    memory = psutil.virtual_memory()
    if memory.available < 10e9:
        pytest.skip("the trial takes 6 GB")
    monkeypatch.setenv("RAY_memory_usage_threshold", str((memory.total - memory.available + 4e9) / memory.total))
    config = small_sweep(tmp_path, trials=4, scheduler="none", max_failures=1)
    (tmp_path / "cache" / "t0002.hoard").touch()
    lines = Lines(config)
    outcome = run(config, lines, Curves)
    ledger = read(config.folder)
    assert outcome.status == "finished" and ledger.endings["t0002"].status == "failed"
    assert "memory" in ledger.endings["t0002"].reason, ledger.endings["t0002"].reason
    assert ledger.statuses["failed"] == 1, lines.text
    assert_nothing_is_lost(config.folder, tracking_uri)
