"""The part of the report about one model: where it runs, a bar of its GPU memory, how much it serves, what it costs."""

from collections.abc import Iterator

from rich.text import Text

from planning.plan.pools import PoolPlan
from planning.plan.servers import ServerPlan, Timing
from planning.stack.timing import MEASURED
from preview.reporting.page import LABEL_WIDTH, Block, Body, facts, listed, packed, reasons
from preview.reporting.summary import replica_range
from preview.reporting.wording import count, gib, minutes, usd, usd_range

BAR_WIDTH = 64


def model_page(server: ServerPlan, pool: PoolPlan) -> Block:
    """Everything about one server, as rows of label and text."""
    return lambda width: facts(_rows(server, pool, width - LABEL_WIDTH - 2))(width)


def _rows(server: ServerPlan, pool: PoolPlan, width: int) -> Iterator[tuple[str, Body]]:
    memory, timing = server.memory, server.timing
    if server.canary:
        yield "canary", Text(f"gets {server.weight} % of the requests for {server.model_name}", style="yellow")
    yield "runs on", _place(server, pool)
    yield "memory", _memory_bar(server, width)
    yield "context", f"{memory.context_tokens:,} tokens per request{_held(server)}"
    yield "replicas", _replicas(server)
    yield from _start(timing)
    gap = server.rollout.gap_s
    yield "update", Text(f"stops it for about {minutes(gap)}", style="yellow") if gap else "without a gap"
    yield "cost", _cost(server)
    if yours := tuple(server.additions):
        yield "yours", listed(yours)
    yield "why", reasons(server.reasons)


def _held(server: ServerPlan) -> str:
    """The number of requests of the whole context that fit at once, and why."""
    memory, most = server.memory, f", at most {server.max_num_seqs} at once"
    if not memory.kv_cache_tokens:
        return most
    held = f"; KV cache {memory.kv_cache_tokens:,} tokens = {memory.max_concurrency:.1f} × {memory.context_tokens:,}"
    return f"{held}{most}" if server.max_num_seqs < memory.max_concurrency else held


def _start(timing: Timing) -> Iterator[tuple[str, str]]:
    """Parts of a start, one by one, and where the figures are from that somebody can give."""
    parts = ", ".join(f"{phase.name} {minutes(phase.seconds)}" for phase in timing.phases)
    total = f"{minutes(timing.cold_start_s)}: {parts}; the engine is given {minutes(timing.startup_budget_s)}"
    yield "start", total
    if again := timing.compile_again:
        yield "", f"compile {minutes(again.seconds)} once it is kept ({again.source}); deadlines do not count on it"
    measured = [phase.name for phase in timing.phases if phase.source == MEASURED]
    if measured:
        yield "", f"measured: {', '.join(measured)}"


def _place(server: ServerPlan, pool: PoolPlan) -> str:
    if server.cpu:
        cores, need = count(server.resources.cpus, "CPU core"), server.resources.memory_gib
        return f"{cores} and {need} GiB of pool {pool.name}, vLLM {server.image.version}"
    gpus = f"{server.parallelism.gpus} × {pool.gpu_name}"
    spread = f" over {server.nodes_per_replica} nodes" if server.nodes_per_replica > 1 else ""
    return f"{gpus}{spread} of pool {pool.name}, {server.parallelism}, vLLM {server.image.version}"


def _memory_bar(server: ServerPlan, width: int) -> Text:
    """The memory of one GPU (or of a CPU node) to scale, and the same in figures, GiB."""
    memory = server.memory
    around = memory.activation_gib + memory.cuda_graphs_gib + memory.non_torch_gib
    # of a measured server only weights and KV cache are known; the rest of its budget is what vLLM used for itself
    inner = "vLLM itself" if server.cpu or "measured" in server.reasons else "activations, graphs"
    free_gib = memory.visible_gib - memory.weights_gib - around - memory.kv_cache_gib
    parts = [
        ("▓", "blue", "weights", memory.weights_gib),
        ("▒", "magenta", inner, around),
        ("█", "green", "KV cache", memory.kv_cache_gib),
        ("·", "dim", "free", free_gib),
    ]
    whole = f" {gib(memory.visible_gib)} GiB per {'node' if server.cpu else 'GPU'}"
    bar = Text()
    shares = _cells([size for *_, size in parts], min(BAR_WIDTH, width - len(whole)))
    for (sign, style, _, _), cells in zip(parts, shares, strict=True):
        bar.append(sign * cells, style)
    listed = [part for part in parts if part[2] != "KV cache" or memory.kv_cache_tokens]
    legend = packed((Text.assemble((sign, style), f" {name} {gib(size)}") for sign, style, name, size in listed), width)
    how = ("\nmeasured, not computed", "yellow") if "measured" in server.reasons else ""
    return Text.assemble(bar, (whole, "dim"), "\n", legend, how)


def _cells(sizes: list[float], width: int) -> list[int]:
    """`width` cells shared in proportion to `sizes`; whatever is there at all gets at least one."""
    total = sum(sizes)
    cells = [max(1, round(size / total * width)) if size > 0 else 0 for size in sizes]
    cells[cells.index(max(cells))] += width - sum(cells)
    return cells


def _replicas(server: ServerPlan) -> Text | str:
    fewest, most = replica_range(server)
    if server.scaling is None:
        return f"{most}, fixed"
    scaling = server.scaling
    text = f"{fewest}–{most} by {scaling.driver.upper()}: one more while over {scaling.target_waiting} wait per replica"
    if scaling.floor is not None:
        floor = scaling.floor
        text += f"\nat least {floor.replicas} from cron “{floor.start}” to “{floor.end}”, {floor.timezone}"
    return text


def _cost(server: ServerPlan) -> str:
    cost = server.cost
    if cost is None:
        return "not known: the pool has no price"
    fewest, most = replica_range(server)
    text = f"{usd(cost.usd_per_hour)}/h per replica"
    if (fewest, most) != (1, 1):
        text += f", {usd_range(cost.usd_per_hour * fewest, cost.usd_per_hour * most)}/h in all"
    if cost.usd_per_million_tokens is not None:
        busy, alone = cost.usd_per_million_tokens
        done = "written" if server.task.writes else "read"
        text += f"\n{usd(busy)} (busy) to {usd(alone)} (one request) per million tokens {done}, estimated"
    return text
