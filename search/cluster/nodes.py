"""Is each node what it should be: a head that stays and runs no trial, GPU workers on spot, all with one image?"""

from collections.abc import Iterator
from typing import Any

from search.cluster.ec2 import IMAGE_ID, check_node_config, run_instances
from search.cluster.file import ClusterFile, is_spot, node_config, resources
from search.cluster.findings import Finding, error, short, warn

LEAST_DISK = 100
"""GiB: system and drivers 45, packages 15, weights of a base and its judges 15, and room."""
LONGEST_IDLE = 60
"""Minutes."""


def check_nodes(file: ClusterFile) -> Iterator[Finding]:
    yield from _check_head(file)
    yield from _check_workers(file)
    yield from _check_limits(file)
    if file.on_aws:
        yield from _check_images(file)
        yield from _check_keys(file)
        yield from _check_requests(file)


def _check_requests(file: ClusterFile) -> Iterator[Finding]:
    """Each node_config as EC2 will read it."""
    shape = run_instances()
    if shape is None:
        yield warn("available_node_types", "node_config is not checked: botocore is not here; `pip install boto3`")
    for name, kind in file.types.items():
        where, config = f"available_node_types.{name}.node_config", node_config(kind)
        if shape is not None:
            yield from check_node_config(where, config, shape)
        if "InstanceType" not in config:
            yield error(f"{where}.InstanceType", "is missing: which machine should it be?")
        metadata = config.get("MetadataOptions")
        if not (isinstance(metadata, dict) and metadata.get("HttpTokens") == "required"):
            yield warn(
                f"{where}.MetadataOptions",
                "any process may read the node's credentials; {HttpTokens: required} asks for a token",
            )
        for number, disk in enumerate(_disks(config)):
            size = disk.get("VolumeSize")
            if isinstance(size, int) and size < LEAST_DISK:
                yield warn(
                    f"{where}.BlockDeviceMappings[{number}].Ebs.VolumeSize",
                    f"{size} GiB fill up with packages and weights; {LEAST_DISK} or more",
                )
        if not _disks(config):
            yield warn(f"{where}.BlockDeviceMappings", f"the image's own disk is small; {LEAST_DISK} GiB or more")


def _disks(config: dict[str, Any]) -> list[dict[str, Any]]:
    mappings = config.get("BlockDeviceMappings")
    known = [mapping for mapping in mappings if isinstance(mapping, dict)] if isinstance(mappings, list) else []
    return [mapping["Ebs"] for mapping in known if isinstance(mapping.get("Ebs"), dict)]


def _check_images(file: ClusterFile) -> Iterator[Finding]:
    seen = {}
    for name, kind in file.types.items():
        where, image = f"available_node_types.{name}.node_config.ImageId", node_config(kind).get("ImageId")
        if image is None and "LaunchTemplate" in node_config(kind):
            continue
        if image is None:
            yield error(where, "is missing: Ray takes an image of its own, an Ubuntu of 2018; pin one as ami-...")
        elif str(image).lower() == "latest_dlami":
            yield error(where, f"{image!r} is Ray's word for an Ubuntu of 2018; pin an image as ami-...")
        elif not IMAGE_ID.fullmatch(str(image)):
            yield error(where, f"{short(image)} should be an image's id: ami- and 17 hex digits")
        else:
            seen.setdefault(image, name)
    if len(seen) > 1:
        said = ", ".join(f"{name}: {image}" for image, name in seen.items())
        yield warn("available_node_types", f"nodes have different images ({said}); Python's version must be the same")


def _check_keys(file: ClusterFile) -> Iterator[Finding]:
    auth = file.config.get("auth")
    own = isinstance(auth, dict) and "ssh_private_key" in auth
    for name, kind in file.types.items():
        where, config = f"available_node_types.{name}.node_config.KeyName", node_config(kind)
        if own and "KeyName" not in config and "UserData" not in config:
            yield error(where, "is missing: with auth.ssh_private_key each node must name its key pair")
        if not own and "KeyName" in config:
            yield error(where, "is replaced by a key pair that Ray makes, for want of auth.ssh_private_key")


def _check_head(file: ClusterFile) -> Iterator[Finding]:
    name = file.head_type
    if name not in file.types:
        return  # Ray's validator says so
    where, kind = f"available_node_types.{name}", file.types[name]
    if is_spot(kind):
        yield error(
            f"{where}.node_config.InstanceMarketOptions",
            "the head is on spot, and all is interrupted when it is taken away; take it on demand",
        )
    for resource in ("CPU", "GPU"):
        value = resources(kind).get(resource)
        if value != 0:
            yield error(
                f"{where}.resources.{resource}",
                f"{'is missing' if value is None else value}: trials would run on the head; it should be 0",
            )
    if kind.get("max_workers", 0):
        yield warn(f"{where}.max_workers", f"{kind['max_workers']}: more machines like the head, for no trial; 0")


def _check_workers(file: ClusterFile) -> Iterator[Finding]:
    zones = [zone for zone in str(file.provider.get("availability_zone") or "").split(",") if zone.strip()]
    chosen = "on_demand_fallback" in file.provider  # whatever it names, and be it none
    for name, kind in file.workers.items():
        where = f"available_node_types.{name}"
        if not resources(kind).get("GPU"):
            yield warn(f"{where}.resources.GPU", "no GPU: a trial here trains on the CPU")
        elif not resources(kind).get("gpu_gb"):
            yield warn(
                f"{where}.resources.gpu_gb",
                "is missing: a trial that asks for card memory never lands here; the card's GB, such as 24",
            )
        if kind.get("min_workers", 0):
            yield warn(f"{where}.min_workers", f"{kind['min_workers']}: so many are paid for day and night; 0")
        if not file.on_aws or kind.get("max_workers") == 0:
            continue
        if not is_spot(kind):
            yield warn(
                f"{where}.node_config.InstanceMarketOptions",
                "on demand, at two to three times the price; {MarketType: spot} (a lost trial goes on elsewhere)",
            )
            continue
        if len(zones) == 1:
            yield warn("provider.availability_zone", f"{zones[0]} alone: no spot for {name} when that zone has none")
        if not chosen and not _has_twin(file, name):
            yield warn(
                f"{where}.node_config.InstanceMarketOptions",
                "spot without a fallback: trials wait while no zone has any; name it in provider.on_demand_fallback",
            )


def _has_twin(file: ClusterFile, name: str) -> bool:
    """Whether another type of the same resources can be started on demand."""
    wanted = resources(file.types[name])
    return any(
        not is_spot(kind) and resources(kind) == wanted and kind.get("max_workers") != 0
        for other, kind in file.workers.items()
        if other != name
    )


def _check_limits(file: ClusterFile) -> Iterator[Finding]:
    total = file.config.get("max_workers", 2)
    if total == 0 or (file.workers and all(kind.get("max_workers", total) == 0 for kind in file.workers.values())):
        yield error("max_workers", "0: no worker ever starts, and a sweep waits for ever")
    elif not file.workers:
        yield error("available_node_types", "has the head alone: no worker ever starts, and a sweep waits for ever")
    idle = file.config.get("idle_timeout_minutes")
    if isinstance(idle, int | float) and idle > LONGEST_IDLE:
        yield warn("idle_timeout_minutes", f"{idle:g}: workers without a trial are paid for so long; 10 or so")
    if idle == 0:
        yield warn("idle_timeout_minutes", "0: a worker may go before its first trial reaches it; 5 or more")
