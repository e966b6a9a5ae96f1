"""The KubeRay manifest: every field is one that there is, and it says what the cluster file says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
ANY = object()
"""A mapping of names that are one's own to texts, such as labels."""
VOLUME = {"name": str, "persistentVolumeClaim": {"claimName": str}, "emptyDir": {"sizeLimit": str}}
CONTAINER = {
    "name": str, "image": str, "command": [str], "args": [str], "env": [{"name": str, "value": str}],
    "resources": {"requests": ANY, "limits": ANY}, "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool}],
}  # fmt: skip
TEMPLATE = {
    "metadata": {"labels": ANY, "annotations": ANY},
    "spec": {
        "containers": [CONTAINER], "volumes": [VOLUME], "nodeSelector": ANY, "restartPolicy": str,
        "tolerations": [{"key": str, "operator": str, "value": str, "effect": str}],
        "securityContext": {"fsGroup": int}, "terminationGracePeriodSeconds": int,
    },
}  # fmt: skip
RAY_JOB = {
    "apiVersion": {"ray.io/v1"}, "kind": {"RayJob"}, "metadata": {"name": str},
    "spec": {
        "entrypoint": str, "submissionMode": {"K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"},
        "backoffLimit": int, "shutdownAfterJobFinishes": bool, "ttlSecondsAfterFinished": int, "runtimeEnvYAML": str,
        "rayClusterSpec": {
            "rayVersion": str, "enableInTreeAutoscaling": bool,
            "authOptions": {"mode": {"token", "disabled"}, "secretName": str},
            "autoscalerOptions": {
                "version": {"v1", "v2"}, "idleTimeoutSeconds": int,
                "upscalingMode": {"Default", "Aggressive", "Conservative"},
            },
            "headGroupSpec": {"serviceType": {"ClusterIP"}, "rayStartParams": ANY, "template": TEMPLATE},
            "workerGroupSpecs": [{
                "groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int, "idleTimeoutSeconds": int,
                "priority": int, "rayStartParams": ANY, "template": TEMPLATE,
            }],
        },
    },
}  # fmt: skip
CLAIM = {
    "apiVersion": {"v1"}, "kind": {"PersistentVolumeClaim"}, "metadata": {"name": str},
    "spec": {
        "accessModes": [{"ReadWriteMany", "ReadWriteOnce"}], "storageClassName": str,
        "resources": {"requests": {"storage": str}},
    },
}  # fmt: skip


def wrong(value: Any, shape: Any, where: str = "") -> list[str]:
    """Where a value is not of a shape: the fields that KubeRay 1.6 and Kubernetes have, of those that we might use."""
    if shape is ANY:
        good = isinstance(value, dict) and all(isinstance(item, str) for pair in value.items() for item in pair)
        return [] if good else [f"{where}: should be a mapping of texts"]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{where}: should be a mapping"]
        unknown = [f"{where}.{name}: is no field" for name in value if name not in shape]
        inner = [wrong(value[name], shape[name], f"{where}.{name}") for name in value if name in shape]
        return unknown + [line for lines in inner for line in lines]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where}: should be a list"]
        return [line for n, item in enumerate(value) for line in wrong(item, shape[0], f"{where}[{n}]")]
    if isinstance(shape, set):
        return [] if value in shape else [f"{where}: {value!r} is none of {shape}"]
    return [] if type(value) is shape else [f"{where}: {value!r} should be {shape.__name__}"]


@pytest.fixture
def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "docs" / "kuberay-rayjob.yaml").read_text(encoding="utf-8")))


@pytest.fixture
def job(documents: list[dict[str, Any]]) -> dict[str, Any]:
    [job] = [document for document in documents if document["kind"] == "RayJob"]
    return json.loads(json.dumps(job))  # what YAML's aliases share is each one's own


@pytest.fixture
def cluster(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["rayClusterSpec"]


def pods(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_every_field_is_one_that_there_is(documents: list[dict[str, Any]]):
    for document in documents:
        assert wrong(document, RAY_JOB if document["kind"] == "RayJob" else CLAIM) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "entrypont"), "x"),
        (("spec", "rayClusterSpec", "autoscalerOptions", "version"), "v3"),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "maxReplica"), 8),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "maxReplicas"), "8"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "containers", 0, "env", 0, "value"), 1),
    ],
)
def test_a_mistake_is_seen(job: dict[str, Any], path: tuple[Any, ...], value: Any):
    *keys, last = path
    target = job
    for key in keys:
        target = target[key]
    target[last] = value
    assert len(wrong(job, RAY_JOB)) == 1


def test_what_kuberay_requires_is_there(cluster: dict[str, Any]):
    for group in cluster["workerGroupSpecs"]:
        assert {"groupName", "minReplicas", "maxReplicas", "template"} <= set(group)
        assert 0 == group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_versions_are_those_of_the_constraints(cluster: dict[str, Any]):
    ray = re.search(r"^ray==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert cluster["rayVersion"] == ray
    assert f"FROM rayproject/ray:{ray}-" in (ROOT / "docs" / "Dockerfile").read_text(encoding="utf-8")
    images = {container["image"] for pod in pods(cluster) for container in pod["containers"]}
    assert len(images) == 1 and re.search(r":\d+\.\d+\.\d+$", images.pop())


def test_the_head_runs_no_trial_and_nothing_is_open(cluster: dict[str, Any]):
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    assert head["serviceType"] == "ClusterIP" and cluster["authOptions"]["mode"] == "token"
    [mlflow] = [container for container in head["template"]["spec"]["containers"] if container["name"] == "mlflow"]
    assert mlflow["command"] == ["posefront", "cluster", "mlflow", "/srv/mlflow"]


def test_workers_are_those_of_the_cluster_file(cluster: dict[str, Any]):
    types = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))["available_node_types"]
    assert {group["groupName"] for group in cluster["workerGroupSpecs"]} == set(types) - {"head"}
    for group in cluster["workerGroupSpecs"]:
        said = json.loads(json.loads(group["rayStartParams"]["resources"]))  # KubeRay passes it on in its quotes
        there = types[group["groupName"]]
        assert said == {"gpu_gb": there["resources"]["gpu_gb"]} and group["maxReplicas"] == there["max_workers"]
        [container] = group["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_what_is_mounted_is_there(documents: list[dict[str, Any]], cluster: dict[str, Any]):
    claims = {document["metadata"]["name"] for document in documents if document["kind"] == "PersistentVolumeClaim"}
    for pod in pods(cluster):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
        assert {
            v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if len(v) > 1 and "emptyDir" not in v
        } <= claims


def test_two_trials_fit_on_a_worker(job: dict[str, Any], cluster: dict[str, Any]):
    cpus = float(re.search(r"--cpus-per-trial (\S+)", job["spec"]["entrypoint"])[1])
    for group in cluster["workerGroupSpecs"]:
        [container] = group["template"]["spec"]["containers"]
        assert 2 * cpus <= float(container["resources"]["limits"]["cpu"])


def test_the_entrypoints_options_exist(job: dict[str, Any]):
    from typer.main import get_command

    from search.cli import app

    entry = job["spec"]["entrypoint"]
    sweep = get_command(app).commands["sweep"]
    known = {name for option in sweep.params for name in option.opts}
    assert set(re.findall(r"(--[a-z-]+)", entry)) <= known and "posefront resume first" in entry
