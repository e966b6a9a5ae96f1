"""`ray up cluster.yaml` against EC2 as moto plays it: what it asks of AWS and of the head is what the file says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from tests.search.cluster.conftest import REGION, ROOT, Asked, Machines

FILE = ROOT / "cluster.yaml"
Up = Callable[[], None]


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


@pytest.fixture
def up(aws: Asked, machines: Machines, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """`ray up` on the repository's file."""
    monkeypatch.chdir(ROOT)
    return lambda: ray("up", "-y", "--no-config-cache", str(FILE))


def ray(*words: str) -> None:
    """A command of Ray's, in this process, where moto is."""
    from ray.scripts.scripts import cli

    cli.main(words, standalone_mode=False)


def test_one_machine_is_asked_for_and_it_is_the_head_of_the_file(
    up: Up, aws: Asked, machines: Machines, cluster: dict[str, Any]
):
    up()
    [request] = aws.of("RunInstances")
    said = cluster["available_node_types"]["head"]["node_config"]
    assert {name: request[name] for name in said} == said
    assert (request["MinCount"], request["MaxCount"]) == (1, 1)
    assert "InstanceMarketOptions" not in request
    assert request["IamInstanceProfile"]["Arn"].endswith("/ray-autoscaler-v1")
    tags = {tag["Key"]: tag["Value"] for spec in request["TagSpecifications"] for tag in spec["Tags"]}
    assert tags["ray-cluster-name"] == "posefront" and tags["ray-node-type"] == "head"
    zones = cluster["provider"]["availability_zone"].split(",")
    ec2 = boto3.client("ec2", region_name=REGION)
    [subnet] = ec2.describe_subnets(SubnetIds=[request["SubnetId"]])["Subnets"]
    assert subnet["AvailabilityZone"] == zones[0]


def test_the_head_is_set_up_in_the_order_of_the_file(up: Up, aws: Asked, machines: Machines, cluster: dict[str, Any]):
    up()
    sent = machines.commands()
    assert sent[0] == "uptime"
    ours = [command for command in sent if not command.startswith(("uptime", "mkdir -p"))]
    expected = cluster["setup_commands"] + cluster["head_setup_commands"]
    assert ours[: len(expected)] == expected
    starts = ours[len(expected) :]
    assert len(starts) == len(cluster["head_start_ray_commands"])
    for command, said in zip(starts, cluster["head_start_ray_commands"], strict=True):
        assert command.endswith(said)
        assert "export RAY_enable_autoscaler_v2=1; " in command
    assert """RAY_OVERRIDE_RESOURCES='{"CPU":0,"GPU":0}'""" in starts[-1]


def test_code_constraints_and_token_are_there_before_any_command(
    up: Up, aws: Asked, machines: Machines, cluster: dict[str, Any], home: Path
):
    up()
    targets = [target.rstrip("/") for _, target in machines.synced()]
    assert set(cluster["file_mounts"]) <= set(targets)
    programs = [call[0] if "bash" not in call else machines.commands()[0] and "ssh" for call in machines.calls()]
    first_setup = next(n for n, call in enumerate(machines.calls()) if cluster["setup_commands"][0] in call[-1])
    assert "rsync" not in programs[first_setup:]
    assert (machines.head_home / ".ray" / "auth_token").read_text() == (home / ".ray" / "auth_token").read_text()
    assert (machines.head_home / "posefront" / "search" / "cluster" / "provider.py").is_file()


def test_the_token_is_in_no_request_and_no_command(
    up: Up, aws: Asked, machines: Machines, home: Path, capfd: pytest.CaptureFixture[str]
):
    up()
    out, err = capfd.readouterr()
    printed = out + err
    token = (home / ".ray" / "auth_token").read_text()
    assert token not in str(aws.calls) and token not in machines.log.read_text() and token not in printed


def open_to_the_world() -> list[tuple[str, int | None]]:
    ec2 = boto3.client("ec2", region_name=REGION)
    [group] = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["posefront"]}])["SecurityGroups"]
    return [
        (rule["IpProtocol"], rule.get("FromPort"))
        for rule in group["IpPermissions"]
        if "0.0.0.0/0" in str(rule["IpRanges"]) or "::/0" in str(rule["Ipv6Ranges"])
    ]


def firewall(*words: str) -> str:
    from typer.testing import CliRunner as Typer

    from search.cli import app

    done = Typer().invoke(app, ["cluster", "firewall", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_with_the_firewall_made_first_no_port_is_ever_open_to_the_world(up: Up, aws: Asked):
    said = firewall(str(FILE), "--ssh-from", "203.0.113.7")
    assert "made; ssh from 203.0.113.7/32" in said
    up()
    opened = aws.of("AuthorizeSecurityGroupIngress")
    assert len(opened) == 1 and "0.0.0.0/0" not in str(opened) and "::/0" not in str(opened)
    assert open_to_the_world() == []
    group = aws.of("RunInstances")[0]["SecurityGroupIds"]
    assert len(aws.of("CreateSecurityGroup")) == 1 and group == [opened[0]["GroupId"]]


def test_without_it_the_heads_own_set_up_closes_the_one_port_that_ray_opens(up: Up, aws: Asked, machines: Machines):
    up()
    assert open_to_the_world() == [("tcp", 22)]
    [command] = [command for command in machines.commands() if "cluster firewall" in command]
    assert command.endswith('cluster firewall ~/ray_bootstrap_config.yaml --ssh-from "${SSH_CONNECTION%% *}"')
    said = firewall(str(machines.head_home / "ray_bootstrap_config.yaml"), "--ssh-from", "203.0.113.7")
    assert "closed to the world: tcp 22" in said and open_to_the_world() == []


def test_down_stops_the_head_and_up_takes_the_same_one_again(up: Up, aws: Asked, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ray.autoscaler._private.commands.POLL_INTERVAL", 0)
    up()
    ray("down", "-y", str(FILE))
    assert len(aws.of("StopInstances")) == 1 and not aws.of("TerminateInstances")
    up()
    assert len(aws.of("RunInstances")) == 1 and len(aws.of("StartInstances")) == 1
