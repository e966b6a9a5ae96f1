"""A cluster of several nodes on this machine, to take apart: Ray's own, all of it on localhost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.faults.metadata import MetadataService
from benchmarks.faults.sweeps import wait_for
from trainables.machine.notice import VARIABLE

_HEALTH = {
    "health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 10,
}  # fmt: skip
"""A node that does not answer is given up after 5 s instead of Ray's 15 to 20 s. With less, a machine that has more to
do than cores loses nodes that nothing happened to."""
_SETTINGS = {
    "RAY_AUTH_MODE": "disabled",  # it listens on 127.0.0.1 alone, and lives for minutes
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # else its driver takes 127.0.0.1 for this machine's other address
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_DEDUP_LOGS": "0",
}


_ACTOR, _NO_TRIALS = "ray::", ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""How Ray calls the processes that run something, and those that wait for it or are a part of the node."""


@dataclass(eq=False)
class Worker:
    """A node that runs trials."""

    number: int
    node: Any
    """Ray's."""
    notice: Path
    """Where this node's trials look for its notice."""
    watcher: subprocess.Popen | None = None
    """`search.spot`, where the node is on spot."""

    @property
    def raylet(self) -> psutil.Process:
        """Which has the object store in it."""
        return psutil.Process(self.node.all_processes["raylet"][0].process.pid)

    @property
    def alive(self) -> bool:
        raylets = self.node.all_processes.get("raylet", [])
        return bool(raylets) and raylets[0].process.poll() is None

    def trials(self) -> list[psutil.Process]:
        """The processes that are running a trial, or have one in hand."""
        try:
            titles = {child: _title(child) for child in self.raylet.children()}
        except psutil.NoSuchProcess:
            return []
        return [
            child for child, title in titles.items() if title.startswith(_ACTOR) and not title.startswith(_NO_TRIALS)
        ]


@dataclass
class Nodes:
    """A head that runs no trial, and workers that come and go."""

    cluster: Any
    folder: Path
    cpus: int
    wanted: int
    """Workers, as an autoscaler keeps them."""
    spot: MetadataService | None
    workers: list[Worker] = field(default_factory=list)
    _made: int = 0

    @property
    def address(self) -> str:
        return self.cluster.address

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.alive]

    def add(self) -> Worker:
        self._made += 1
        notice = self.folder / "nodes" / str(self._made) / "notice"
        node = self.cluster.add_node(
            num_cpus=self.cpus, node_ip_address="127.0.0.1", object_store_memory=80_000_000,
            env_vars={VARIABLE: str(notice)},
        )  # fmt: skip
        worker = Worker(self._made, node, notice)
        self.workers.append(worker)
        if self.spot is not None:
            worker.watcher = self._watch(worker)
        return worker

    def mend(self) -> list[Worker]:
        """Puts new workers in the place of those that are gone, whoever ended them; the workers that are there."""
        for worker in [worker for worker in self.workers if not worker.alive]:
            self._bury(worker)
        while len(self.workers) < self.wanted:
            self.add()
        return list(self.workers)

    def kill_process(self, worker: Worker) -> bool:
        """One trial's process; whether there was one."""
        trials = worker.trials()
        return bool(trials) and _kill([trials[0]])

    def kill_store(self, worker: Worker) -> bool:
        """The raylet, which holds the object store; the node's trials find themselves alone and go."""
        found = _kill([worker.raylet])
        self._bury(worker)
        return found

    def kill_node(self, worker: Worker) -> bool:
        """All of its processes in one moment."""
        found = _kill([worker.raylet, *worker.raylet.children(recursive=True)]) if worker.alive else True
        self._bury(worker)
        return found

    def take(self, worker: Worker, seconds: float) -> float:
        """Spot's notice for the node; its end in seconds since the epoch, which is the caller's to bring about.

        A machine that has just started is not yet watched, and is waited for.
        """
        name = str(worker.number)
        wait_for(lambda: self.spot.asked[name], 120, f"nobody watches node {name}")
        at = time.time() + seconds
        self.spot.take(name, at)
        return at

    def _watch(self, worker: Worker) -> subprocess.Popen:
        command = [
            sys.executable, "-m", "search.spot", "--metadata", self.spot.address(str(worker.number)), "--every", "0.5",
            "--file", str(worker.notice), "--address", self.address, "--node", worker.node.node_id,
        ]  # fmt: skip
        out = worker.notice.parent
        out.mkdir(parents=True, exist_ok=True)
        with (out / "spot.log").open("w") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def _bury(self, worker: Worker) -> None:
        """What is left of a dead node, so that Ray's own book of nodes is right; once."""
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        if worker.watcher is not None:
            worker.watcher.kill()
            worker.watcher.wait()
        self.cluster.remove_node(worker.node, allow_graceful=False)


@contextmanager
def nodes(folder: Path, workers: int, cpus: int, spot: MetadataService | None = None) -> Iterator[Nodes]:
    """A cluster of a head and so many workers, with its notices below `folder`; nothing is left of it."""
    from ray.cluster_utils import Cluster

    before = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update(_SETTINGS)

    head = {
        "num_cpus": 0, "node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": 80_000_000,
        "_system_config": _HEALTH,
    }  # fmt: skip
    cluster = Cluster(initialize_head=True, head_node_args=head)
    made = Nodes(cluster, folder, cpus, workers, spot)
    try:
        made.mend()
        yield made
    finally:
        for worker in list(made.workers):
            made.kill_node(worker)
        cluster.shutdown()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _kill(processes: list[psutil.Process]) -> bool:
    """SIGKILL, first to be stopped in order that none sees another go; whether one was there to be killed."""
    found = False
    for how in (signal.SIGSTOP, signal.SIGKILL) if len(processes) > 1 else (signal.SIGKILL,):
        for process in processes:
            try:
                process.send_signal(how)
                found = True
            except psutil.NoSuchProcess:
                pass
    return found


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
