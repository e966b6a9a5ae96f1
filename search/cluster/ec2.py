"""Are a node's fields those of EC2's RunInstances? botocore has the exact shape of it: names, types and values."""

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from search.cluster.findings import Finding, error, meant, short, unknown, warn

if TYPE_CHECKING:
    from botocore.model import Shape, StructureShape

OF_RAY = {"SubnetIds", "CloudWatch"}
"""Fields that Ray takes out before it asks EC2."""
SET_BY_RAY = {"MinCount": "how many", "MaxCount": "how many", "SubnetId": "the zone", "ClientToken": "the request"}
"""Fields that Ray overwrites."""
IMAGE_ID = re.compile(r"ami-(?:[0-9a-f]{8}|[0-9a-f]{17})")


@cache
def run_instances() -> "StructureShape | None":
    """The request's shape; None where botocore is not installed."""
    try:
        from botocore.session import get_session
    except ImportError:
        return None
    return get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def check_node_config(where: str, config: dict[str, Any], shape: "StructureShape") -> Iterator[Finding]:
    """What EC2 would refuse, and what Ray would overwrite."""
    for name, what in SET_BY_RAY.items():
        if name in config:
            yield warn(f"{where}.{name}", f"{short(config[name])} is replaced: Ray says itself {what}")
    yield from _check(where, {key: value for key, value in config.items() if key not in OF_RAY}, shape)


def _check(where: str, value: Any, shape: "Shape") -> Iterator[Finding]:
    if shape.type_name == "structure":
        yield from _check_structure(where, value, shape)
    elif shape.type_name == "list":
        if not isinstance(value, list):
            yield error(where, f"{short(value)} should be a list")
            return
        for number, element in enumerate(value):
            yield from _check(f"{where}[{number}]", element, shape.member)
    elif problem := _wrong(value, shape):
        yield error(where, f"{short(value)} {problem}")


def _check_structure(where: str, value: Any, shape: "StructureShape") -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield error(where, f"{short(value)} should be a mapping, with {_some(shape.members)}")
        return
    for name, inner in value.items():
        if name in shape.members:
            yield from _check(f"{where}.{name}", inner, shape.members[name])
        else:
            yield unknown(where, name, shape.members, "EC2's RunInstances here")
    for name in shape.required_members:
        if name not in value and name not in SET_BY_RAY:
            yield error(f"{where}.{name}", "is missing, and EC2 requires it")


def _wrong(value: Any, shape: "Shape") -> str | None:
    """What a scalar should be, if it is not that."""
    kind = shape.type_name
    if kind == "boolean":
        return None if isinstance(value, bool) else "should be true or false"
    if kind in ("integer", "long"):
        return None if isinstance(value, int) and not isinstance(value, bool) else "should be a whole number"
    if kind in ("float", "double"):
        return None if isinstance(value, int | float) and not isinstance(value, bool) else "should be a number"
    if kind != "string":
        return None
    if not isinstance(value, str):
        return f'should be a text: write it as "{value}"'
    if shape.enum and value not in shape.enum:
        return f"should be one of {_some(shape.enum)}{meant(value, shape.enum)}"
    return None


def _some(names: Any, most: int = 6) -> str:
    names = list(names)
    more = f" ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@cache
def regions() -> tuple[str, ...] | None:
    """Where EC2 is, as botocore knows; None without it."""
    try:
        from botocore.session import get_session
    except ImportError:
        return None
    session = get_session()
    parts = session.get_available_partitions()
    return tuple(region for part in parts for region in session.get_available_regions("ec2", part))
