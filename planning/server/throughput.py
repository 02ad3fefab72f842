"""Throughput of one server: its pace, what that makes a token cost, and how many of its tokens come together.

Tokens that come together are the cheapest lever on the gateway's CPU, where no reader sees it. vLLM sends the first
token at once, then every so many, then the rest (v1/engine/output_processor.py, 0.32.0). What is chosen follows from
the server alone: were it to follow from the gateway's size, a model more would restart the others.
"""

import re
from collections.abc import Sequence

from catalog.engine import CpuCost, Engine
from catalog.load import Catalog
from catalog.schema import CpuCore, Gpu, Model
from planning.capacity import flags
from planning.plan.gateway_size import GatewayLoad
from planning.plan.pools import PoolPlan
from planning.plan.servers import Cost, Pace, StreamInterval
from planning.server.placement import Placement
from planning.stack import cost
from planning.stack.gateway_cpu import BUSY_SHARE, costs, cpu_s, written
from planning.tasks import task_of
from settings.schema import ModelSettings

# Ten steps a second look like a flow. More tokens at once than four are for people to ask for.
SMOOTH_STEPS_PER_S, MOST_CHOSEN = 10, 4
# Tokens per second of a busy replica from which they come together: about a pod of the gateway. A number of its own,
# because a cost that is measured anew must not restart servers.
WORTH_TOKENS_PER_S = 1000


def throughput(
    model: Model,
    machine: Gpu | CpuCore,
    pool: PoolPlan,
    placed: Placement,
    settings: ModelSettings,
    catalog: Catalog,
) -> tuple[Cost | None, Pace | None, StreamInterval]:
    """(cost, pace, stream interval) of a server with these settings."""
    share = settings.gpu_share or 1
    sequences, width = placed.workload.max_num_seqs, placed.workload.model_bytes
    pace = cost.pace_of(model, machine, pool, placed.parallelism, placed.memory, sequences, width, share)
    price = cost.estimate(model, machine, pool, placed.parallelism, pace, share)
    return price, pace, stream_interval(model, pace, settings.args, catalog.vllm, costs(catalog).plain)


def stream_interval(
    model: Model, pace: Pace | None, args: Sequence[str], engine: Engine, gateway: CpuCost
) -> StreamInterval:
    """The interval that a user's arguments say, or else what pays. `gateway`: its cost."""
    broken = _breaks(model, args, engine)
    rate = written(pace) if pace and task_of(model).writes else 0.0
    each = rate / pace.sequences if pace else 0.0
    unseen = max(1, min(MOST_CHOSEN, int(each / SMOOTH_STEPS_PER_S)))
    smooth = 1 if broken else unseen
    if (value := flags.value_of(args, flags.STREAM_INTERVAL)) is not None:
        tokens = max(1, int(value)) if re.fullmatch(flags.WHOLE, value) else 1
        risk = f", though {broken} may lose what comes in steps of several tokens" if broken and tokens > 1 else ""
        return StreamInterval(tokens, smooth=smooth, reason=f"{value}: given in args{risk}")
    if rate <= WORTH_TOKENS_PER_S:
        return StreamInterval(smooth=smooth)
    spared = f"{_pods_cores(rate * (1 - 1 / max(2, unseen)), gateway):.1f} cores for each busy replica"
    would = f"1: {flags.STREAM_INTERVAL}={max(2, unseen)} in args would spare the gateway {spared}"
    if broken:
        return StreamInterval(reason=f"{would}, but {broken} may lose what comes in steps of several tokens")
    if unseen == 1:
        return StreamInterval(reason=f"{would}, but at {each:.0f} tokens/s the steps of an answer would be seen")
    return StreamInterval(
        unseen,
        chosen=True,
        smooth=smooth,
        reason=f"{unseen}: spares the gateway {spared}; the first token comes at once, and at {each:.0f} tokens/s no "
        f"step is seen; {flags.STREAM_INTERVAL} in args says otherwise",
    )


def _pods_cores(chunks_per_s: float, gateway: CpuCost) -> float:
    """Cores of the gateway's pods that so many chunks ask for."""
    return cpu_s(GatewayLoad(0, 0, 0, chunks_per_s), gateway) / BUSY_SHARE


def _breaks(model: Model, args: Sequence[str], engine: Engine) -> str | None:
    """The parser of the model's dialect that nobody has shown to be right whatever comes together."""
    serving, whole = model.serving, engine.any_delta
    if not task_of(model).chats:
        return None
    reasoning = flags.value_of(args, flags.REASONING_PARSER) or serving.reasoning_parser
    tools = flags.value_of(args, flags.TOOL_CALL_PARSER) or serving.tool_call_parser
    if tools and tools not in whole.tool_call_parsers:
        return f"its parser of tool calls, {tools},"
    if reasoning and reasoning not in whole.reasoning_parsers:
        return f"its parser of reasoning, {reasoning},"
    return None
