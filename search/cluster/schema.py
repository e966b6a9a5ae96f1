"""Are the fields there at all? Ray's own validator, and what it lets through: names of fields below the top."""

import copy
import io
import json
import logging
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from search.cluster.ec2 import regions
from search.cluster.file import ClusterFile
from search.cluster.findings import Finding, error, meant, short, unknown, warn

TYPES = ("aws", "gcp", "azure", "local", "external", "aliyun", "vsphere")
EVERYWHERE = {"type", "module", "disable_node_updaters", "disable_launch_config_check", "foreground_node_launch"}
AWS = {
    "region", "availability_zone", "cache_stopped_nodes", "security_group", "key_pair", "use_internal_ips",
    "use_external_head_ip", "aws_credentials", "cloudwatch",
}  # fmt: skip
OURS = {"on_demand_fallback"}
SECURITY_GROUP = {"GroupName", "IpPermissions"}
WITHOUT_DEFAULTS = (
    "file_mounts", "cluster_synced_files", "initialization_commands", "setup_commands", "head_setup_commands",
    "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands", "max_workers",
    "idle_timeout_minutes", "upscaling_speed", "available_node_types", "head_node_type",
)  # fmt: skip
"""What an external provider's file must have: Ray fills in nothing."""


def check_schema(file: ClusterFile) -> Iterator[Finding]:
    """The top level's and the node types' fields, then whatever else Ray's validator says."""
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text(encoding="utf-8"))
    found = list(_names("", file.config, schema["properties"], "a cluster file"))
    kind = schema["properties"]["available_node_types"]["patternProperties"][".*"]["properties"]
    for name, declared in file.types.items():
        found += _names(f"available_node_types.{name}", declared, kind, "a node type")
    if file.provider.get("type") == "external":
        for name in WITHOUT_DEFAULTS:
            if name not in file.config:
                found.append(error(name, "is missing: with an external provider Ray has no default for it"))
    yield from found
    if not found:
        yield from _validate(file.config)


def _names(where: str, value: dict[str, Any], known: dict[str, Any], of: str) -> Iterator[Finding]:
    for name in value:
        if not where and name in ("min_workers", "head_node", "worker_nodes"):
            said = "belongs to each node type" if name == "min_workers" else "is replaced by available_node_types"
            yield error(str(name), f"is dropped by Ray without a word; it {said}")
        elif name not in known:
            yield unknown(where, name, known, of)


def _validate(config: dict[str, Any]) -> Iterator[Finding]:
    """Ray's validator, in one line: it raises many kinds of error, and prints."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    logging.getLogger("ray.autoscaler").setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            validate_config(prepare_config(copy.deepcopy(config)))
    except Exception as problem:  # the validator's, the schema library's, KeyError for what is missing
        path = ".".join(str(part) for part in getattr(problem, "absolute_path", ()))
        message = getattr(problem, "message", None) or str(problem) or type(problem).__name__
        lacking = f"{message} is missing" if isinstance(problem, KeyError) else message
        yield error(path or "file", f"Ray refuses it: {' '.join(lacking.split())}")


def check_provider(file: ClusterFile) -> Iterator[Finding]:
    """The provider's fields and, on AWS, where it is."""
    provider = file.provider
    kind = provider.get("type")
    if kind not in TYPES:
        yield error("provider.type", f"{short(kind)} should be one of {', '.join(TYPES)}{meant(kind, TYPES)}")
    if kind == "external" and not provider.get("module"):
        yield error("provider.module", "is missing: an external provider is a class by its dotted name")
    for name in ("aws_credentials", "gcp_credentials"):
        if name in provider:
            yield error(
                f"provider.{name}", "is a secret in a file that Ray copies to the head; use the cloud's own login"
            )
    if not file.on_aws:
        yield warn("provider", f"of type {short(kind)}: its fields and node_config are not checked, only AWS's are")
        return
    known = EVERYWHERE | AWS | (OURS if kind == "external" else set())
    for name in provider:
        if name not in known:
            yield unknown("provider", name, known, "an AWS provider")
    group = provider.get("security_group")
    for name in group if isinstance(group, dict) else ():
        if name not in SECURITY_GROUP:
            yield unknown("provider.security_group", name, SECURITY_GROUP, "a security group here")
    yield from _check_region(provider)
    wanted = provider.get("on_demand_fallback", [])
    for name in wanted if isinstance(wanted, list) else [wanted]:
        if not isinstance(name, str) or name not in file.workers:
            yield error("provider.on_demand_fallback", f"{short(name)} is no worker type{meant(name, file.workers)}")


def _check_region(provider: dict[str, Any]) -> Iterator[Finding]:
    region, known = provider.get("region"), regions()
    if not isinstance(region, str):
        yield error("provider.region", f"{short(region)} should be where the nodes are, such as us-east-1")
        return
    if known is not None and region not in known:
        yield error("provider.region", f"{short(region)} is no region of AWS's{meant(region, known)}")
    zones = provider.get("availability_zone")
    if zones is None:
        return
    for zone in (zone.strip() for zone in str(zones).split(",")):
        if not (zone.startswith(region) and len(zone) > len(region)):
            yield error("provider.availability_zone", f"{short(zone)} is not in {region}; zones are such as {region}a")
