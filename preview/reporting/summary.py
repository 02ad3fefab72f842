"""A rendering as one JSON document: the plan's figures by model, the objects, what is refused. The form for machines.

Field names of a model are those of `python -m planning --json` where both have the field: `reasons` says why it does
not fit; `why` explains derived values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planning.plan import Plan
from planning.plan.gateway import ChatUiPlan, GatewayPlan
from planning.plan.gateway_size import GatewaySize
from planning.plan.pools import PoolPlan
from planning.plan.servers import ServerPlan
from planning.plan.weights import CheckpointPlan, OwnClaim
from planning.stack.cost import nodes_usd_per_hour
from preview.rendering.edges import expectations
from preview.rendering.manifests import Category, Manifest
from preview.rendering.render import Rendering
from preview.reporting.teams import team_document


@dataclass(frozen=True)
class Bill:
    """USD per hour of `priced` servers with the fewest and with the most replicas; `unpriced` are not in it."""

    fewest: float
    most: float
    unpriced: tuple[str, ...]
    priced: int


def display_name(server: ServerPlan) -> str:
    """The public model name; the canary twin shares it, so it gets a suffix."""
    return f"{server.model_name}-canary" if server.canary else server.model_name


def replica_range(server: ServerPlan) -> tuple[int, int]:
    """Fewest and most replicas that can run; fewest is 0 where scaling to zero is allowed."""
    return server.fewest_replicas, server.max_replicas


def bill(plan: Plan) -> Bill:
    """The cost of all servers, by what their pools' nodes cost: whole nodes where they are bought."""
    shares = {pool: [0.0, 0.0] for pool in plan.pools}
    for server in plan.servers:
        if server.cost:
            for end, replicas in enumerate(replica_range(server)):
                shares[server.pool][end] += server.cost.usd_per_hour * replicas
    ends = [[nodes_usd_per_hour(plan.pools[pool], share) for share in both] for pool, both in shares.items()]
    return Bill(
        sum(fewest for fewest, _ in ends),
        sum(most for _, most in ends),
        tuple(display_name(server) for server in plan.servers if server.cost is None),
        sum(1 for server in plan.servers if server.cost),
    )


def storage_bill(plan: Plan) -> tuple[float, float] | None:
    """USD per month of what is kept, with the fewest and the most pods; None where nothing of it has a price."""
    priced = [month for entry in plan.storage if (month := entry.usd_per_month)]
    return (sum(few for few, _ in priced), sum(many for _, many in priced)) if priced else None


def unpriced_storage(plan: Plan) -> tuple[str, ...]:
    """Classes and buckets without a price; what is on a claim of somebody's or in an image is paid for elsewhere."""
    places = [
        entry.place
        for entry in plan.storage
        if entry.usd_per_gib_month is None and entry.medium != "existing claim" and "@" not in entry.place
    ]
    return tuple(dict.fromkeys(places))


def document(rendering: Rendering, manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The JSON document of one stack; `manifests` are the manifests of `rendering.records`."""
    plan = rendering.plan
    return {
        "stack": rendering.stack,
        "models": {display_name(s): _model(s, plan.pools[s.pool]) for s in plan.servers}
        if plan
        else _refused(rendering),
        "objects": [_object(manifest) for manifest in manifests if manifest.category is Category.OBJECT],
        "patches": [_object(manifest) for manifest in manifests if manifest.category is Category.PATCH],
        "releases": [
            {**_object(manifest), **{key: manifest.body.get(key) for key in ("chart", "version")}}
            for manifest in manifests
            if manifest.category is Category.RELEASE
        ],
        "refused": [{"path": problem.path, "message": problem.message} for problem in rendering.refused],
        "unpinned": list(plan.unpinned) if plan else [],
        "warnings": [*plan.warnings, *rendering.messages] if plan else [],
        "prerequisites": [_set_fields(vars(expected)) for expected in expectations(manifests, plan)],
        "cost": _cost(plan) if plan else None,
        "weights": {"why": dict(plan.weights.reasons)} if plan else None,
        "storage": _storage(plan) if plan else None,
        "cluster": {"identifier": plan.cluster_identifier, "namespace": plan.namespace} if plan else None,
        "gateway": _gateway(plan.gateway) if plan else None,
        "alerts": sorted({rule.alert for rule in plan.observability.alerts}) if plan else [],
    }


def _gateway(gateway: GatewayPlan) -> dict[str, Any]:
    return {
        "name": gateway.name,
        "host": gateway.exposure.host if gateway.exposure else None,
        "replicas": gateway.size.fewest,
        "max_replicas": gateway.size.most,
        "capacity": _capacity(gateway.size),
        "why": dict(gateway.reasons),
        "drain_s": gateway.drain_s,
        "fallbacks": {model: list(fallbacks) for model, fallbacks in gateway.fallbacks},
        "limits": _limits(gateway),
        "teams": {team.name: team_document(team) for team in gateway.teams.teams} if gateway.teams else None,
        "chat_ui": _chat_ui(gateway.chat_ui) if gateway.chat_ui else None,
    }


def _chat_ui(page: ChatUiPlan) -> dict[str, Any]:
    return {
        "url": page.exposure.url,
        "team": page.team,
        "key": page.asks_as,
        "models": list(page.models),
        "issuer": page.issuer,
        "domains": list(page.domains),
        "admin": page.admin,
    }


def _capacity(size: GatewaySize) -> dict[str, Any]:
    """The load the gateway is planned for, per second, what each part costs in milliseconds of CPU, and the sum."""
    return {
        "chats_per_s": round(size.load.chats, 3),
        "streams_per_s": round(size.load.streams, 3),
        "streamed_tokens_per_s": round(size.load.tokens, 3),
        "chunks_per_s": round(size.load.chunks, 3),
        "cpu_ms": size.cost.model_dump(),
        "cores": round(size.cores, 3),
    }


def _limits(gateway: GatewayPlan) -> dict[str, dict[str, int | None]]:
    """Per public name, requests and tokens per minute over all servers behind it; None: as many as come."""
    limits: dict[str, dict[str, int | None]] = {}
    for name in dict.fromkeys(route.model_name for route in gateway.routes):
        routes = [route for route in gateway.routes if route.model_name == name]
        pairs = {
            "requests": [route.requests_per_minute for route in routes],
            "tokens": [route.tokens_per_minute for route in routes],
        }
        limits[name] = {
            unit: None if None in shares else sum(share or 0 for share in shares) for unit, shares in pairs.items()
        }
    return limits


def _refused(rendering: Rendering) -> dict[str, Any]:
    """Models that are themselves the reason; of the others nothing is known."""
    reasons: dict[str, list[str]] = {}
    for problem in rendering.refused:
        head, _, tail = problem.path.partition(".")
        if head == "models" and tail:
            reasons.setdefault(tail.partition(".")[0], []).append(problem.message)
    return {name: {"fits": False, "reasons": messages} for name, messages in reasons.items()}


def _model(server: ServerPlan, pool: PoolPlan) -> dict[str, Any]:
    memory, parallelism, cost = server.memory, server.parallelism, server.cost
    fewest, most = replica_range(server)
    return {
        "fits": True,
        "reasons": [],
        "why": dict(server.reasons),
        "model": server.model,
        "revision": server.checkpoint.revision,
        "public_name": server.public_name,
        "server": server.name,
        "replaces": server.replaces,
        "checkpoint": _checkpoint(server.checkpoint),
        "adapters": {name: f"{adapter.model}@{adapter.revision}" for name, adapter in server.adapters.items()},
        "canary": server.canary,
        "weight_percent": server.weight,
        "image": server.image.reference,
        "pool": server.pool,
        "gpu": pool.gpu,
        "gpus": 0 if server.cpu else parallelism.gpus,
        "nodes_per_replica": server.nodes_per_replica,
        "tensor_parallel": parallelism.tensor,
        "pipeline_parallel": parallelism.pipeline,
        "data_parallel": parallelism.data,
        "expert_parallel": parallelism.expert,
        "memory_gib_per_gpu": round(memory.visible_gib, 3),
        "gpu_memory_utilization": memory.utilization,
        "weights_gib_per_gpu": round(memory.weights_gib, 3),
        "activation_gib_per_gpu": round(memory.activation_gib, 3),
        "cuda_graphs_gib_per_gpu": round(memory.cuda_graphs_gib, 3),
        "non_torch_gib_per_gpu": round(memory.non_torch_gib, 3),
        "kv_cache_gib_per_gpu": round(memory.kv_cache_gib, 3),
        "kv_cache_tokens": memory.kv_cache_tokens,
        "context_tokens": memory.context_tokens,
        "max_context_tokens": memory.max_context_tokens,
        "max_concurrency": round(memory.max_concurrency, 3),
        "max_num_seqs": server.max_num_seqs,
        "replicas": {"min": fewest, "max": most},
        "start": [
            {"phase": phase.name, "seconds": phase.seconds, "source": phase.source} for phase in server.timing.phases
        ],
        "compile_again_s": server.timing.compile_again.seconds if server.timing.compile_again else None,
        "expected_start_s": server.timing.prewarm_s + server.timing.expected_start_s,
        "startup_budget_s": server.timing.startup_budget_s,
        "cold_start_s": server.timing.cold_start_s,
        "update_gap_s": server.rollout.gap_s,
        "drain_s": server.timing.drain_s,
        "usd_per_hour": round(cost.usd_per_hour, 4) if cost else None,
        "usd_per_million_tokens": _rounded(cost.usd_per_million_tokens) if cost else None,
    }


def _checkpoint(checkpoint: CheckpointPlan) -> dict[str, Any]:
    """The claim it is on, its size, and how long it takes to fetch: 0 where nothing is fetched."""
    return {
        checkpoint.place.kind: checkpoint.place.name,
        **({"clone": own.mounted} if isinstance(own := checkpoint.place, OwnClaim) and own.cloned else {}),
        **({"copied_to": copy.storage_class} if (copy := checkpoint.source.copy) else {}),
        "gib": round(checkpoint.disk_bytes / 2**30, 3),
        "fetch_s": checkpoint.fetch.download_s if checkpoint.fetch else 0,
    }


def _rounded(pair: tuple[float, float] | None) -> list[float] | None:
    return [round(value, 4) for value in pair] if pair else None


def _object(manifest: Manifest) -> dict[str, Any]:
    return {
        "apiVersion": manifest.api_version,
        "kind": manifest.kind,
        "namespace": manifest.namespace or None,
        "name": manifest.name,
        "component": manifest.component or None,
        "logicalName": manifest.logical_name,
        "urn": manifest.urn,
        "formerUrns": list(manifest.former_urns),
        "file": manifest.file,
        "options": _set_fields(
            {
                "protect": manifest.options.protect,
                "retainOnDelete": manifest.options.retain_on_delete,
                "ignoreChanges": list(manifest.options.ignore_changes),
                "replaceOnChanges": list(manifest.options.replace_on_changes),
                "deleteBeforeReplace": manifest.options.delete_before_replace,
                "timeouts": dict(manifest.options.timeouts),
            }
        ),
    }


def _set_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}


def _storage(plan: Plan) -> dict[str, Any]:
    return {
        "usd_per_month": _rounded(storage_bill(plan)),
        "unpriced": list(unpriced_storage(plan)),
        "kept": [
            {
                "what": entry.what,
                "medium": entry.medium,
                "place": entry.place,
                "gib": entry.gib,
                "count": [entry.fewest, entry.most],
                "usd_per_month": _rounded(entry.usd_per_month),
            }
            for entry in plan.storage
        ],
    }


def _cost(plan: Plan) -> dict[str, Any] | None:
    total = bill(plan)
    if not total.priced:
        return None
    return {
        "usd_per_hour_min": round(total.fewest, 4),
        "usd_per_hour_max": round(total.most, 4),
        "unpriced": list(total.unpriced),
    }
