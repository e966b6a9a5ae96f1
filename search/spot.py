"""Watches for spot's notice that this machine is about to be taken away: `python -m search.spot`, on every worker.

It asks the machine's metadata service (EC2's IMDSv2) every few seconds. When there is a notice it tells Ray, which
starts nothing more here and takes what ends here for preempted, and then this machine's trials, by the file that
`trainables.machine.notice` names: they save their state between two steps and go on elsewhere.
"""

import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import Annotated

import typer

from spaces import InputError
from trainables.machine.notice import VARIABLE, Notice, post

METADATA = "http://169.254.169.254"
TOKEN, TOKEN_SECONDS = "/latest/api/token", 21600
INSTANCE_ACTION = "/latest/meta-data/spot/instance-action"
_TIMEOUT = 2.0
"""Seconds; the service is on the machine."""
_DRAIN_SECONDS = 20.0
"""For Ray's head to answer in."""


@dataclass
class Metadata:
    """The machine's metadata service. OSError or HTTPException when it does not answer."""

    address: str = METADATA
    _token: str | None = None

    def notice(self) -> tuple[str, float] | None:
        """What is about to happen (`terminate`, `stop`, `hibernate`) and when, in seconds since the epoch."""
        document = self._get(INSTANCE_ACTION)
        if document is None:
            return None
        values = json.loads(document)
        return values["action"], datetime.fromisoformat(values["time"]).timestamp()

    def _get(self, path: str) -> str | None:
        """None when there is no such thing; a token that is no longer taken is renewed once."""
        for _ in range(2):
            if self._token is None:
                header = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
                self._token = self._ask(TOKEN, "PUT", header)
            try:
                return self._ask(path, "GET", {"X-aws-ec2-metadata-token": self._token})
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return None
                if error.code != 401:
                    raise
                self._token = None
        raise OSError("the metadata service refuses the token that it gave")

    def _ask(self, path: str, method: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(self.address + path, method=method, headers=headers)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy reaches it
        with direct.open(request, timeout=_TIMEOUT) as reply:
            return reply.read().decode()


def drain(address: str | None, node: str | None, reason: str, deadline: float) -> None:
    """Ray starts nothing more on the node (hex id; empty is the one with this machine's address), which ends then.

    Raises what Ray raises, and LookupError when it knows no such node or will not.
    """
    from ray._private.services import canonicalize_bootstrap_address_or_die
    from ray._raylet import GcsClient
    from ray.core.generated.autoscaler_pb2 import DRAIN_NODE_REASON_PREEMPTION
    from ray.core.generated.gcs_pb2 import GcsNodeInfo
    from ray.util import get_node_ip_address

    head = GcsClient(address=canonicalize_bootstrap_address_or_die(address))
    if node is None:
        here = get_node_ip_address()
        nodes = head.get_all_node_info(timeout=_DRAIN_SECONDS).items()
        alive = [key.hex() for key, info in nodes if info.state == GcsNodeInfo.ALIVE]
        found = [key.hex() for key, info in nodes if key.hex() in alive and info.node_manager_address == here]
        if len(found) != 1:
            raise LookupError(f"Ray has {len(found)} nodes at {here}; name one by --node")
        node = found[0]
    accepted, refusal = head.drain_node(
        node, DRAIN_NODE_REASON_PREEMPTION, reason, int(deadline * 1000), timeout=_DRAIN_SECONDS
    )
    if not accepted:
        raise LookupError(refusal)


def watch(metadata: Metadata, every: float, file: Path, address: str | None, node: str | None) -> None:
    """Returns when this machine's notice has come and all were told."""
    import ray._private.services  # noqa: F401  for `drain`: it takes seconds, and some clouds give no more than 30

    file.unlink(missing_ok=True)  # of a machine that was stopped and started
    silent = False
    while True:
        try:
            notice = metadata.notice()
        except (OSError, HTTPException, ValueError, KeyError) as error:
            if not silent:
                _say(f"{metadata.address} does not answer as EC2's does ({error}); asking on every {every:g} s")
            notice, silent = None, True
        else:
            if silent:
                _say(f"{metadata.address} answers again")
            silent = False
        if notice is not None:
            break
        time.sleep(every)
    action, deadline = notice
    reason = f"spot takes this machine ({action}) in {max(0.0, deadline - time.time()):.0f} s"
    try:
        drain(address, node, reason, deadline)
    except Exception as error:  # whatever Ray raises when its head is away: the trials are to save their state anyhow
        post(file, Notice(reason, deadline, leave=False))
        _say(f"{reason}; trials were told to save, but Ray was not to be reached: {' '.join(str(error).split())}")
    else:
        post(file, Notice(reason, deadline, leave=True))
        _say(f"{reason}; Ray and the trials were told")


def main(
    metadata: Annotated[str, typer.Option(help="Of the metadata service.")] = METADATA,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two questions.")] = 5.0,
    file: Annotated[Path | None, typer.Option(help=f"Where trials look; default: {VARIABLE}.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray's head, HOST:PORT; default: this machine's own.")] = None,
    node: Annotated[str | None, typer.Option(help="This node's id in Ray; default: by this machine's address.")] = None,
) -> None:
    """Tells Ray and this machine's trials when spot takes the machine away."""
    place = file or os.environ.get(VARIABLE)
    if not place:
        raise InputError("--file", f"name the file that trials look at, here or as {VARIABLE}")
    watch(Metadata(metadata.rstrip("/")), every, Path(place), address, node)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    import sys

    try:
        typer.run(main)
    except InputError as problem:
        print(problem, file=sys.stderr)
        sys.exit(2)
