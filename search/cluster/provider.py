"""Ray's AWS provider, with workers on demand where no zone has spot of them."""

import logging
from typing import Any

from botocore.exceptions import ClientError
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.tags import NODE_KIND_WORKER, TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE

logger = logging.getLogger(__name__)

NO_SPOT = {
    "InsufficientInstanceCapacity",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
}
"""EC2's codes for spot that cannot be had now; any other error would be the same on demand."""

logging.getLogger("ray.autoscaler._private.util").addFilter(
    lambda record: "empty legacy field" not in record.getMessage()
)
"""Ray fills them in for a provider such as this one, and would then say every five seconds that it drops them."""


class SpotFirst(AWSNodeProvider):
    """Spot in every zone first; then, for the types in the provider's `on_demand_fallback`, on demand.

    Ray's autoscaler (2.60) asks for the same type again after a launch that EC2 refused, for as long as it is refused:
    node types with a lower `priority` are no fallback.
    """

    def _create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        kind = tags.get(TAG_RAY_USER_NODE_TYPE)  # before Ray rewrites the tags
        try:
            return super()._create_node(dict(node_config), dict(tags), count)
        except (NodeLaunchException, ClientError) as error:
            market = node_config.get("InstanceMarketOptions") or {}
            wanted = self.provider_config.get("on_demand_fallback") or ()
            if market.get("MarketType") != "spot" or kind not in wanted or _code(error) not in NO_SPOT:
                raise
            logger.warning("No zone has spot for %s (%s): %d on demand", kind, _code(error), count)
            on_demand = {key: value for key, value in node_config.items() if key != "InstanceMarketOptions"}
            return super()._create_node(on_demand, dict(tags), count)

    def terminate_nodes(self, node_ids: list[str]) -> None:
        """Workers are deleted: Ray would keep those on demand stopped, and their disks paid for."""
        workers = [node for node in node_ids if self.tag_cache.get(node, {}).get(TAG_RAY_NODE_KIND) == NODE_KIND_WORKER]
        if workers:
            self.ec2.meta.client.terminate_instances(InstanceIds=workers)
        super().terminate_nodes([node for node in node_ids if node not in workers])


def _code(error: Exception) -> str:
    """EC2's code for what went wrong."""
    if isinstance(error, NodeLaunchException):
        return error.category
    return error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
