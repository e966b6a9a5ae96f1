"""`posefront cluster check`: each mistake that Ray's validator lets through is found, and explained in one line."""

import copy
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from search.cli import app
from search.cluster.check import check_cluster
from search.cluster.findings import Finding
from spaces import InputError
from tests.search.cluster.conftest import ROOT

HEAD = ("available_node_types", "head")
SMALL = ("available_node_types", "gpu-24gb")
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def folder(tmp_path: Path, home: Path) -> Path:
    """What the file's mounts name, and nothing else of the repository."""
    for name in ("spaces", "trainables", "search", "analysis", "benchmarks"):
        (tmp_path / name).mkdir()
    for name in ("pyproject.toml", "constraints.txt", "README.md", "cluster.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def findings(folder: Path, change: Change) -> list[Finding]:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    change(config)
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return check_cluster(path)


def put(*path: Any) -> Change:
    """Sets the field at a path to the last value."""
    *keys, last, value = path

    def change(config: dict[str, Any]) -> None:
        for key in keys:
            config = config[key]
        config[last] = copy.deepcopy(value)

    return change


def drop(*path: Any) -> Change:
    *keys, last = path

    def change(config: dict[str, Any]) -> None:
        for key in keys:
            config = config[key]
        del config[last]

    return change


def rename(*path: Any) -> Change:
    *keys, old, new = path

    def change(config: dict[str, Any]) -> None:
        for key in keys:
            config = config[key]
        config[new] = config.pop(old)

    return change


def replace(old: str, new: str) -> Change:
    """In all commands."""

    def change(config: dict[str, Any]) -> None:
        before = copy.deepcopy(config)
        for key, commands in config.items():
            if key.endswith("commands"):
                config[key] = [command.replace(old, new) for command in commands]
        assert config != before, old

    return change


def both(*changes: Change) -> Change:
    return lambda config: [change(config) for change in changes] and None


PLAIN_AWS = both(put("provider", "type", "aws"), drop("provider", "module"), drop("provider", "on_demand_fallback"))
ERRORS = {
    "provider, a field misspelt": (
        rename("provider", "region", "regoin"),
        "provider.regoin", "is no field of an AWS provider; did you mean region?",
    ),
    "provider, a zone elsewhere": (
        put("provider", "availability_zone", "us-east-1a,us-west-2b"),
        "provider.availability_zone", "'us-west-2b' is not in us-east-1",
    ),
    "provider, a region that is none": (
        both(put("provider", "region", "us-esat-1"), put("provider", "availability_zone", "us-esat-1a,us-esat-1b")),
        "provider.region", "or us-east-1?",
    ),
    "provider, a fallback that is no type": (
        put("provider", "on_demand_fallback", ["gpu-24"]),
        "provider.on_demand_fallback", "'gpu-24' is no worker type; did you mean gpu-24gb",
    ),
    "provider, a secret": (
        put("provider", "aws_credentials", {"aws_access_key_id": "x"}), "provider.aws_credentials", "is a secret",
    ),
    "node_config, a field misspelt": (
        rename(*HEAD, "node_config", "InstanceType", "InstanceTyp"),
        "available_node_types.head.node_config.InstanceTyp", "did you mean InstanceType",
    ),
    "node_config, a field far down misspelt": (
        put(*SMALL, "node_config", "BlockDeviceMappings", 0, "Ebs", {"VolumSize": 150, "VolumeType": "gp3"}),
        "available_node_types.gpu-24gb.node_config.BlockDeviceMappings[0].Ebs.VolumSize", "did you mean VolumeSize",
    ),
    "node_config, a type that is none": (
        put(*SMALL, "node_config", "InstanceType", "g6.2xlrage"),
        "available_node_types.gpu-24gb.node_config.InstanceType", "did you mean g6.2xlarge",
    ),
    "node_config, a number as text": (
        put(*SMALL, "node_config", "BlockDeviceMappings", 0, "Ebs", "VolumeSize", "150"),
        "available_node_types.gpu-24gb.node_config.BlockDeviceMappings[0].Ebs.VolumeSize", "a whole number",
    ),
    "node_config, a price as number": (
        put(*SMALL, "node_config", "InstanceMarketOptions", {"MarketType": "spot", "SpotOptions": {"MaxPrice": 0.6}}),
        "available_node_types.gpu-24gb.node_config.InstanceMarketOptions.SpotOptions.MaxPrice", 'write it as "0.6"',
    ),
    "image, none": (
        drop(*HEAD, "node_config", "ImageId"), "available_node_types.head.node_config.ImageId", "Ubuntu of 2018",
    ),
    "image, Ray's word": (
        put(*HEAD, "node_config", "ImageId", "latest_dlami"),
        "available_node_types.head.node_config.ImageId", "pin an image",
    ),
    "image, no id": (
        put(*HEAD, "node_config", "ImageId", "ubuntu-24.04"),
        "available_node_types.head.node_config.ImageId", "ami- and 17 hex digits",
    ),
    "commands, none for set-up on plain AWS": (
        both(PLAIN_AWS, drop("setup_commands")), "setup_commands", "a nightly build",
    ),
    "commands, none for the start on plain AWS": (
        both(PLAIN_AWS, drop("head_start_ray_commands")), "head_start_ray_commands", "no token and an open dashboard",
    ),
    "commands, none with an external provider": (
        drop("worker_setup_commands"), "worker_setup_commands", "Ray has no default for it",
    ),
    "commands, a package without a version": (
        replace("install --quiet -c ~/posefront/constraints.txt", "install --quiet torch"),
        "setup_commands[3]", "torch unpinned",
    ),
    "commands, a nightly wheel": (
        put("setup_commands", ["pip install https://example.com/ray-wheels/latest/ray-3.0.0.dev0.whl"]),
        "setup_commands[0]", "another version every day",
    ),
    "commands, no ray start": (
        put("worker_start_ray_commands", ["ray stop"]), "worker_start_ray_commands", "never calls `ray start --address",
    ),
    "commands, a head that starts no workers": (
        replace("--autoscaling-config=~/ray_bootstrap_config.yaml", ""),
        "head_start_ray_commands", "no worker ever starts",
    ),
    "Ray, another version": (
        put("setup_commands", ["pip install 'ray[default]==2.9.0'"]), "setup_commands[0]", "Ray 2.9.0 on the nodes",
    ),
    "Ray, of any version": (
        put("setup_commands", ["pip install -e ~/posefront"]), "setup_commands", "nothing says which Ray",
    ),
    "doors, the dashboard": (
        replace("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0"),
        "head_start_ray_commands[3]", "listens to all",
    ),
    "doors, a port for the world": (
        put("provider", "security_group", "IpPermissions", [
            {"IpProtocol": "tcp", "FromPort": 8265, "ToPort": 8265, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        ]),
        "provider.security_group.IpPermissions[0]", "8265-8265 are open to the world",
    ),
    "token, not asked for": (
        replace("RAY_AUTH_MODE=token ~/venv/bin/ray start --head", "~/venv/bin/ray start --head"),
        "head_start_ray_commands[3]", "whoever reaches the port runs code",
    ),
    "token, left at home": (
        drop("file_mounts", "~/.ray/auth_token"), "file_mounts", "nodes refuse each other",
    ),
    "head, runs trials": (
        put(*HEAD, "resources", {"CPU": 4}), "available_node_types.head.resources.CPU", "trials would run on the head",
    ),
    "head, says nothing of GPUs": (
        put(*HEAD, "resources", {"CPU": 0}), "available_node_types.head.resources.GPU", "is missing",
    ),
    "head, on spot": (
        put(*HEAD, "node_config", "InstanceMarketOptions", {"MarketType": "spot"}),
        "available_node_types.head.node_config.InstanceMarketOptions", "take it on demand",
    ),
    "workers, none at all": (put("max_workers", 0), "max_workers", "no worker ever starts"),
    "keys, half of them": (
        put("auth", "ssh_private_key", "~/.ssh/mine.pem"),
        "available_node_types.gpu-80gb.node_config.KeyName", "must name its key pair",
    ),
    "mounts, what is not here": (
        put("file_mounts", "~/posefront/models", "models"), "file_mounts.~/posefront/models", "is not here",
    ),
    "top, a field misspelt": (
        rename("idle_timeout_minutes", "idle_timeout_minute"),
        "idle_timeout_minute", "did you mean idle_timeout_minutes",
    ),
    "top, a field that Ray drops": (put("min_workers", 1), "min_workers", "dropped by Ray without a word"),
    "node type, a field misspelt": (
        rename(*SMALL, "max_workers", "max_worker"),
        "available_node_types.gpu-24gb.max_worker", "did you mean max_workers",
    ),
    "what Ray's validator finds": (put("max_workers", "many"), "max_workers", "Ray refuses it"),
}  # fmt: skip
WARNINGS = {
    "spot without a fallback": (
        drop("provider", "on_demand_fallback"),
        "available_node_types.gpu-24gb.node_config.InstanceMarketOptions", "spot without a fallback",
    ),
    "one zone": (put("provider", "availability_zone", "us-east-1a"), "provider.availability_zone", "us-east-1a alone"),
    "on demand": (
        drop(*SMALL, "node_config", "InstanceMarketOptions"),
        "available_node_types.gpu-24gb.node_config.InstanceMarketOptions", "two to three times the price",
    ),
    "workers day and night": (put(*SMALL, "min_workers", 1), "available_node_types.gpu-24gb.min_workers", "paid for"),
    "no card memory": (
        put(*SMALL, "resources", {"CPU": 8, "GPU": 1}),
        "available_node_types.gpu-24gb.resources.gpu_gb", "never lands here",
    ),
    "ssh from anywhere": (
        replace("posefront cluster firewall", "true"), "provider.security_group", "opens ssh to the world",
    ),
    "small disk": (
        put(*SMALL, "node_config", "BlockDeviceMappings", 0, "Ebs", "VolumeSize", 30),
        "available_node_types.gpu-24gb.node_config.BlockDeviceMappings[0].Ebs.VolumeSize", "30 GiB fill up",
    ),
    "credentials for any process": (
        drop(*SMALL, "node_config", "MetadataOptions"),
        "available_node_types.gpu-24gb.node_config.MetadataOptions", "HttpTokens: required",
    ),
    "workers that stay": (put("idle_timeout_minutes", 600), "idle_timeout_minutes", "10 or so"),
    "another image": (
        put(*SMALL, "node_config", "ImageId", "ami-0123456789abcdef0"), "available_node_types", "different images",
    ),
    "what Ray replaces": (
        put(*SMALL, "node_config", "SubnetId", "subnet-1"), "available_node_types.gpu-24gb.node_config.SubnetId", "Ray",
    ),
    "the whole folder": (
        both(put("file_mounts", "~/posefront", "whole"), lambda config: None), "file_mounts.~/posefront", "environment",
    ),
}  # fmt: skip


def test_the_repositorys_own_file_is_clean(folder: Path):
    assert check_cluster(folder / "cluster.yaml") == []


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_found(folder: Path, name: str):
    change, where, text = ERRORS[name]
    found = findings(folder, change)
    assert any(f.kind == "error" and f.where == where and text in f.text for f in found), "\n".join(map(str, found))
    assert all("\n" not in str(finding) for finding in found)
    assert len({finding.where for finding in found if finding.kind == "error"}) <= 3, "one mistake, few lines"


@pytest.mark.parametrize("name", WARNINGS)
def test_a_warning_is_no_error(folder: Path, name: str):
    (folder / "whole" / ".venv").mkdir(parents=True)
    change, where, text = WARNINGS[name]
    found = findings(folder, change)
    assert any(f.kind == "warn" and f.where == where and text in f.text for f in found), "\n".join(map(str, found))
    assert not [finding for finding in found if finding.kind == "error"]


PLACES = [
    ("cluster_name",), ("max_workers",), ("idle_timeout_minutes",), ("provider", "type"), ("provider", "module"),
    ("provider", "region"), ("provider", "availability_zone"), ("provider", "security_group"),
    ("provider", "security_group", "IpPermissions"), ("provider", "on_demand_fallback"), ("auth",),
    ("head_node_type",), ("available_node_types",), HEAD, SMALL, (*SMALL, "resources"), (*SMALL, "max_workers"),
    (*SMALL, "node_config"), (*SMALL, "node_config", "ImageId"), (*SMALL, "node_config", "InstanceMarketOptions"),
    (*SMALL, "node_config", "BlockDeviceMappings"), (*SMALL, "node_config", "MetadataOptions"), ("docker",),
    ("file_mounts",), ("file_mounts", "~/posefront/spaces"), ("file_mounts", "~/.ray/auth_token"),
    ("setup_commands",), ("setup_commands", 3), ("head_start_ray_commands",), ("worker_start_ray_commands", 1),
]  # fmt: skip
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("a" * 1000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), ODD), min_size=1, max_size=3))
def test_whatever_is_in_the_file_is_a_line_and_no_traceback(folder: Path, changes: list[tuple[Any, Any]]):
    def change(config: dict[str, Any]) -> None:
        for place, value in changes:
            with suppress(TypeError, KeyError, IndexError):  # an earlier change took the place away
                put(*place, value)(config)

    try:
        found = findings(folder, change)
    except InputError as error:
        found = [error]
    assert all("\n" not in str(finding) and len(str(finding)) < 1000 for finding in found)


def test_the_token_must_be_on_this_machine(folder: Path, home: Path):
    (home / ".ray" / "auth_token").unlink()
    [finding] = check_cluster(folder / "cluster.yaml")
    assert finding.where == "file_mounts.~/.ray/auth_token" and "ray get-auth-token --generate" in finding.text


def test_an_on_demand_type_of_the_same_resources_is_a_fallback_too(folder: Path):
    def twins(config: dict[str, Any]) -> None:
        PLAIN_AWS(config)
        for name in ("gpu-24gb", "gpu-80gb"):
            twin = copy.deepcopy(config["available_node_types"][name])
            del twin["node_config"]["InstanceMarketOptions"]
            config["available_node_types"][f"{name}-on-demand"] = twin

    assert not [finding for finding in findings(folder, twins) if "without a fallback" in finding.text]


def test_without_botocore_it_says_what_was_not_checked(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("search.cluster.nodes.run_instances", lambda: None)
    monkeypatch.setattr("search.cluster.schema.regions", lambda: None)
    [finding] = check_cluster(folder / "cluster.yaml")
    assert finding.kind == "warn" and "botocore is not here" in finding.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("cluster_name: [", "is not YAML"),
        ("a: 1\nprovider: {type: aws}\na: 2\n", "line 3: 'a' is there twice"),
        ("- one\n- two\n", "should be a cluster's file"),
        ("cluster_name: x\n", "should be a cluster's file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, text: str | None, said: str):
    path = tmp_path / "cluster.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        check_cluster(path)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_other_clouds_are_checked_as_far_as_ray_does(folder: Path):
    def google(config: dict[str, Any]) -> None:
        config["provider"] = {
            "type": "gcp", "region": "us-central1", "availability_zone": "us-central1-a", "project_id": "mine",
        }  # fmt: skip

    found = findings(folder, google)
    assert [finding.kind for finding in found] == ["warn"] and "only AWS's are" in found[0].text


def test_the_command_prints_a_line_for_each_and_ends_with_one_for_errors(folder: Path):
    assert CliRunner().invoke(app, ["cluster", "check", str(folder / "cluster.yaml")]).exit_code == 0
    findings(folder, both(*(ERRORS[name][0] for name in ("provider, a field misspelt", "head, on spot"))))
    done = CliRunner().invoke(app, ["cluster", "check", str(folder / "changed.yaml")])
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[-1].endswith("errors, 0 warnings") and len(lines) - 1 == int(lines[-1].split()[-4])
    assert all(line.startswith(("error", "warn ")) for line in lines[:-1])
