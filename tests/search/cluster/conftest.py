"""EC2 and IAM as moto plays them, and an ssh that reaches no machine: what `ray up` asks of both is written down."""

import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import pytest
from moto import mock_aws

ROOT = Path(__file__).parents[3]
REGION = "us-east-1"
INSTANCES: list[dict[str, Any]] = []
SSH = """#!/bin/sh
printf 'ssh' >> "$MACHINES"
for word in "$@"; do printf '\\037%s' "$word" >> "$MACHINES"; done
printf '\\036' >> "$MACHINES"
"""
RSYNC = """#!/bin/sh
printf 'rsync' >> "$MACHINES"
for word in "$@"; do printf '\\037%s' "$word" >> "$MACHINES"; last=$word; done
printf '\\036' >> "$MACHINES"
[ "$HOME" = "$HEAD_HOME" ] && exit 0  # from the head to a worker
while [ $# -gt 2 ]; do shift; done
target="${last#*:}"
target="$HEAD_HOME/${target#\\~/}"
mkdir -p "$(dirname "$target")"
case "$1" in */) ln -sfn "$PWD/${1%/}" "${target%/}" ;; *) cp "$1" "$target" ;; esac
"""


@dataclass
class Machines:
    """The commands that were sent to machines, and the home of the one that is the head."""

    log: Path
    head_home: Path

    def __post_init__(self) -> None:
        self.head_home.mkdir(parents=True)

    def calls(self) -> list[list[str]]:
        """Programs with their arguments, in order."""
        if not self.log.exists():
            return []
        return [call.split("\x1f") for call in self.log.read_text(encoding="utf-8").split("\x1e") if call]

    def commands(self) -> list[str]:
        """What was to run on a machine, without what ssh and Ray put around it."""
        found = []
        for program, *words in self.calls():
            if program == "ssh" and "bash" in words:
                shell = shlex.split(words[-1])[0]
                found.append(shell.partition("PYTHONWARNINGS=ignore && (")[2].removesuffix(")"))
        return found

    def synced(self) -> list[tuple[str, str]]:
        """What was copied, as (from, to), the machine left out."""
        return [(call[-2], call[-1].split(":", 1)[1]) for call in self.calls() if call[0] == "rsync"]

    def clear(self) -> None:
        self.log.unlink(missing_ok=True)


@dataclass
class Asked:
    """AWS's operations that were called, with their parameters."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refuse: Callable[[str, dict[str, Any]], str | None] = lambda operation, parameters: None
    """An error code for a call that AWS is to refuse, as it does for want of machines."""

    def of(self, operation: str) -> list[dict[str, Any]]:
        return [parameters for name, parameters in self.calls if name == operation]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a Ray token, and no credentials of anybody's."""
    home = tmp_path / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text("a" * 64, encoding="utf-8")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def aws(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """An account with a default network and the role that Ray gives a head. Nothing leaves this process."""
    from ray.autoscaler._private.aws import config, node_provider, utils

    for cached in (config._get_subnets_or_die, utils.resource_cache, utils.client_cache):
        cached.cache_clear()
    monkeypatch.setattr(node_provider, "TAG_BATCH_DELAY", 0)
    listed = node_provider.list_ec2_instances  # moto takes seconds to list all of EC2's machines: once is enough
    monkeypatch.setattr(
        node_provider, "list_ec2_instances", lambda *where: INSTANCES or INSTANCES.extend(listed(*where)) or INSTANCES
    )
    # moto makes up addresses, which may be somebody's: these are nobody's (RFC 5737).
    monkeypatch.setattr(node_provider.AWSNodeProvider, "external_ip", lambda self, node: "192.0.2.1")
    monkeypatch.setattr(node_provider.AWSNodeProvider, "internal_ip", lambda self, node: "192.0.2.2")
    asked = Asked()
    call = botocore.client.BaseClient._make_api_call

    def write_down(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        asked.calls.append((operation, parameters))
        if code := asked.refuse(operation, parameters):
            raise client.exceptions.ClientError({"Error": {"Code": code, "Message": "There is none."}}, operation)
        return call(client, operation, parameters)

    with mock_aws():
        iam = boto3.client("iam", region_name=REGION)
        iam.create_instance_profile(InstanceProfileName="ray-autoscaler-v1")
        iam.create_role(RoleName="ray-autoscaler-v1", AssumeRolePolicyDocument="{}")
        iam.add_role_to_instance_profile(InstanceProfileName="ray-autoscaler-v1", RoleName="ray-autoscaler-v1")
        monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", write_down)
        yield asked


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    """`ssh` and `rsync` that write down what they are asked; what is copied lands in the head's home."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("ssh", SSH), ("rsync", RSYNC)):
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    machines = Machines(tmp_path / "machines.log", tmp_path / "head")
    monkeypatch.setenv("MACHINES", str(machines.log))
    monkeypatch.setenv("HEAD_HOME", str(machines.head_home))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return machines
