"""What a storage costs: a checkpoint's way there and back, a journal's, and a lease.

`python -m benchmarks.storage` measures a local S3 server (moto, in a process of its own: for real S3 add the network),
`python -m benchmarks.storage s3://bucket/prefix` one's own.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from search.storage.lease import Lease
from spaces import Observation, Recipe
from trainables.job import Job, StorageConfig
from trainables.storage import Carrier, Store, parse_address

ADAPTERS = {"puppets, K/V, rank 4": 0.05, "SD 1.5, attention, rank 16": 12.8, "SD 1.5, a large one": 40.0}
"""MB of an adapter in fp32; its state has the masters and two moments, three times as much."""
JOURNALS = {"100 checkpoints": 0.3, "2,000 checkpoints": 6.0}
"""MB of a journal."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("storage", nargs="?", help="s3://, file:/// or a folder")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with _server() if given.storage is None else _given(given.storage) as where:
        address = parse_address(where) / f"benchmark-{uuid4().hex[:8]}"
        store = Store(address, patience=60)
        try:
            measure(store, given.repeats)
        finally:
            store.delete(store.files())


def measure(store: Store, repeats: int) -> None:
    print(f"median of {repeats} (slowest), seconds, at {store.address}")
    for name, size in ADAPTERS.items():
        pushed, pulled = [], []
        for number in range(repeats):
            with tempfile.TemporaryDirectory() as folder:
                push, pull = _checkpoint(store, Path(folder), f"{name}-{number}", int(size * 1e6))
                pushed.append(push)
                pulled.append(pull)
        _row(f"checkpoint there: {name} ({4 * size:.1f} MB)", pushed)
        _row("its state to another machine", pulled)
    for name, size in JOURNALS.items():
        _row(
            f"journal of {name} ({size} MB)",
            _timed(lambda data=bytes(int(size * 1e6)): store.write("j", data), repeats),
        )
    leases: list[Lease] = []
    _row("lease taken", _timed(lambda: leases.append(_lease(store, leases)), repeats))
    leases[-1].release()


def _checkpoint(store: Store, folder: Path, trial: str, size: int) -> tuple[float, float]:
    """Seconds of a push from one machine, and of a pull to another."""
    trial = trial.replace(" ", "-").replace("/", "-").replace(",", "")
    storage = StorageConfig(uri=str(store.address), sweep="benchmark", subject="")
    job = Job(folder=str(folder / "home"), cache=str(folder), subject="", rungs=(10,), storage=storage)
    os.environ["POSEFRONT_SCRATCH"] = str(folder / "one")
    here = Carrier(job)
    here.begin(trial)
    step = Path(here.job.folder) / "trials" / trial / "step-000010"
    (step / "adapter").mkdir(parents=True)
    (step / "adapter" / "weights.safetensors").write_bytes(os.urandom(size))
    (step / "adapter" / "config.json").write_bytes(b" " * 2000)
    (step / "state.safetensors").write_bytes(os.urandom(3 * size))
    (step / "grid.png").write_bytes(os.urandom(200_000))
    (step / "observation.json").write_text(f"[{_observation(trial)}]")
    push = _timed(lambda: here.push(step), 1)[0]
    os.environ["POSEFRONT_SCRATCH"] = str(folder / "two")
    return push, _timed(lambda: Carrier(job).begin(trial), 1)[0]


def _observation(trial: str) -> str:
    import json

    return json.dumps(Observation(trial, Recipe(), 1, 10, {"identity": 0.5}, {"identity": [0.5] * 16}).to_json())


def _lease(store: Store, held: list[Lease]) -> Lease:
    if held:
        held[-1].release()
    return Lease(store, False, print, lambda to: None)


def _timed(call: Callable[[], object], repeats: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return seconds


def _row(what: str, seconds: list[float]) -> None:
    print(f"{what:58s} {statistics.median(seconds):8.3f} ({max(seconds):.3f})", flush=True)


@contextmanager
def _given(where: str) -> Iterator[str]:
    yield where


@contextmanager
def _server() -> Iterator[str]:
    """A local S3 server with a bucket."""
    import boto3

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}", AWS_DEFAULT_REGION="us-east-1")
    os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < until:
            time.sleep(0.2)
        boto3.client("s3").create_bucket(Bucket="benchmark")
        yield "s3://benchmark/sweeps"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
