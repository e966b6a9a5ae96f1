"""Ray's autoscaler v2, with the file that `ray up` left on the head, launching workers on EC2 as moto plays it."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ray.autoscaler.v2.autoscaler import Autoscaler
from ray.autoscaler.v2.instance_manager.config import FileConfigReader
from ray.autoscaler.v2.instance_manager.subscribers.threaded_ray_installer import ThreadedRayInstaller
from ray.core.generated import autoscaler_pb2

from tests.search.cluster.conftest import REGION, ROOT, Asked, Machines
from tests.search.cluster.test_up import FILE, ray

HALF_A_CARD = {"CPU": 4.0, "GPU": 0.5, "gpu_gb": 12.0}
MORE_THAN_A_SMALL_CARD = {"CPU": 4.0, "GPU": 0.5, "gpu_gb": 40.0}


class Head:
    """The part of Ray's own service that the autoscaler asks: what is waiting, and which nodes there are."""

    address = "192.0.2.2:6379"

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.waiting: list[tuple[dict[str, float], int]] = []

    def get_cluster_resource_state(self) -> bytes:
        state = autoscaler_pb2.ClusterResourceState(
            cluster_resource_state_version=1,
            node_states=[
                autoscaler_pb2.NodeState(
                    node_id=b"h" * 28,
                    instance_id=self.instance,
                    ray_node_type_name="head",
                    total_resources={"node:__internal_head__": 1.0},
                    status=autoscaler_pb2.NodeStatus.RUNNING,
                )
            ],
            pending_resource_requests=[
                autoscaler_pb2.ResourceRequestByCount(
                    request=autoscaler_pb2.ResourceRequest(resources_bundle=bundle), count=count
                )
                for bundle, count in self.waiting
            ],
        )
        return autoscaler_pb2.GetClusterResourceStateReply(cluster_resource_state=state).SerializeToString()


@pytest.fixture
def head(aws: Asked, machines: Machines, monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    """The head after `ray up`, in its own home."""
    monkeypatch.chdir(ROOT)
    ray("up", "-y", "--no-config-cache", str(FILE))
    monkeypatch.setenv("HOME", str(machines.head_home))
    monkeypatch.chdir(machines.head_home)
    machines.clear()
    aws.calls.clear()
    [instance] = running()
    yield Head(instance["InstanceId"])


@contextmanager
def running_autoscaler(head: Head, machines: Machines) -> Iterator[Autoscaler]:
    """The real one; its threads end with the test, lest they reach for a real ssh."""
    scaler = Autoscaler("session", FileConfigReader(str(machines.head_home / "ray_bootstrap_config.yaml")), head)
    subscribers = scaler._instance_manager._status_update_subscribers
    [installer] = [found for found in subscribers if isinstance(found, ThreadedRayInstaller)]
    installer._max_install_attempts, installer._install_retry_interval = 1, 0
    yield scaler
    provider = scaler._cloud_instance_provider
    for threads in (provider._main_executor, provider._node_launcher_executors, installer._ray_installation_executor):
        threads.shutdown(wait=True, cancel_futures=True)


@pytest.fixture
def autoscaler(head: Head, machines: Machines) -> Iterator[Autoscaler]:
    with running_autoscaler(head, machines) as scaler:
        yield scaler


def until(autoscaler: Autoscaler, done: Callable[[], Any], seconds: float = 30) -> None:
    """The autoscaler's loop, until something is so."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        autoscaler.update_autoscaling_state()
        time.sleep(0.05)


def kinds(requests: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Node types and how many of them were asked for."""
    found = []
    for request in requests:
        tags = {tag["Key"]: tag["Value"] for spec in request["TagSpecifications"] for tag in spec["Tags"]}
        found.append((tags["ray-user-node-type"], request["MaxCount"]))
    return found


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def test_eight_half_cards_are_four_small_workers_on_spot(
    autoscaler: Autoscaler, head: Head, aws: Asked, cluster: dict[str, Any]
):
    head.waiting = [(HALF_A_CARD, 8)]
    until(autoscaler, lambda: sum(count for _, count in kinds(aws.of("RunInstances"))) >= 4)
    assert {kind for kind, _ in kinds(aws.of("RunInstances"))} == {"gpu-24gb"}
    assert sum(count for _, count in kinds(aws.of("RunInstances"))) == 4
    said = cluster["available_node_types"]["gpu-24gb"]["node_config"]
    for request in aws.of("RunInstances"):
        assert {name: request[name] for name in said} == said
        assert request["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert "IamInstanceProfile" not in request, "only the head may start machines"


def test_what_a_small_card_does_not_hold_goes_to_a_large_one(autoscaler: Autoscaler, head: Head, aws: Asked):
    head.waiting = [(MORE_THAN_A_SMALL_CARD, 2)]
    until(autoscaler, lambda: aws.of("RunInstances"))
    [request] = aws.of("RunInstances")
    assert kinds([request]) == [("gpu-80gb", 1)] and request["InstanceType"] == "p5.4xlarge"
    assert request["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_no_more_workers_than_the_file_allows(autoscaler: Autoscaler, head: Head, aws: Asked, cluster: dict[str, Any]):
    head.waiting = [(HALF_A_CARD, 100), (MORE_THAN_A_SMALL_CARD, 100)]
    until(autoscaler, lambda: sum(count for _, count in kinds(aws.of("RunInstances"))) >= cluster["max_workers"])
    for _ in range(5):
        autoscaler.update_autoscaling_state()
    assert sum(count for _, count in kinds(aws.of("RunInstances"))) == cluster["max_workers"]


def test_nothing_waits_nothing_is_asked_for(autoscaler: Autoscaler, aws: Asked):
    for _ in range(5):
        autoscaler.update_autoscaling_state()
    assert not aws.of("RunInstances")


def zone_of(request: dict[str, Any]) -> str:
    ec2 = boto3.client("ec2", region_name=REGION)
    return ec2.describe_subnets(SubnetIds=[request["SubnetId"]])["Subnets"][0]["AvailabilityZone"]


def test_a_zone_without_spot_is_passed_over(autoscaler: Autoscaler, head: Head, aws: Asked, cluster: dict[str, Any]):
    zones = cluster["provider"]["availability_zone"].split(",")
    asked: list[str] = []

    def only_in_the_third(operation: str, parameters: dict[str, Any]) -> str | None:
        if operation != "RunInstances":
            return None
        asked.append(zone_of(parameters))
        return None if asked[-1] == zones[2] else "InsufficientInstanceCapacity"

    aws.refuse = only_in_the_third
    head.waiting = [(HALF_A_CARD, 2)]
    until(autoscaler, lambda: len(asked) >= 3)
    assert asked == zones[:3]
    assert all("InstanceMarketOptions" in request for request in aws.of("RunInstances"))


def no_spot(operation: str, parameters: dict[str, Any]) -> str | None:
    refused = operation == "RunInstances" and "InstanceMarketOptions" in parameters
    return "InsufficientInstanceCapacity" if refused else None


def test_where_no_zone_has_spot_the_named_types_are_taken_on_demand(
    autoscaler: Autoscaler, head: Head, aws: Asked, cluster: dict[str, Any]
):
    aws.refuse = no_spot
    head.waiting = [(HALF_A_CARD, 2)]
    until(autoscaler, lambda: any("InstanceMarketOptions" not in request for request in aws.of("RunInstances")))
    *refused, taken = aws.of("RunInstances")
    assert [zone_of(request) for request in refused] == cluster["provider"]["availability_zone"].split(",")
    same = {"InstanceType", "ImageId", "SecurityGroupIds", "KeyName", "MetadataOptions", "MaxCount"}
    assert {name: taken[name] for name in same} == {name: refused[0][name] for name in same}


def test_the_dear_type_waits_for_spot_and_keeps_asking(autoscaler: Autoscaler, head: Head, aws: Asked):
    aws.refuse = no_spot
    head.waiting = [(MORE_THAN_A_SMALL_CARD, 1)]
    until(autoscaler, lambda: len(aws.of("RunInstances")) > 10)
    assert all("InstanceMarketOptions" in request for request in aws.of("RunInstances"))


def test_rays_own_provider_keeps_asking_for_spot_whatever_else_there_is(head: Head, aws: Asked, machines: Machines):
    """Why there is one of our own: a type on demand with the same resources and a lower priority is never tried."""
    path = machines.head_home / "ray_bootstrap_config.yaml"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["provider"]["type"] = "aws"
    twin = json.loads(json.dumps(config["available_node_types"]["gpu-24gb"])) | {"priority": -1}
    del twin["node_config"]["InstanceMarketOptions"]
    config["available_node_types"]["on-demand"] = twin
    path.write_text(json.dumps(config), encoding="utf-8")
    aws.refuse = no_spot
    head.waiting = [(HALF_A_CARD, 2)]
    with running_autoscaler(head, machines) as scaler:
        until(scaler, lambda: len(aws.of("RunInstances")) > 20)
    assert all("InstanceMarketOptions" in request for request in aws.of("RunInstances"))


def test_an_error_that_is_no_lack_of_spot_is_not_tried_on_demand(autoscaler: Autoscaler, head: Head, aws: Asked):
    aws.refuse = lambda operation, parameters: "UnauthorizedOperation" if operation == "RunInstances" else None
    head.waiting = [(HALF_A_CARD, 2)]
    until(autoscaler, lambda: len(aws.of("RunInstances")) >= 5)
    assert all("InstanceMarketOptions" in request for request in aws.of("RunInstances"))


def test_a_worker_is_set_up_in_the_order_of_the_file(
    autoscaler: Autoscaler, head: Head, machines: Machines, cluster: dict[str, Any]
):
    head.waiting = [(HALF_A_CARD, 1)]
    until(autoscaler, lambda: any("search.spot" in command for command in machines.commands()))
    commands = [c for c in machines.commands() if not c.startswith(("uptime", "mkdir -p"))]
    bare = [command.removeprefix("export RAY_HEAD_IP=192.0.2.2; ") for command in commands]
    twice = cluster["setup_commands"] * 2 + cluster["worker_setup_commands"]  # Ray 2.60 merges them once on each side
    assert bare[: len(twice)] == twice
    assert all(command.startswith("export RAY_HEAD_IP=192.0.2.2; ") for command in commands[: len(twice)])
    starts = commands[len(twice) :]
    for command, said in zip(starts, cluster["worker_start_ray_commands"], strict=True):
        assert command.endswith(said)
    [start] = [command for command in starts if "ray start" in command]
    said = cluster["available_node_types"]["gpu-24gb"]["resources"]
    has = json.loads(re.search(r"RAY_OVERRIDE_RESOURCES='(.*?)'", start)[1])
    assert {name: has[name] for name in said} == said
    targets = {target.rstrip("/") for _, target in machines.synced()}
    assert set(cluster["file_mounts"]) <= targets, "the head has all that its workers need"


def test_workers_are_deleted_also_those_on_demand_and_the_head_is_stopped(
    autoscaler: Autoscaler, head: Head, aws: Asked, monkeypatch: pytest.MonkeyPatch, home: Path
):
    monkeypatch.setattr("ray.autoscaler._private.commands.POLL_INTERVAL", 0)
    aws.refuse = no_spot
    head.waiting = [(HALF_A_CARD, 2)]
    until(autoscaler, lambda: any("InstanceMarketOptions" not in request for request in aws.of("RunInstances")))
    until(autoscaler, lambda: len(running()) == 2)
    workers = [instance["InstanceId"] for instance in running() if kind_of(instance) == "worker"]
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HOME", str(home))
    ray("down", "-y", str(FILE))
    assert [ids for call in aws.of("TerminateInstances") for ids in call["InstanceIds"]] == workers
    assert len(aws.of("StopInstances")) == 1 and not running()


def running() -> list[dict[str, Any]]:
    ec2 = boto3.client("ec2", region_name=REGION)
    states = [{"Name": "instance-state-name", "Values": ["running", "pending"]}]
    found = ec2.describe_instances(Filters=states)["Reservations"]
    return [instance for reservation in found for instance in reservation["Instances"]]


def kind_of(instance: dict[str, Any]) -> str:
    return next(tag["Value"] for tag in instance["Tags"] if tag["Key"] == "ray-node-type")
