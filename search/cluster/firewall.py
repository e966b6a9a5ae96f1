"""The cluster's security group: all ports between its nodes, ssh from named addresses, nothing else from outside."""

import ipaddress
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from spaces import InputError

WHO_AM_I = "https://checkip.amazonaws.com"
"""AWS's own answer to where a request comes from."""
WORLD = ("0.0.0.0/0", "::/0")
SSH = 22


@dataclass(frozen=True)
class Firewall:
    """What was found and done."""

    group: str
    """The security group's id."""
    name: str
    made: bool
    """Whether there was none before."""
    ssh: tuple[str, ...]
    """From where ssh is open now."""
    closed: tuple[str, ...]
    """What was open to the world and is no longer, such as `tcp 22`."""


def close(config: dict[str, Any], ssh_from: Iterable[str], where: object) -> Firewall:
    """Makes the cluster's security group as it should be; what is right already stays, so it may be called again.

    `config` is a cluster file's, for AWS, or what `ray up` made of it. InputError, with AWS's words, where it cannot.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    provider = config.get("provider") or {}
    if not isinstance(provider.get("region"), str):
        raise InputError(where, "provider.region should say where the cluster is, such as us-east-1")
    sources = [network(source) for source in ssh_from]
    try:
        ec2 = boto3.client("ec2", region_name=provider["region"])
        return _close(ec2, _name(config), str(config.get("cluster_name", "")), _chosen(config), sources)
    except (BotoCoreError, ClientError) as error:
        raise InputError(where, f"the security group cannot be changed: {error}") from None


def my_address(fetch: Callable[[str], bytes] | None = None) -> str:
    """This machine's address as the world sees it. InputError when nobody says."""
    try:
        said = (fetch or _fetch)(WHO_AM_I).decode().strip()
        return str(ipaddress.ip_address(said))
    except (OSError, ValueError) as error:
        raise InputError("--ssh-from", f"{WHO_AM_I} does not say your address ({error}); give it") from None


def network(source: str) -> str:
    """An address or a network as CIDR. InputError for anything else, and for the world."""
    try:
        found = ipaddress.ip_network(source, strict=False)
    except ValueError:
        raise InputError("--ssh-from", f"{source!r} should be an address or a network, such as 203.0.113.7") from None
    if found.prefixlen == 0:
        raise InputError("--ssh-from", f"{source!r} is the whole world; give the addresses that need it")
    return str(found)


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read(100)


def _name(config: dict[str, Any]) -> str:
    """As Ray names it."""
    group = config["provider"].get("security_group") or {}
    return str(group.get("GroupName") or f"ray-autoscaler-{config.get('cluster_name')}")


def _chosen(config: dict[str, Any]) -> str | None:
    """The group's id, where the file has one or `ray up` found one."""
    for kind in (config.get("available_node_types") or {}).values():
        for group in (kind.get("node_config") or {}).get("SecurityGroupIds") or ():
            return str(group)
    return None


def _close(ec2: Any, name: str, cluster: str, chosen: str | None, sources: list[str]) -> Firewall:
    group = _find(ec2, name, chosen)
    made = group is None
    if group is None:
        vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        if not vpcs:
            raise InputError("provider", "the region has no default VPC; `aws ec2 create-default-vpc` makes one")
        tags = [{"Key": "ray-cluster-name", "Value": cluster}]
        made_id = ec2.create_security_group(
            GroupName=name, Description="Nodes of a Ray cluster", VpcId=vpcs[0]["VpcId"],
            TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}],
        )["GroupId"]  # fmt: skip
        group = _find(ec2, name, made_id)
    identity, rules = group["GroupId"], group["IpPermissions"]
    # What is needed is opened before what is too much is closed: this may itself come by ssh.
    wanted = [] if _within(rules, identity) else [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": identity}]}]
    wanted += [_ssh(source) for source in sources if source not in _ssh_sources(rules)]
    if wanted:
        ec2.authorize_security_group_ingress(GroupId=identity, IpPermissions=wanted)
    worldly = [part for rule in rules if (part := _worldly(rule))]
    if worldly:
        ec2.revoke_security_group_ingress(GroupId=identity, IpPermissions=worldly)
    now = _find(ec2, name, identity)["IpPermissions"]
    return Firewall(identity, group["GroupName"], made, _ssh_sources(now), tuple(map(_said, worldly)))


def _find(ec2: Any, name: str, chosen: str | None) -> dict[str, Any] | None:
    if chosen:
        return ec2.describe_security_groups(GroupIds=[chosen])["SecurityGroups"][0]
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    filters = [{"Name": "group-name", "Values": [name]}]
    if vpcs:
        filters.append({"Name": "vpc-id", "Values": [vpcs[0]["VpcId"]]})
    found = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    return found[0] if found else None


def _within(rules: list[dict[str, Any]], identity: str) -> bool:
    return any(
        rule["IpProtocol"] == "-1" and any(pair.get("GroupId") == identity for pair in rule["UserIdGroupPairs"])
        for rule in rules
    )


def _ssh(source: str) -> dict[str, Any]:
    ranges = {"Ipv6Ranges": [{"CidrIpv6": source}]} if ":" in source else {"IpRanges": [{"CidrIp": source}]}
    return {"IpProtocol": "tcp", "FromPort": SSH, "ToPort": SSH, **ranges}


def _ssh_sources(rules: list[dict[str, Any]]) -> tuple[str, ...]:
    """The addresses from which port 22 is open."""
    return tuple(
        address
        for rule in rules
        if rule["IpProtocol"] == "-1" or rule.get("FromPort", 0) <= SSH <= rule.get("ToPort", 65535)
        for address in _addresses(rule)
    )


def _addresses(rule: dict[str, Any]) -> list[str]:
    four = [entry["CidrIp"] for entry in rule.get("IpRanges", ())]
    return four + [entry["CidrIpv6"] for entry in rule.get("Ipv6Ranges", ())]


def _worldly(rule: dict[str, Any]) -> dict[str, Any] | None:
    """The part of a rule that lets the world in."""
    four = [{"CidrIp": entry["CidrIp"]} for entry in rule.get("IpRanges", ()) if entry["CidrIp"] in WORLD]
    six = [{"CidrIpv6": entry["CidrIpv6"]} for entry in rule.get("Ipv6Ranges", ()) if entry["CidrIpv6"] in WORLD]
    if not four and not six:
        return None
    ports = {key: rule[key] for key in ("FromPort", "ToPort") if key in rule}
    ranges = ({"IpRanges": four} if four else {}) | ({"Ipv6Ranges": six} if six else {})
    return {"IpProtocol": rule["IpProtocol"], **ports, **ranges}


def _said(rule: dict[str, Any]) -> str:
    low, high = rule.get("FromPort"), rule.get("ToPort")
    ports = "all ports" if low is None or rule["IpProtocol"] == "-1" else str(low) if low == high else f"{low}-{high}"
    return ports if rule["IpProtocol"] == "-1" else f"{rule['IpProtocol']} {ports}"
