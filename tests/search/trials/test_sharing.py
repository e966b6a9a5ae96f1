"""Trials that share cards, on a real Ray of several nodes whose cards are made up."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private import ray_constants
from ray.cluster_utils import Cluster
from rich.console import Console

from search.journal import Ledger, read
from search.sweep import run
from search.views.live import PlainLines
from spaces import parse_space
from tests.search.cards import GB, TEXT, OnCards
from tests.search.examples import small_sweep

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
]  # each starts a cluster; the same without Ray: test_allotment.py

HERE = {"node_ip_address": "127.0.0.1", "object_store_memory": 80_000_000}
HEAD = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False} | HERE


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # else the driver takes 127.0.0.1 for another address
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)  # the same where Ray was imported before
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # it listens on 127.0.0.1 alone, and lives for a minute
    monkeypatch.setenv("RAY_worker_niceness", "0")
    cluster = Cluster(initialize_head=True, head_node_args=HEAD)
    yield cluster
    cluster.shutdown()


def swept(
    home: Path, cluster: Cluster, cards: dict[str, int], trials: int, text: str = TEXT
) -> tuple[Ledger, list[dict]]:
    """The ledger of a sweep on the cluster, and what its trials wrote down of where they were, in order of time.

    `cards` are the GB of the nodes' cards.
    """
    sweep = small_sweep(
        home, trials, 3.0, space_text=text, address=cluster.address, workers=None, gpus_per_trial="auto"
    )
    (home / "cache" / "cards.json").write_text(json.dumps(cards))
    lines = PlainLines(Console(file=(home / "out.txt").open("w"), width=200), parse_space(text, "small"), trials)
    outcome = run(sweep, lines, OnCards)
    assert outcome.status == "finished"
    ledger = read(home / "small")
    assert len(ledger.endings) == trials
    entries = [json.loads(line) for line in (home / "cache" / "where.jsonl").read_text().splitlines()]
    return ledger, sorted(entries, key=lambda entry: entry["began"])


def together(entries: list[dict], entry: dict) -> list[dict]:
    """Those that were on the same card when one began, itself included."""
    card = entry["node"], entry["gpus"]
    return [e for e in entries if (e["node"], e["gpus"]) == card and e["began"] <= entry["began"] < e["ended"]]


def test_recipes_share_cards_that_hold_them_and_go_on_elsewhere_when_they_need_more(tmp_path, cluster):
    small = cluster.add_node(num_cpus=3, num_gpus=1, resources={"gpu_gb": 24}, **HERE).node_id
    large = cluster.add_node(num_cpus=3, num_gpus=1, resources={"gpu_gb": 80}, **HERE).node_id
    ledger, entries = swept(tmp_path, cluster, {small: 24, large: 80}, 14)
    sizes = {small: 24 * GB, large: 80 * GB}

    for entry in entries:
        assert sum(e["taken"] for e in together(entries, entry)) <= sizes[entry["node"]]
    assert ledger.closed.timing.workers > 2, "several had a process on one of the two cards"

    recipes = {trial: event.recipe for trial, event in ledger.proposals.items()}
    assert len({(o.trial, o.steps) for o in ledger.table}) == len(ledger.table)
    posed = [e for e in entries if recipes[e["trial"]].pose_from and e["steps"] > 10 and not e["ran_out"]]
    assert posed and {e["node"] for e in posed} == {large}, "with the ControlNet in the loop it takes 30 GB"

    oversize = sorted(trial for trial, recipe in recipes.items() if recipe.batch_size == 16)
    assert oversize, "some need more than any card has"
    for trial in oversize:
        assert ledger.endings[trial].status == "failed" and "80.0 GB" in ledger.endings[trial].reason
    tried = [e["share"] or sizes[e["node"]] for e in entries if e["trial"] == oversize[0]]
    assert tried[-1] == 80 * GB and tried == sorted(tried), "it had a whole card of the largest kind"
    assert all(ending.status != "failed" for trial, ending in ledger.endings.items() if trial not in oversize)
    assert "Trials share GPUs of 24 and 80 GB" in (tmp_path / "out.txt").read_text()


def test_where_nodes_do_not_tell_their_memory_trials_share_by_what_was_seen(tmp_path, cluster):
    node = cluster.add_node(num_cpus=4, num_gpus=2, **HERE).node_id
    plain = TEXT.replace("batch_size: [1, 16]", "batch_size: 1").replace("pose_from: [null, 10]", "pose_from: null")
    ledger, entries = swept(tmp_path, cluster, {node: 24}, 6, plain)
    assert {ending.status for ending in ledger.endings.values()} <= {"finished", "stopped"}
    assert {entry["share"] for entry in entries[:2]} == {None}, "the first two have a card each"
    assert 2 < ledger.closed.timing.workers <= 4, "then two have one, as many as have CPUs"
    assert {entry["share"] for entry in entries[2:]} - {None} == {11_140_000_000}, "and are held to their half"
    assert all(len(together(entries, entry)) <= 2 for entry in entries)
    assert "do not tell" in (tmp_path / "out.txt").read_text()
