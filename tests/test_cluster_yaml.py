"""The cluster file: valid to Ray, a head without trials, workers on spot, everything pinned, nothing open."""

import copy
import inspect
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from search.commands.cluster import firewall as close_firewall
from search.commands.cluster import mlflow

ROOT = Path(__file__).parent.parent
COMMANDS = (
    "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
    "head_start_ray_commands", "worker_start_ray_commands",
)  # fmt: skip
COMMANDS_OF_OURS = {"firewall": close_firewall, "mlflow": mlflow}


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))


def workers(cluster: dict[str, Any]) -> dict[str, Any]:
    return {name: kind for name, kind in cluster["available_node_types"].items() if name != cluster["head_node_type"]}


def commands(cluster: dict[str, Any]) -> list[str]:
    return [command for key in COMMANDS for command in cluster.get(key, [])]


def test_ray_finds_it_valid_and_adds_no_command_of_its_own(cluster):
    prepared = prepare_config(copy.deepcopy(cluster))
    validate_config(prepared)
    told = set(commands(cluster))
    assert set(commands(prepared)) <= told, "a default of Ray's would install another version of it"


def test_the_head_runs_no_trial_and_cannot_be_taken_away(cluster):
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0, "GPU": 0} and head["max_workers"] == 0
    assert "InstanceMarketOptions" not in head["node_config"]
    [start] = [c for c in cluster["head_start_ray_commands"] if "ray start" in c]
    assert "--num-cpus=0" in start and "--num-gpus=0" in start


def test_workers_have_gpus_on_spot_from_none_up(cluster):
    assert len(workers(cluster)) == 2
    for kind in workers(cluster).values():
        assert kind["min_workers"] == 0 and kind["resources"]["GPU"] >= 1
        assert kind["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
        assert 0 < kind["max_workers"] <= cluster["max_workers"]
    assert 0 < cluster["idle_timeout_minutes"] <= 60


def test_every_node_has_the_same_image_by_its_id(cluster):
    images = {kind["node_config"]["ImageId"] for kind in cluster["available_node_types"].values()}
    assert len(images) == 1 and re.fullmatch(r"ami-[0-9a-f]{17}", images.pop())


def test_nothing_is_installed_unpinned(cluster):
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert re.search(r"^ray==\S+$", constraints, re.MULTILINE)
    for command in commands(cluster):
        if "pip install" in command:
            assert "-c ~/posefront/constraints.txt" in command and "://" not in command
            wanted = re.split(r"-c \S+", command)[1].split()
            assert all(word in ("-e", '"$HOME/posefront[cluster]"') for word in wanted)
        if "apt-get" in command and " install " in command:
            packages = [word.strip("'") for word in command.split(" install ")[1].split() if word[0] != "-"]
            assert packages and all(re.search(r"=.*\d", package) for package in packages)
    assert not re.search(r"latest|nightly", " ".join(commands(cluster)))


def test_the_constraints_and_all_packages_travel(cluster):
    mounts = cluster["file_mounts"]
    assert mounts["~/posefront/constraints.txt"] == "constraints.txt"
    for remote, local in mounts.items():
        assert local.startswith("~/") or (ROOT / local).exists()
        assert remote == f"~/posefront/{local}" or remote == local
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"][
        "find"
    ]
    assert {name.removesuffix("*") for name in found["include"]} <= set(mounts.values())


def test_nothing_but_ssh_is_open(cluster):
    assert cluster["provider"]["security_group"]["IpPermissions"] == []
    everything = " ".join(commands(cluster))
    assert "0.0.0.0" not in everything
    assert "--dashboard-host=127.0.0.1" in everything
    assert " --host" not in everything, "MLflow's default is this machine"
    assert inspect.signature(mlflow).parameters["host"].default == "127.0.0.1"
    [firewall] = [command for command in commands(cluster) if "cluster firewall" in command]
    assert firewall in cluster["head_setup_commands"]


def test_a_workers_card_memory_is_a_resource_that_its_trials_share(cluster):
    for name, kind in workers(cluster).items():
        assert f"gpu-{kind['resources']['gpu_gb']}gb" == name
        assert kind["resources"]["CPU"] >= 4 and kind["resources"]["GPU"] == 1


def test_weights_are_fetched_into_one_folder_of_each_node(cluster):
    everything = " ".join(commands(cluster))
    folder = re.search(r"HF_HOME=(\S+)", everything)[1]
    assert f"install -d -o ubuntu -g ubuntu {folder}" in everything


def test_workers_watch_for_spots_notice_where_their_trials_look(cluster):
    [watch] = [command for command in cluster["worker_start_ray_commands"] if "search.spot" in command]
    assert "--setenv=POSEFRONT_NOTICE=$POSEFRONT_NOTICE" in watch and "RAY_AUTH_MODE=token" in watch
    assert re.search(r"POSEFRONT_NOTICE=/\S+", " ".join(cluster["setup_commands"]))


def test_the_commands_that_are_called_exist(cluster):
    """With the options that they are given."""
    called = [command for command in commands(cluster) if "posefront cluster" in command]
    assert len(called) == 2
    for command in called:
        words = command.partition("posefront cluster ")[2].split()
        names = [option.name for option in inspect.signature(COMMANDS_OF_OURS[words[0]]).parameters.values()]
        for word in re.findall(r"--([\w-]+)", " ".join(words)):
            assert word.replace("-", "_") in names


def test_head_and_workers_ask_for_the_token(cluster):
    starts = [command for command in commands(cluster) if "ray start" in command]
    assert len(starts) == 2 and all("RAY_AUTH_MODE=token" in start for start in starts)
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any(re.search("export.* RAY_AUTH_MODE=token.*/etc/profile.d/", c) for c in cluster["setup_commands"])


def test_workers_mount_the_folder_that_the_head_exports(cluster):
    exported = re.search(r"echo '(\S+) \*\(rw", " ".join(cluster["head_setup_commands"]))[1]
    assert any(f"$RAY_HEAD_IP:{exported} {exported}" in command for command in cluster["worker_setup_commands"])
    home = re.search(r"POSEFRONT_HOME=(\S+)", " ".join(cluster["setup_commands"]))[1]
    assert os.path.commonpath([home, exported]) == exported
