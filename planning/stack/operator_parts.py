"""Parts that the GPU Operator brings to nodes, and those which nodes of a platform have."""

from collections.abc import Mapping

from catalog.load import Catalog
from catalog.platforms import GPU_PARTS, GpuPart
from settings.schema import StackSettings


def brought(settings: StackSettings, catalog: Catalog) -> Mapping[GpuPart, bool]:
    """Whether the operator brings each part: what nodes have not, unless the stack says otherwise."""
    operator, nodes = settings.gpu_operator, catalog.platform(settings.cluster.platform).nodes_have
    stated = dict(zip(GPU_PARTS, (operator.driver, operator.toolkit, operator.device_plugin), strict=True))
    return {part: part not in nodes if choice is None else choice for part, choice in stated.items()}
