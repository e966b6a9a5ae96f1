"""A sweep on a cluster that has no worker yet: `python -m benchmarks.autoscale`.

Ray's own autoscaler (v2) with its fake provider, whose nodes are real raylets on this machine with a GPU each that is
not there. Trials of half a GPU wait, nodes come, two trials share each, and the nodes go when they are idle. Prints
when each came and went, and what ran where.
"""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import psutil
import ray
import typer
from ray import tune
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._raylet import GcsClient
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
from rich.console import Console

from search.config import SweepConfig
from search.driver import terminable
from search.journal import read
from search.sweep import run
from search.views.live import PlainLines
from spaces import parse_space
from trainables.job import Job

SPACE = """
subject: nowhere
rungs: [10, 20]
eta: 2
recipe:
  rank: {low: 2, high: 64, log: true}
  dropout: {low: 0.0, high: 0.4}
"""
NODE = {"CPU": 2, "GPU": 1}
WHERE = "where.json"


class Short(tune.Trainable):
    """A trial that waits at each rung, and notes the node and the GPU that it was given."""

    def setup(self, config: dict[str, Any]) -> None:
        self._job, self._trial, self._recipe = config["job"], config["trial"], config["recipe"]
        self._rungs, self._began = iter(self._job["rungs"]), time.time()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        steps = next(self._rungs)
        time.sleep(float((Path(self._job["cache"]) / "seconds").read_text()))
        folder = Path(self._job["folder"]) / "trials" / self._trial / f"step-{steps:06d}"
        (folder / "adapter").mkdir(parents=True)
        pull = math.log2(1 + self._recipe["rank"]) * steps / 100
        scores = {"identity": 1 - math.exp(-pull), "pose": math.exp(-0.3 * pull) - 0.2 * self._recipe["dropout"]}
        context = ray.get_runtime_context()
        seen = {
            "node": context.get_node_id(), "gpus": ray.get_gpu_ids(), "share": context.get_assigned_resources()["GPU"],
            "began": self._began, "ended": time.time(),
        }  # fmt: skip
        (folder.parent / WHERE).write_text(json.dumps(seen), encoding="utf-8")
        observation = {
            "scores": scores | {"pose_hard": scores["pose"], "drift": 0.0}, "cells": {}, "cost": {"train": 1.0},
            "inference": self._job["panel"]["inferences"][0], "label": "",
        }  # fmt: skip
        result = {"trial": self._trial, "steps": steps, "observations": [observation], "folder": str(folder)}
        return result | {"failure": None, "done": steps == self._job["rungs"][-1]}


@dataclass
class Timeline:
    """Worker nodes as the cluster's own table has them, asked a few times a second."""

    address: str
    began: float = field(default_factory=time.time)
    came: dict[str, float] = field(default_factory=dict)
    """Seconds from the beginning, by node."""
    went: dict[str, float] = field(default_factory=dict)

    @property
    def up(self) -> int:
        return len(self.came) - len(self.went)

    def watch(self, over: threading.Event) -> None:
        client = GcsClient(address=self.address)
        while not over.wait(0.2):
            now = time.time() - self.began
            nodes = {node.hex(): info for node, info in client.get_all_node_info(timeout=10).items()}
            alive = {node for node, info in nodes.items() if info.state == 0 and node != FAKE_HEAD_NODE_ID}
            for node in sorted(alive - self.came.keys()):
                self.came[node] = now
                print(f"[{now:6.1f} s] node {node[-4:]} is up ({self.up} in all)", flush=True)
            for node in sorted(self.came.keys() - alive - self.went.keys()):
                self.went[node] = now
                print(f"[{now:6.1f} s] node {node[-4:]} is gone ({self.up} left)", flush=True)


@contextmanager
def growing_cluster(most: int, idle_seconds: float) -> Iterator[str]:
    """The address of a head with no room for trials, which asks for up to so many nodes."""
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)  # as a head does
    with TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        port = _free_port()
        (Path(folder) / "cluster.json").write_text(json.dumps(_cluster(port, most, idle_seconds)), encoding="utf-8")
        command = [
            str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}", "--num-cpus=0",
            "--num-gpus=0", "--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats",
            "--object-store-memory=100000000", f"--temp-dir={folder}", f"--autoscaling-config={folder}/cluster.json",
        ]  # fmt: skip
        fake = {
            "RAY_FAKE_CLUSTER": "1", "RAY_enable_autoscaler_v2": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        }  # fmt: skip
        with (Path(folder) / "head.log").open("w") as log:
            head = subprocess.Popen(
                command, env=os.environ | fake, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            until = time.monotonic() + 60
            while not _answers(port):
                if head.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"Ray's head did not start:\n{(Path(folder) / 'head.log').read_text()}")
                time.sleep(0.2)
            yield f"127.0.0.1:{port}"
        finally:
            _end(head)


def _cluster(port: int, most: int, idle_seconds: float) -> dict[str, Any]:
    """What `ray up` would have written, for the fake provider."""
    return {
        "cluster_name": "fake", "max_workers": most, "upscaling_speed": 4.0, "idle_timeout_minutes": idle_seconds / 60,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": f"127.0.0.1:{port}", "head_node_id": FAKE_HEAD_NODE_ID, "launch_multiple": True,
            "use_node_id_as_ip": True, "disable_node_updaters": True, "disable_launch_config_check": True,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "min_workers": 0, "max_workers": 0},
            "gpu": {"resources": NODE, "node_config": {}, "min_workers": 0, "max_workers": most},
        },
        "auth": {}, "file_mounts": {}, "cluster_synced_files": [], "file_mounts_sync_continuously": False,
        "rsync_exclude": [], "rsync_filter": [], "initialization_commands": [], "setup_commands": [],
        "head_setup_commands": [], "worker_setup_commands": [], "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
    }  # fmt: skip


def _end(head: subprocess.Popen) -> None:
    """The head and all that it and the autoscaler started, by their ids."""
    family = psutil.Process(head.pid).children(recursive=True)
    head.send_signal(signal.SIGTERM)
    for process in psutil.wait_procs(family, timeout=10)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    with suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGKILL)
    head.wait(20)


def _free_port() -> int:
    """Below those that Ray hands out to its workers, 10002 to 19999, and those that the system hands out."""
    for port in range(7400, 9900):
        if not _answers(port):
            return port
    raise RuntimeError("no port is free")


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Grown:
    """What was seen."""

    timeline: Timeline
    swept: float
    """Seconds from the beginning of the sweep to its end."""
    scored: float
    """And to the first scored checkpoint."""
    ran: tuple[dict[str, Any], ...]
    """Where and when each trial ran."""
    status: str

    def most_at_once(self) -> tuple[int, int]:
        """Trials in all, and on one node."""
        starts = [each["began"] for each in self.ran]
        at = [[each for each in self.ran if each["began"] <= start < each["ended"]] for start in starts]
        shared = [sum(each["node"] == node for each in these) for these in at for node in {e["node"] for e in these}]
        return max(map(len, at)), max(shared)


def grow(
    home: Path, trials: int, workers: int | None, nodes: int, seconds: float, idle_seconds: float, console: Console
) -> Grown:
    """One sweep, from no node to no node."""
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "seconds").write_text(str(seconds), encoding="utf-8")
    space = parse_space(SPACE, "short")
    job = Job(folder=str(home / "short"), cache=str(home / "cache"), subject="nowhere", rungs=space.rungs)
    with growing_cluster(nodes, idle_seconds) as address:
        config = SweepConfig.make(
            name="short", space_name="short", space_text=SPACE, job=job, trials=trials, workers=workers,
            scheduler="none", cpus_per_trial=0.5, gpus_per_trial=0.5, tracking_uri=f"sqlite:///{home}/mlflow.db",
            artifacts=str(home / "mlartifacts"), address=address,
        )  # fmt: skip
        timeline, over = Timeline(address), threading.Event()
        watching = threading.Thread(target=timeline.watch, args=(over,), daemon=True)
        watching.start()
        outcome = run(config, PlainLines(console, space, trials), Short)
        swept = time.time() - timeline.began
        print(f"[{swept:6.1f} s] the sweep has {outcome.status}", flush=True)
        until = time.monotonic() + idle_seconds + 60
        while timeline.up and time.monotonic() < until:
            time.sleep(0.2)
        over.set()
        watching.join()
    ran = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((home / "short").rglob(WHERE))]
    ledger = read(home / "short")
    if len(ledger.endings) != trials:
        raise RuntimeError(f"{trials - len(ledger.endings)} trials are missing")
    first = next(iter(ledger.observed.values())).time - timeline.began
    return Grown(timeline, swept, first, tuple(ran), outcome.status)


def main(
    trials: Annotated[int, typer.Option(min=1)] = 12,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at a time; default: as many as fit.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="So many may come.")] = 2,
    seconds: Annotated[float, typer.Option(help="Of a rung.")] = 3.0,
    idle: Annotated[float, typer.Option(help="Seconds after which an idle node goes.")] = 6.0,
) -> None:
    with terminable(), TemporaryDirectory(prefix="posefront-autoscale-") as home:
        grown = grow(Path(home), trials, workers, nodes, seconds, idle, Console(width=120))
    line, (at_once, shared) = grown.timeline, grown.most_at_once()
    share = {each["share"] for each in grown.ran}
    print(
        f"{len(grown.ran)} trials on {len({each['node'] for each in grown.ran})} nodes that were not there, "
        f"{', '.join(f'{value:g}' for value in share)} GPU each; {at_once} at once, {shared} on one node."
    )
    print(f"nodes up after {', '.join(f'{value:.1f}' for value in line.came.values())} s; the first checkpoint scored "
          f"after {grown.scored:.1f} s; the sweep's end after {grown.swept:.1f} s; nodes "
          f"gone {', '.join(f'{value - grown.swept:.1f}' for value in line.went.values())} s after its end; "
          f"{line.up} left")  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
