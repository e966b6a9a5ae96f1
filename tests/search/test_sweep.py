"""Real Ray, real MLflow, trials in closed form."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from analysis.observations import from_mlflow
from search import config as configs
from search.journal import Observed, Tracked, events, read
from search.sweep import resume, run
from search.views import show
from search.views.live import PlainLines
from spaces import Inference, InputError
from tests.search.curves import Curves
from tests.search.examples import small_space, small_sweep
from trainables.job import PanelConfig

ROOT = Path(__file__).parents[2]


def lines(path: Path, trials: int = 6) -> PlainLines:
    return PlainLines(Console(file=path.open("w"), width=200), small_space(), trials)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a sweep in which all that can go wrong with a trial went wrong."""
    home = tmp_path_factory.mktemp("home")
    sweep = small_sweep(home, trials=8, scheduler="none")  # that all come to where they die
    panel = PanelConfig(inferences=(Inference(), Inference(lora_scale=0.5)))
    sweep = sweep.model_copy(update={"job": sweep.job.model_copy(update={"panel": panel})})
    for failure in ("t0001.die", "t0002.die-once", "t0003.raise", "t0004.nan"):
        (home / "cache" / failure).touch()
    outcome = run(sweep, lines(home / "out.txt", 8), Curves)
    assert outcome.status == "finished"
    return home


def test_every_trial_ends_and_failures_have_reasons(swept):
    endings = read(swept / "small").endings
    assert len(endings) == 8
    failed = {trial: event.reason for trial, event in endings.items() if event.status == "failed"}
    assert set(failed) == {"t0001", "t0003", "t0004"}
    assert (
        failed["t0001"].startswith("its process died 3 times without a new checkpoint: ")
        and "\n" not in failed["t0001"]
    )
    assert failed["t0003"] == "ValueError: rank 8 of nothing"
    assert "pose nan" in failed["t0004"]


def test_a_trial_whose_process_died_once_goes_on(swept):
    ledger = read(swept / "small")
    assert ledger.endings["t0002"].status in ("finished", "stopped") and ledger.reached("t0002") >= 20


def test_mlflow_has_what_the_journal_has(swept):
    table = read(swept / "small").table
    recorded = from_mlflow(f"sqlite:///{swept}/mlflow.db", "small")
    assert [o.key for o in recorded] == sorted(o.key for o in table)
    assert {o.key: (o.scores, o.inference) for o in recorded} == {o.key: (o.scores, o.inference) for o in table}
    assert len(table) == 2 * len(read(swept / "small").observed), "every checkpoint is drawn in two ways"


def test_disk_keeps_the_fronts_adapters_and_no_states(swept):
    found = show.find(swept, "small")
    kept = {(path.parents[1].name, path.parent.name) for path in (swept / "small").rglob("adapter") if path.is_dir()}
    assert kept == {(o.trial, f"step-{o.steps:06d}") for o in found.front}
    assert not list((swept / "small").rglob("state.safetensors"))
    assert not (swept / "small" / "ray").exists()


def test_plots_and_timing_are_there(swept):
    folder = swept / "small"
    assert (folder / "pareto.html").stat().st_size > 1000 and (folder / "pareto.png").stat().st_size > 1000
    timing = read(folder).closed.timing
    assert timing.workers == 2 and 0 < timing.start < timing.wall and 0 < timing.busy < timing.wall
    document = json.loads((folder / "journal.jsonl").read_text().splitlines()[-1])
    assert document["timing"]["overhead"] == pytest.approx(timing.overhead)


def test_lines_say_what_happened(swept):
    text = (swept / "out.txt").read_text()
    assert "t0003 failed" in text and "ValueError: rank 8 of nothing" in text
    assert text.count(" steps: identity ") == len(read(swept / "small").observed)


def test_a_name_that_exists_is_refused_before_anything_starts(swept):
    with pytest.raises(InputError, match="posefront resume small"):
        run(small_sweep(swept), lines(swept / "other.txt"), Curves)


def test_a_journal_without_a_score_that_the_sweep_trades_is_one_line_before_ray_starts(swept, tmp_path):
    home = shutil.copytree(swept, tmp_path / "home")
    config = configs.load(home, "small")
    path = config.folder / "journal.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"pose":', '"posture":'), encoding="utf-8")
    with pytest.raises(InputError, match="has no score pose; this journal is of another space"):
        resume(config, lines(tmp_path / "again.txt"), Curves)


def test_a_finished_sweep_that_is_resumed_only_makes_up_for_the_record(swept):
    before = read(swept / "small")
    outcome = resume(configs.load(swept, "small"), lines(swept / "again.txt"), Curves)
    after = read(swept / "small")
    assert outcome.status == "finished" and outcome.timing.start == 0.0
    assert after.observed.keys() == before.observed.keys() and after.endings == before.endings
    assert len(from_mlflow(f"sqlite:///{swept}/mlflow.db", "small")) == len(before.table)


def driver(home: Path, trials: int, seconds: float, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.search.drive", str(home), str(trials), str(seconds), *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def wait_for(ready, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.05)


def observed_once(folder: Path) -> Counter:
    return Counter((e.main.trial, e.main.steps) for e in events(folder) if isinstance(e, Observed))


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, *(pytest.param(how, marks=pytest.mark.slow) for how in (signal.SIGINT, signal.SIGTERM))]
)
def test_a_driver_that_is_stopped_is_resumed_without_loss(tmp_path, how):
    folder, trials = tmp_path / "small", 8
    process = driver(tmp_path, trials, 0.4)
    wait_for(lambda: (folder / "journal.jsonl").exists() and len(read(folder).observed) >= 4)
    process.send_signal(how)
    output = process.communicate(timeout=60)[0].decode()
    assert "Traceback" not in output
    before = read(folder)
    assert len(before.endings) < trials and (before.closed is not None) == (how != signal.SIGKILL)
    assert show.find(tmp_path, "small").status == "interrupted"

    process = driver(tmp_path, trials, 0.0)
    output = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 0, output
    after = read(folder)
    assert len(after.proposals) == len(after.endings) == trials
    assert set(observed_once(folder).values()) == {1}
    for key, event in before.observed.items():
        assert (after.observed[key].decision, after.observed[key].time) == (event.decision, event.time)
    assert {trial: after.proposals[trial].recipe for trial in before.proposals} == {
        trial: event.recipe for trial, event in before.proposals.items()
    }
    recorded = Counter((o.trial, o.steps) for o in from_mlflow(f"sqlite:///{tmp_path}/mlflow.db", "small"))
    assert recorded == observed_once(folder)
    assert len({e.parent_run_id for e in events(folder) if isinstance(e, Tracked)}) == 1


def test_a_sweep_on_a_head_that_is_up(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}", "--num-cpus=2",
        "--node-ip-address=127.0.0.1", "--include-dashboard=false", "--object-store-memory=100000000",
        "--disable-usage-stats",
    ]  # fmt: skip
    head = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(lambda: _answers(port))
        process = driver(tmp_path, 4, 0.0, "--address", f"127.0.0.1:{port}")
        output = process.communicate(timeout=120)[0].decode()
        assert process.returncode == 0 and "2 trials at a time" in output, output
        ledger = read(tmp_path / "small")
        assert ledger.closed.status == "finished" and len(ledger.endings) == 4
        assert head.poll() is None and _answers(port)
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait(30)


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_cluster_that_is_not_there_is_one_line(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(InputError, match="--address"):
        run(small_sweep(tmp_path, address=address), lines(tmp_path / "out.txt"), Curves)
    assert not (tmp_path / "small").exists()
