"""One vLLM server from its settings: parallelism, memory, arguments, resources, timing, and why."""

from collections.abc import Mapping
from dataclasses import dataclass

from catalog.engine import Engine, Health
from catalog.schema import Gpu, Model
from planning.capacity.options import read_options
from planning.plan.fabrics import FabricPlan
from planning.plan.pods import ImagePlan
from planning.plan.pools import PoolPlan
from planning.plan.scaling import Watched
from planning.plan.servers import Endpoint, KeptCache, Server, StreamInterval, Timing
from planning.plan.weights import CheckpointPlan, OciImage
from planning.server.adapters import adapter_reasons, module_args
from planning.server.arguments import override_args, server_args
from planning.server.environment import CACHE_ROOT, server_env
from planning.server.fabric import join_nodes
from planning.server.fields import with_fields
from planning.server.fit import Site
from planning.server.indifferent import ANY_ENGINE
from planning.server.kept_cache import claim_of, plan_kept_cache
from planning.server.placement import Placement
from planning.server.pre_pull import pulls_ahead
from planning.server.prepared import prepare
from planning.server.resources import kept_weights_gib, memory_problems, pod_resources
from planning.server.scratch import plan_server_scratch
from planning.server.shares import cache_args
from planning.server.speculative import guess_reasons
from planning.server.throughput import throughput
from planning.server.unplanned import any_version_problems, image_name, server_image, unplanned_problems
from planning.stack.places import prewarm
from planning.stack.shards import as_read
from planning.stack.spot import spot_drain_s, spot_reason
from planning.stack.timing import Load, longest_request_s, plan_timing, server_probes
from planning.tasks import Task, silent_roles, task_of
from settings.doubt import Judging
from settings.problems import Problem
from settings.schema import ModelSettings, public_names

# A label of the workers of a group is its StatefulSet's name, the server's and a group's number, and a hash of ten
# characters: `controller-revision-hash`, as long as every label.
LABEL_LIMIT, REVISION_HASH = 63, 10


def server_name(model: str, *, canary: bool) -> str:
    """The name of a model's server, or of its canary."""
    return f"vllm-{model}-canary" if canary else f"vllm-{model}"


@dataclass(frozen=True, kw_only=True)
class Draft(Server):
    """A server before the others are known, with what the user said of it and the pool it stands on."""

    settings: ModelSettings
    on: PoolPlan

    @property
    def gpus(self) -> int:
        """GPUs of one replica, over all its nodes, or slices of one."""
        return self.resources.gpus * self.nodes_per_replica


def _group_problems(draft: Draft) -> list[Problem]:
    """A group's workers have the longest label of all pods; where it is too long, the API server refuses them all."""
    if draft.nodes_per_replica == 1:
        return []
    canary = draft.settings.canary if draft.canary else None
    most = canary.replicas if canary else draft.settings.replicas.max
    over = len(f"{draft.name}-{most}-") + REVISION_HASH - LABEL_LIMIT
    if over <= 0:
        return []
    return [
        Problem(
            f"models.{draft.model_name}",
            f"spans nodes, and the workers of {draft.name} would have a label {over} characters too long; "
            f"use a name of at most {len(draft.model_name) - over}",
        )
    ]


def draft_server(
    site: Site, path: str, name: str, settings: ModelSettings, pool: PoolPlan, *, canary: bool
) -> tuple[Draft | None, list[Problem]]:
    """A model's server, or its canary with the settings of that; None when they cannot be planned."""
    model, gpu = site.catalog.models.get(settings.model), site.catalog.gpus.get(pool.gpu)
    if model is None:
        return None, unplanned_problems(site, path, settings, canary=canary, on_cpu=gpu is None)
    with Judging() as on_image:
        image, outdated = server_image(site, path, settings, model, image_name(site, gpu))
    outdated = on_image.kept(outdated)
    if not on_image.is_sure(*ANY_ENGINE):
        return None, outdated + any_version_problems(site, path, settings, canary=canary, on_cpu=gpu is None)
    site, _ = site.running(image)
    draft, problems = _draft(site, image, path, name, settings, model, gpu, pool, canary=canary)
    return None if outdated else draft, outdated + problems


def _draft(
    site: Site,
    image: ImagePlan,
    path: str,
    name: str,
    settings: ModelSettings,
    model: Model,
    gpu: Gpu | None,
    pool: PoolPlan,
    *,
    canary: bool,
) -> tuple[Draft | None, list[Problem]]:
    """The server of a model that is known, on the vLLM of its image."""
    ready, problems = prepare(site, path, settings, model, gpu, pool, canary=canary)
    if ready is None or problems:
        return None, problems
    settings, placed, beside, engine = ready.settings, ready.placed, ready.beside, site.catalog.vllm
    files = as_read(ready.files, settings.weights or site.settings.weights, engine.loading, placed.parallelism)
    workload, times = placed.workload, _times(site, settings, pool, files, placed, task_of(model))
    nodes, fabric = join_nodes(pool, settings, model, placed)
    resources, pod_reasons = pod_resources(settings, model, pool, placed, nodes, files.source)
    price, pace, interval = throughput(model, gpu or site.catalog.cpu_core, pool, placed, settings, site.catalog)
    args = _args(name, with_fields(ready.written, engine, beside.draft), model, files, placed, times, engine, interval)
    env = {**_env(engine, placed, times, fabric), **settings.env}
    draft = Draft(
        name=server_name(name, canary=canary),
        model_name=name,
        model=settings.model,
        task=task_of(model),
        settings=settings,
        pool=pool.name,
        on=pool,
        canary=canary,
        weight=_weight(settings, canary=canary),
        image=image,
        endpoint=_endpoint(engine.health),
        cpu=pool.resource_name is None,
        gpu_metrics=pool.operator is not None,
        nodes_per_replica=nodes,
        fabric=fabric,
        parallelism=placed.parallelism,
        memory=placed.memory,
        max_num_seqs=workload.max_num_seqs,
        checkpoints=(files, *beside.checkpoints),
        serves={public_names({name: settings})[known]: known for known in (name, *beside.adapters)},
        args=(*args, *module_args(beside.adapters)),
        env={**env, **files.source.engine_environment},
        resources=resources,
        kept_cache=(cache := _kept(site, pool, image, files, nodes, args, env)),
        scratch=plan_server_scratch(resources, sidecars=1 if cache else 0),
        timing=times,
        probes=server_probes(times),
        replaces=server_name(settings.replaces, canary=canary) if settings.replaces else None,
        watched=_watched(site, server_name(name, canary=canary), nodes, placed, silent_roles(model)),
        cost=price,
        pace=pace,
        stream_interval=interval,
        reasons={**placed.reasons, **pod_reasons, **interval.reasons, **_reasons(site, settings, pool, times)},
    )
    return draft, _group_problems(draft) + memory_problems(path, resources, kept_weights_gib(model, placed, nodes))


def _kept(
    site: Site,
    pool: PoolPlan,
    image: ImagePlan,
    files: CheckpointPlan,
    nodes: int,
    args: tuple[str, ...],
    env: Mapping[str, str],
) -> KeptCache | None:
    return plan_kept_cache(
        claim_of(site.settings.compile_cache),
        script_image=site.images["python"],
        image=image,
        checkpoints=(files,),
        gpu=pool.gpu,
        nodes=nodes,
        args=args,
        env=env,
        uncompiled=site.catalog.vllm.uncompiled,
    )


def _weight(settings: ModelSettings, *, canary: bool) -> int:
    """Per cent of the model's requests."""
    canary_weight = settings.canary.weight if settings.canary else 0
    return canary_weight if canary else 100 - canary_weight


def _times(
    site: Site, settings: ModelSettings, pool: PoolPlan, files: CheckpointPlan, placed: Placement, task: Task
) -> Timing:
    platform = site.catalog.platform(site.settings.cluster.platform)
    longest_s = longest_request_s(placed.workload.context_tokens, settings.max_output_tokens, writes=task.writes)
    return plan_timing(
        Load(
            weight_bytes=files.disk_bytes * (placed.parallelism.data if files.source.streamed else 1),
            pull_gib=files.place.gib if isinstance(files.place, OciImage) else 0,
            read_mib_per_s=files.source.read_mib_per_s,
            prewarm=files.source.prewarm,
            proves_bytes=files.proof is not None and files.proof.every_byte,
            copy_mib_per_s=files.source.copy.mib_per_s if files.source.copy else None,
            starts_nodes=pool.awaited,
            pulled_before=pulls_ahead(site.settings.images, pool),
            keeps_compiled=claim_of(site.settings.compile_cache) is not None,
            measured=settings.measured.start if settings.measured else None,
        ),
        longest_request=longest_s,
        drain_timeout_s=settings.drain_timeout_s or spot_drain_s(pool, platform, longest_s),
        scale_down_after_s=settings.scaling.scale_down_after_s,
    )


def _reasons(site: Site, settings: ModelSettings, pool: PoolPlan, times: Timing) -> dict[str, str]:
    """Reasons of the figures of a start: where they are from, why weights are read as they are, and what else is."""
    warmed, why = prewarm(settings.weights or site.settings.weights)
    parts = ", ".join(f"{phase.name} {phase.seconds} s ({phase.source})" for phase in times.phases)
    start = {"weights.prewarm": f"{str(warmed).lower()}: {why}", "measured.start": parts}
    platform = site.catalog.platform(site.settings.cluster.platform)
    end = spot_reason(pool, platform, times.longest_request_s, settings)
    return start | end | guess_reasons(settings) | adapter_reasons(settings)


def _args(
    name: str,
    settings: ModelSettings,
    model: Model,
    files: CheckpointPlan,
    placed: Placement,
    times: Timing,
    engine: Engine,
    interval: StreamInterval,
) -> tuple[str, ...]:
    workload = placed.workload
    return server_args(
        model,
        for_task=engine.tasks[model.task],
        source=files.source,
        served_name=name,
        parallelism=placed.parallelism,
        context_tokens=workload.context_tokens,
        max_num_seqs=workload.max_num_seqs,
        max_num_batched_tokens=settings.max_num_batched_tokens,
        utilization=workload.utilization if placed.cpu_kv_cache_gib is None else None,
        kv_cache_dtype=workload.kv_cache_dtype,
        drain_s=times.drain_s,
        port=engine.health.port,
        stream_interval=interval.tokens if interval.chosen else None,
        routed=settings.routing == "prefix",
        extra=(
            *cache_args(settings, model, placed.memory),
            *settings.args,
            *override_args(model, read_options(settings.args, engine)),
        ),
    )


def _env(engine: Engine, placed: Placement, times: Timing, fabric: FabricPlan | None) -> dict[str, str]:
    env = server_env(
        engine, startup_budget_s=times.startup_budget_s, cache_root=CACHE_ROOT, cpu_kv_cache_gib=placed.cpu_kv_cache_gib
    )
    return {**env, **fabric.environment} if fabric else env


def _watched(site: Site, name: str, nodes: int, placed: Placement, silent: frozenset[str]) -> Watched:
    sequences = placed.workload.max_num_seqs * placed.parallelism.data
    return Watched(name, site.settings.cluster.namespace, nodes, sequences, silent)


def _endpoint(health: Health) -> Endpoint:
    """Endpoint of a server by the engine's file."""
    return Endpoint(health.port, health.path, health.api_key_env, health.address_env, health.litellm_provider)
