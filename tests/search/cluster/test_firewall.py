"""The security group, as EC2 keeps it (moto): what is open, and to whom."""

from typing import Any

import boto3
import pytest

from search.cluster.firewall import close, my_address, network
from spaces import InputError
from tests.search.cluster.conftest import REGION, Asked

CONFIG: dict[str, Any] = {
    "cluster_name": "mine", "provider": {"type": "aws", "region": REGION, "security_group": {"GroupName": "posefront"}},
}  # fmt: skip
ME, OFFICE = "203.0.113.7", "198.51.100.0/24"


def rules(group: str) -> set[tuple[str, int | None, str]]:
    ec2 = boto3.client("ec2", region_name=REGION)
    found = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    return {
        (rule["IpProtocol"], rule.get("FromPort"), source)
        for rule in found
        for source in (
            *(entry["CidrIp"] for entry in rule["IpRanges"]),
            *(entry["CidrIpv6"] for entry in rule["Ipv6Ranges"]),
            *(pair["GroupId"] for pair in rule["UserIdGroupPairs"]),
        )
    }


def test_a_new_group_lets_in_its_own_nodes_and_ssh_from_the_named(aws: Asked):
    made = close(CONFIG, [ME, OFFICE], "file")
    assert made.made and made.name == "posefront" and not made.closed
    assert rules(made.group) == {("-1", None, made.group), ("tcp", 22, f"{ME}/32"), ("tcp", 22, OFFICE)}


def test_again_changes_nothing_and_from_elsewhere_adds(aws: Asked):
    first = close(CONFIG, [ME], "file")
    aws.calls.clear()
    again = close(CONFIG, [ME], "file")
    assert not again.made and not aws.of("AuthorizeSecurityGroupIngress") and again.group == first.group
    added = close(CONFIG, ["192.0.2.77"], "file")
    assert added.ssh == (f"{ME}/32", "192.0.2.77/32") and len(aws.of("CreateSecurityGroup")) == 0


def test_what_is_open_to_the_world_is_closed_and_the_rest_stays(aws: Asked):
    ec2 = boto3.client("ec2", region_name=REGION)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="posefront", Description="x", VpcId=vpc)["GroupId"]
    world, office = {"CidrIp": "0.0.0.0/0"}, {"CidrIp": OFFICE}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [world, office]},
        {"IpProtocol": "tcp", "FromPort": 8265, "ToPort": 8265, "IpRanges": [world]},
    ])  # fmt: skip
    done = close(CONFIG, [ME], "file")
    assert set(done.closed) == {"tcp 22", "tcp 8265"}
    assert rules(group) == {("-1", None, group), ("tcp", 22, OFFICE), ("tcp", 22, f"{ME}/32")}


def test_before_it_closes_it_opens(aws: Asked):
    """Else the head, which calls it by ssh, would cut off who calls it."""
    ec2 = boto3.client("ec2", region_name=REGION)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="posefront", Description="x", VpcId=vpc)["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    aws.calls.clear()
    close(CONFIG, [ME], "file")
    changes = [name for name, _ in aws.calls if name.endswith("SecurityGroupIngress")]
    assert changes == ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"]


def test_the_group_that_ray_chose_is_taken_where_it_says_so(aws: Asked):
    ec2 = boto3.client("ec2", region_name=REGION)
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="other", Description="x", VpcId=vpc)["GroupId"]
    node = {"node_config": {"SecurityGroupIds": [group]}}
    assert close(CONFIG | {"available_node_types": {"head": node}}, [ME], "file").group == group


def test_without_a_name_it_is_rays(aws: Asked):
    assert close({"cluster_name": "mine", "provider": {"region": REGION}}, [ME], "file").name == "ray-autoscaler-mine"


@pytest.mark.parametrize(
    ("source", "said"), [("here", "should be an address"), ("0.0.0.0/0", "whole world"), ("::/0", "whole world")]
)
def test_who_may_come_in_is_an_address_and_not_the_world(source: str, said: str):
    with pytest.raises(InputError, match=said):
        network(source)


def test_ones_own_address_is_as_the_world_sees_it():
    assert my_address(lambda url: b"203.0.113.7\n") == ME
    with pytest.raises(InputError, match="does not say your address"):
        my_address(lambda url: b"<html>")

    def away(url: str) -> bytes:
        raise OSError("no network")

    with pytest.raises(InputError, match="no network"):
        my_address(away)


def test_what_aws_refuses_is_one_line(aws: Asked):
    aws.refuse = lambda operation, parameters: "UnauthorizedOperation"
    with pytest.raises(InputError, match=r"^file: the security group cannot be changed: .*UnauthorizedOperation") as e:
        close(CONFIG, [ME], "file")
    assert "\n" not in str(e.value)


def test_a_file_without_a_region_is_one_line():
    with pytest.raises(InputError, match=r"provider\.region"):
        close({"provider": {}}, [ME], "file")
