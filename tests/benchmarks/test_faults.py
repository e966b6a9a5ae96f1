"""Real Ray on several nodes of this machine, real MLflow, real signals; trials that cost next to nothing."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.faults import check
from benchmarks.faults.check import steps_taken, wrong
from benchmarks.faults.kill import PATIENCE, campaign
from benchmarks.faults.metadata import metadata_service
from benchmarks.faults.nodes import Nodes, nodes
from benchmarks.faults.preempt import preemptions
from benchmarks.faults.soak import soak
from benchmarks.faults.sweeps import Driver, Plan, undisturbed, wait_for
from search.journal import Lost, events

ROOT = Path(__file__).parents[2]
QUIET = {"say": lambda line: None}
PLAN = Plan(trials=10, scheduler="none", pace=0.04, puppets=False, at_once=4)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    """Three nodes: a head, and two workers that spot may take away. The head is Ray's, the workers' notice EC2's."""
    home = tmp_path_factory.mktemp("cluster")
    with metadata_service() as spot, nodes(home, workers=2, cpus=2, spot=spot) as running:
        yield running


def test_of_three_nodes_one_is_killed_in_mid_sweep(cluster: Nodes, tmp_path: Path):
    calm = undisturbed(PLAN, tmp_path, "calm", 1, cluster.address, PATIENCE)
    with Driver(PLAN.sweep(tmp_path, "hit", 1, cluster.address), puppets=False) as driver:
        wait_for(lambda: driver.journal().count(b'"observed"') >= 4, PATIENCE, "the sweep did not get going")
        victim = max(cluster.alive, key=lambda worker: len(worker.trials()))
        running = len(victim.trials())
        assert running > 0 and cluster.kill_node(victim)
        driver.finish(PATIENCE)
    cluster.add()
    assert wrong(driver.config, calm, same_table=True) == []
    lost = [event.cause for event in events(driver.config.folder) if isinstance(event, Lost)]
    assert set(lost) == {"node"} and len(lost) <= running
    assert "is to go on from its last checkpoint: its node was lost" in driver.output.read_text()


@pytest.mark.slow
def test_driver_and_store_are_killed(cluster: Nodes, tmp_path: Path):
    tally = campaign(cluster, tmp_path, PLAN, ("driver", "store"), 2, seed=3, gap=(0.1, 0.4), **QUIET)
    assert tally.wrong == [] and tally.killed == {"driver": 1, "store": 1}


@pytest.mark.slow
def test_a_node_that_spot_takes_away_costs_no_step(cluster: Nodes, tmp_path: Path):
    tally = preemptions(cluster, tmp_path, replace(PLAN, pace=0.1), 1, seed=5, notice=6.0, gap=(0.5, 1.0), **QUIET)
    assert tally.wrong == [] and set(tally.lost) == {"preempted"} and tally.repeated == 0


def test_a_check_sees_what_is_wrong(tmp_path: Path):
    """Else all of the above would hold of anything."""
    plan = Plan(trials=4, scheduler="none", pace=0.0, puppets=False, at_once=1)
    calm = undisturbed(plan, tmp_path, "calm", 1, "", PATIENCE)
    config = plan.sweep(tmp_path, "other", 2, "")
    other = undisturbed(plan, tmp_path, "other", 2, "", PATIENCE)
    assert len(other.table) == 12 and steps_taken(config.folder) == 160
    assert list(check._journal(config, other)) == []
    (line,) = check._disk(config, other)  # nothing pruned what left the front
    assert line.startswith("adapters are kept")
    next(config.folder.glob("trials/*/*/observation.json")).unlink()
    assert any("1 observations are not on disk" in line for line in check._disk(config, other))
    found = list(check._beside(config, other, calm, same_table=True))
    assert any("12 observations are different" in line for line in found)
    assert any("fronts differ" in line for line in found)
    assert len(list(check._beside(config, other, calm, same_table=False))) == 12
    path = config.folder / "journal.jsonl"
    before = path.read_bytes()
    assert check.kept(before + b'{"cut', config)
    path.write_bytes(before[100:])
    assert not check.kept(before, config)


def command(*words: str, seconds: float) -> str:
    """What `python -m benchmarks.faults` says of it; it must have found nothing wrong."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.faults", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output = process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    return output


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scheduler", ["none", "asha-pareto"])
def test_fifty_kills(scheduler: str):
    times = 50 if scheduler == "none" else 20
    output = command("kill", "--times", str(times), "--scheduler", scheduler, seconds=1700)
    assert f"killed: {times} " in output


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_fine_tunes_are_killed():
    output = command("kill", "--times", "4", "--trials", "6", "--cpus", "1", "--puppets", seconds=850)
    assert "killed: 4 " in output


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nodes_are_taken_away_with_two_minutes_notice():
    assert "0 of " in command("preempt", "--times", "4", "--notice", "120", seconds=850)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_soak():
    assert "500 trials ended" in command("soak", seconds=1100)


@pytest.mark.slow
def test_a_short_soak(cluster: Nodes, tmp_path: Path):
    """Processes are killed."""
    plan = Plan(trials=30, scheduler="none", pace=0.02, puppets=False, at_once=4)
    tally, series = soak(cluster, tmp_path, plan, ("process",), every=2.0, seed=7, seconds=180, **QUIET)
    assert tally.wrong == [] and len(series.rows) > 2
    # A process that was through with its trial when it was killed is no loss of any.
    assert 0 < tally.lost["process"] == tally.lost.total() <= tally.killed["process"]
