"""The network between the nodes of one replica: what its pods get for it, and what each token sends over it.

What goes over it (vLLM 0.33.0): from stage to stage the hidden states and the residual of each token, of which every
rank of a stage sends its part (distributed/parallel_state.py, isend_tensor_dict); with data parallelism over nodes, in
each layer with experts, the hidden states of each token to every other node and sums back (allgather_reducescatter,
distributed/device_communicators/all2all.py). Tensors are never split over nodes here.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import ceil

from catalog.schema import Model
from planning.capacity import flags
from planning.capacity.budget import Parallelism
from planning.capacity.memory import Workload
from planning.plan.fabrics import FabricPlan, Traffic
from planning.plan.pools import PoolPlan
from planning.server.placement import Placement
from settings.schema import ModelSettings

# What vLLM says of experts of itself, and all that is counted here.
COUNTED_EXCHANGE = "allgather_reducescatter"


def join_nodes(
    pool: PoolPlan, settings: ModelSettings, model: Model, placed: Placement
) -> tuple[int, FabricPlan | None]:
    """(nodes that a replica spans, the network between them); None: it is on one."""
    nodes = max(1, ceil(placed.parallelism.gpus / pool.cards_per_node)) if pool.fabric else 1
    if nodes == 1 or pool.fabric is None:
        return 1, None
    exchange = flags.value_of(settings.args, flags.ALL2ALL_BACKEND) or COUNTED_EXCHANGE
    sent = traffic(
        model, placed.parallelism, placed.workload, pool.cards_per_node, counts_experts=exchange == COUNTED_EXCHANGE
    )
    fabric = replace(pool.fabric, traffic=sent)
    # where a model's variables say that it takes no huge pages, none are asked for
    unpaged = fabric.without_pages.items()
    if unpaged and unpaged <= settings.env.items():
        kept = {name: amount for name, amount in fabric.resources.items() if name not in fabric.pages}
        fabric = replace(fabric, resources=kept)
    return nodes, fabric


def asked_resources(pool: PoolPlan, fabrics: Iterable[FabricPlan | None]) -> dict[str, str]:
    """Amounts that one pod of the pool asks for beside GPUs, of every kind that some server asks for."""
    asked = [fabric.resources for fabric in fabrics if fabric]
    return dict(pool.pod_resources) | {name: amount for resources in asked for name, amount in resources.items()}


def traffic(
    model: Model, parallelism: Parallelism, workload: Workload, gpus_per_node: int, *, counts_experts: bool = True
) -> Traffic | None:
    """Bytes that one token sends between nodes, in the model's dtype; None: its shape is not known."""
    if (shape := model.architecture) is None:
        return None
    width = shape.hidden_size * workload.model_bytes
    # nodes of one data-parallel rank, and groups of nodes that hold the same layers
    spanned = ceil(parallelism.tensor * parallelism.pipeline / gpus_per_node)
    groups = ceil(parallelism.gpus / gpus_per_node) // spanned
    expert_bytes = 0
    if (moe := shape.moe) is not None and groups > 1:
        layers = (shape.layers if shape.feed_forward_layers is None else shape.feed_forward_layers) - moe.dense_layers
        expert_bytes = 2 * (groups - 1) * width * layers
    return Traffic(
        stage_bytes=2 * width if spanned > 1 else 0,
        boundaries=spanned - 1,
        expert_bytes=expert_bytes if counts_experts or not expert_bytes else None,
        chunk_tokens=workload.step_tokens,
        sequences=workload.max_num_seqs,
    )
