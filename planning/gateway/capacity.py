"""The gateway's size from measured cost: the load it is to carry, the cores that takes, the replicas that follow.

cores = (answers/s × ms + streams/s × ms + chunks/s × ms) ÷ 1000, and a replica is planned to be busy for 60 % of one.
A chunk has as many tokens as the stream interval of its server says.
"""

from collections.abc import Sequence
from math import ceil

from catalog.engine import CpuCost, CpuCosts
from planning.capacity import flags
from planning.plan.gateway_size import GatewayLoad, GatewayScaling, GatewaySize
from planning.plan.servers import ServerPlan
from planning.stack.gateway_cpu import BUSY_SHARE, cpu_s, written
from settings.schema import GatewayCapacitySettings, GatewaySettings, NoRedis

# Requested by a replica, whose one process computes on one core at a time.
CPUS = 1
# One may go at any time; another goes on.
FEWEST = 2
# Parts of the most that always run, so that a rush has them after doubling twice.
FEWEST_SHARE = 4
# More than these are asked for, not derived: each keeps ten connections to Redis and ten to Postgres.
MOST_DERIVED = 50
# Part of the sum that a model's share must be to be named as a lever.
WORTH_SHARE = 0.05
# The mean answer to a chat has 211 tokens, and its prompt 1,155 (Azure's trace of LLM inference of 2023, conversations:
# Patel and others, Splitwise, ISCA 2024).
USUAL_ANSWER_TOKENS, USUAL_PROMPT_TOKENS = 211, 1155
# A replica takes its share after the minute that it needs to start; ten minutes, so that a pause removes none.
SCALING = GatewayScaling(
    cpu_percent=round(100 * BUSY_SHARE), up_percent=100, down_replicas=1, period_s=60, down_after_s=600
)
NOTHING = GatewayLoad(0, 0, 0, 0)


def plan_size(gateway: GatewaySettings, servers: Sequence[ServerPlan], measured: CpuCosts) -> GatewaySize:
    """Replicas of the gateway, and the sum behind them; `measured`: what catalogue's gateway costs."""
    cost = _cost(gateway, measured)
    planned = _load(servers)
    load, load_reason = _asked(gateway.capacity, planned) or (planned, _planned_reason(planned, servers))
    cores = cpu_s(load, cost)
    fewest, most, asked = _replicas(gateway, cores)
    scaled = SCALING if most > fewest else None
    lever = _lever(load, planned, servers, cost)
    return GatewaySize(
        load=load,
        cost=cost,
        cores=cores,
        fewest=fewest,
        most=most,
        scaling=scaled,
        reason=_reason(gateway, load, cost, cores) + (f"; {lever}" if lever else ""),
        load_reason=load_reason,
        warnings=tuple(_warnings(gateway, cores, most, asked, lever)),
    )


def _cost(gateway: GatewaySettings, measured: CpuCosts) -> CpuCost:
    """The cost on the user's machines where it is given, or else as it was measured."""
    if (own := gateway.capacity.cpu_ms) is not None:
        return CpuCost(chat_ms=own.chat, stream_ms=own.stream, chunk_ms=own.chunk)
    return measured.database if gateway.database else measured.plain


def _load(servers: Sequence[ServerPlan]) -> GatewayLoad:
    """All that the servers answer when their most replicas are busy, every written token in a stream."""
    chats = tokens = chunks = 0.0
    for server in servers:
        if server.pace is None or not server.weight:
            continue
        if server.task.writes:
            tokens += (rate := written(server.pace) * server.max_replicas)
            chunks += rate / server.stream_interval.tokens
        else:
            chats += server.pace.reads * server.max_replicas / USUAL_PROMPT_TOKENS
    return GatewayLoad(chats, tokens / USUAL_ANSWER_TOKENS, tokens, chunks)


def _asked(capacity: GatewayCapacitySettings, planned: GatewayLoad) -> tuple[GatewayLoad, str] | None:
    """The load that somebody gave; tokens are put together as those of the servers are on average."""
    chats, streams = capacity.chats_per_second, capacity.streams_per_second
    tokens = capacity.streamed_tokens_per_second
    if chats is None and streams is None and tokens is None:
        return None
    missing, reason = tokens is None and streams is not None, "given"
    if missing or (streams is None and tokens is not None):
        reason += f"; {'tokens' if missing else 'streams'} by {USUAL_ANSWER_TOKENS} tokens an answer"
    if tokens is None:
        tokens = (streams or 0) * USUAL_ANSWER_TOKENS
    if streams is None:
        streams = tokens / USUAL_ANSWER_TOKENS
    per_token = planned.chunks / planned.tokens if planned.tokens else 1
    return GatewayLoad(chats or 0, streams, tokens, tokens * per_token), reason


def _planned_reason(load: GatewayLoad, servers: Sequence[ServerPlan]) -> str:
    unknown = sorted({server.name for server in servers if server.pace is None and server.weight})
    rates = [f"{load.tokens:,.0f} tokens/s in streams of {USUAL_ANSWER_TOKENS}"] if load.tokens else []
    rates += [f"{load.chats:,.0f} answers/s of {USUAL_PROMPT_TOKENS:,} tokens read"] if load.chats else []
    reason = f"estimated: {' and '.join(rates)}, of busy servers with their most replicas"
    if load == NOTHING:
        reason = "nothing: no server's pace is known"
    elif unknown:
        reason += f"; nothing is known of {', '.join(unknown)}"
    return f"{reason}; give capacity where more or less is asked for"


def _replicas(gateway: GatewaySettings, cores: float) -> tuple[int, int, int]:
    """(fewest, most, what the sum asks for) of the replicas; what is given is taken as it is."""
    asked, numbers = _pods(cores), gateway.replicas
    if isinstance(gateway.redis, NoRedis):
        return numbers.min or 1, numbers.max or numbers.min or 1, asked
    most = numbers.max or max(FEWEST, numbers.min or 0, min(asked, MOST_DERIVED))
    fewest = numbers.min or min(most, max(FEWEST, ceil(most / FEWEST_SHARE)))
    return fewest, most, asked


def _pods(cores: float) -> int:
    """Replicas that are busy for their share; an epsilon of a core is no pod."""
    return max(1, ceil(cores / BUSY_SHARE / CPUS - 1e-9))


def _reason(gateway: GatewaySettings, load: GatewayLoad, cost: CpuCost, cores: float) -> str:
    """The sum in one line."""
    parts = [
        f"{amount:,.{1 if amount < 10 else 0}f} {name}/s × {ms:g} ms"
        for amount, name, ms in (
            (load.chats, "answers", cost.chat_ms),
            (load.streams, "streams", cost.stream_ms),
            (load.chunks, "chunks", cost.chunk_ms),
        )
        if amount
    ]
    with_database = "with" if gateway.database else "without"
    where = "given" if gateway.capacity.cpu_ms else f"measured {with_database} a database"
    asked = f"{' + '.join(parts) or 'nothing known'} = {cores:.1f} cores ({where})"
    return f"{asked}; {_count(_pods(cores))} at {BUSY_SHARE:.0%}"


def _count(pods: int) -> str:
    return f"{pods} pod{'s' if pods > 1 else ''} of {CPUS} core"


def _lever(load: GatewayLoad, planned: GatewayLoad, servers: Sequence[ServerPlan], cost: CpuCost) -> str:
    """The way to a smaller sum: tokens that come together, unseen, where they come one by one."""
    cores = cpu_s(load, cost)
    if _pods(cores) <= FEWEST or not planned.chunks:
        return ""
    levers: dict[int, list[str]] = {}
    spared = 0.0
    for server in servers:
        interval = server.stream_interval
        if server.pace is None or not server.weight or interval.tokens >= interval.smooth:
            continue
        rate = written(server.pace) * server.max_replicas
        fewer = rate * (1 / interval.tokens - 1 / interval.smooth) * load.chunks / planned.chunks
        if (saves := cpu_s(GatewayLoad(0, 0, 0, fewer), cost)) > WORTH_SHARE * cores:
            levers.setdefault(interval.smooth, []).append(server.model_name)
            spared += saves
    asked = [f"{flags.STREAM_INTERVAL}={tokens} in args of {', '.join(names)}" for tokens, names in levers.items()]
    return f"{' and '.join(asked)} would spare {spared:.1f} of them" if asked else ""


def _warnings(gateway: GatewaySettings, cores: float, most: int, asked: int, lever: str) -> list[str]:
    """Sentences about replicas that cannot carry the load even if they do nothing else, and about far too many."""
    less = f"; {lever}" if lever else ""
    unbounded = gateway.replicas.max is None and not isinstance(gateway.redis, NoRedis)
    if unbounded and asked > most == MOST_DERIVED:
        message = (
            f"gateway: the planned load asks for {asked} replicas, and more than {MOST_DERIVED} are not derived; give "
            f"gateway.replicas if they are wanted, or gateway.capacity{less}"
        )
        return [message]
    if cores <= most * CPUS:
        return []
    by = "gateway.redis" if isinstance(gateway.redis, NoRedis) else "gateway.replicas"
    return [f"gateway: the planned load takes {cores:.1f} cores, more than the {_count(most)} by {by} have{less}"]
