"""One vLLM server from its settings: parallelism, memory, arguments, resources, timing, and why."""

import re
from dataclasses import dataclass
from math import ceil

from catalog.load import Engine, Health
from catalog.schema import Model
from planning.plan import (
    CheckpointPlan,
    ComputeClass,
    Endpoint,
    ImagePlan,
    Karpenter,
    PodResources,
    PoolPlan,
    Server,
    Timing,
    Watched,
)
from planning.server.arguments import check_args, check_env, server_args, server_env
from planning.server.fit import Site
from planning.server.placement import Placement, on_cpu, on_gpus
from planning.server.resources import pod_resources
from planning.server.scratch import server_scratch
from planning.stack import cost
from planning.stack.images import custom_image
from planning.stack.timing import Load, longest_request_s, plan_timing, server_probes
from planning.stack.weights import checkpoint
from planning.tasks import Task, task_of, unanswered
from settings.problems import Problem, nearest
from settings.schema import CanarySettings, ModelSettings

CACHE_ROOT = "/cache"
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
        """GPUs of one replica, over all its nodes."""
        return 0 if self.cpu else self.parallelism.gpus


def draft_servers(site: Site, name: str, wanted: ModelSettings) -> list[Draft]:
    """The server of one model, and its canary twin; empty when something is wrong (and then said)."""
    path = f"models.{name}"
    pool = site.pools.get(wanted.pool)
    if pool is None:
        if wanted.pool not in site.settings.gpu_pools:
            hint = nearest(wanted.pool, site.settings.gpu_pools)
            site.refuse(f"{path}.pool", f"no pool '{wanted.pool}'{hint}")
        if wanted.model not in site.catalog.models:
            site.refuse(f"{path}.model", _unknown_model(site, wanted.model))
        return []
    _check_replaced(site, path, name, wanted)
    canary = wanted.canary
    primary = _server(site, path, name, wanted, pool, canary=False, weight=100 - canary.weight if canary else 100)
    if canary is None:
        return [primary] if primary else []
    changes = {
        field: value
        for field in ("model", "revision", "image", "context_tokens", "max_num_seqs")
        if (value := getattr(canary, field)) is not None
    }
    if canary.model is not None and canary.revision is None:
        changes["revision"] = None
    if canary.model is not None or canary.measured is not None:
        # figures of one checkpoint say nothing about another
        changes["measured"] = canary.measured
    _check_canary(site, path, wanted, canary)
    twin_settings = wanted.model_copy(update={**changes, "args": [*wanted.args, *canary.args]})
    said = {problem.message for problem in site.problems}
    before = len(site.problems)
    twin = _server(site, f"{path}.canary", name, twin_settings, pool, canary=True, weight=canary.weight)
    site.problems[before:] = [
        problem
        for problem in site.problems[before:]
        if problem.message not in said or _key(problem, f"{path}.canary.") in canary.model_fields_set
    ]
    if f"{name}-canary" in site.settings.models:
        site.refuse(f"{path}.canary", f"its server would have the name of models.{name}-canary; rename that model")
    return [server for server in (primary, twin) if server]


def _check_canary(site: Site, path: str, wanted: ModelSettings, canary: CanarySettings) -> None:
    """Who asks the model must not be answered differently by chance."""
    model, other = (site.catalog.models.get(name or "") for name in (wanted.model, canary.model))
    if model and other and (missing := unanswered(task_of(model), task_of(other))):
        site.refuse(f"{path}.canary.model", f"{canary.model} does not answer {missing}, as {wanted.model} does")


def _check_replaced(site: Site, path: str, name: str, wanted: ModelSettings) -> None:
    """What is replaced must be gone from the stack, and by one model only: two cannot start in one place."""
    if wanted.replaces is None:
        return
    if wanted.replaces in site.settings.models:
        site.refuse(f"{path}.replaces", f"'{wanted.replaces}' is served still; take it out of models, or this line")
    others = [other for other, model in site.settings.models.items() if model.replaces == wanted.replaces]
    if others.index(name):
        site.refuse(f"{path}.replaces", f"'{wanted.replaces}' is replaced by models.{others[0]} already")


def _check_group_name(site: Site, name: str, wanted: ModelSettings, *, canary: bool) -> None:
    """The workers of a group carry a longer name than any other pod; one too long is refused each by each, for ever."""
    most = wanted.canary.replicas if canary and wanted.canary else wanted.replicas.max
    server = server_name(name, canary=canary)
    over = len(f"{server}-{most}-") + REVISION_HASH - LABEL_LIMIT
    if over > 0:
        site.refuse(
            f"models.{name}",
            f"spans nodes, and the workers of {server} would have a label {over} characters too long; "
            f"use a name of at most {len(name) - over}",
        )


def _older(version: str, needed: str) -> bool:
    """Whether an image is older than a vLLM version; one that is named by digest only is not known to be."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) < tuple(int(part) for part in needed.split(".")[:2])


def _key(problem: Problem, prefix: str) -> str:
    """The key below `prefix` a problem is about; what a canary did not write itself is said of its model already."""
    return problem.path.removeprefix(prefix).partition("[")[0]


def _unknown_model(site: Site, model: str) -> str:
    return f"'{model}' is not in the catalogue{nearest(model, site.catalog.models)}"


def _server(
    site: Site, path: str, name: str, wanted: ModelSettings, pool: PoolPlan, *, canary: bool, weight: int
) -> Draft | None:
    model = site.catalog.models.get(wanted.model)
    if model is None:
        site.refuse(f"{path}.model", _unknown_model(site, wanted.model))
        return None
    gpu = site.catalog.gpus.get(pool.gpu)
    before = len(site.problems)
    placed = on_gpus(site, path, wanted, model, gpu, pool) if gpu else on_cpu(site, path, wanted, model, pool)
    image = _image(site, path, wanted, model, "vllm" if gpu else "vllm-cpu")
    files = checkpoint(wanted.model, model, wanted.revision, site.settings.weights)
    if site.settings.images.require_digests and not files.pinned:
        site.refuse(f"{path}.revision", "images.requireDigests is true and the catalogue pins no commit; give one")
    engine = site.catalog.engines["vllm"]
    inherited = len(wanted.args) - len(wanted.canary.args) if canary and wanted.canary else 0
    site.problems.extend(check_args(wanted.args[inherited:], engine, f"{path}.args"))
    decided = server_env(startup_budget_s=0, cache_root=CACHE_ROOT, cpu_kv_cache_gib=None if gpu else 0)
    site.problems.extend(check_env(wanted.env, decided, f"{path}.env"))
    if placed is None or len(site.problems) > before:
        return None
    workload, times = placed.workload, _times(wanted, pool, files, placed, task_of(model))
    nodes = max(1, ceil(placed.parallelism.gpus / pool.gpus_per_node)) if gpu else 1
    if nodes > 1:
        _check_group_name(site, name, wanted, canary=canary)
    resources, resource_reasons = pod_resources(
        wanted, model, pool, placed.parallelism, nodes, placed.cpu_kv_cache_gib, workload.model_bytes
    )
    _check_shared_memory(site, path, resources)
    machine = gpu or site.catalog.cpu_core
    return Draft(
        name=server_name(name, canary=canary),
        model_name=name,
        model=wanted.model,
        task=task_of(model),
        settings=wanted,
        pool=pool.name,
        on=pool,
        canary=canary,
        weight=weight,
        image=image,
        endpoint=_endpoint(engine.health),
        cpu=pool.resource_name is None,
        nodes_per_replica=nodes,
        parallelism=placed.parallelism,
        memory=placed.memory,
        max_num_seqs=workload.max_num_seqs,
        checkpoint=files,
        args=_args(name, wanted, model, files, placed, times, engine),
        env={**_env(placed, times), **wanted.env},
        resources=resources,
        scratch=server_scratch(resources),
        timing=times,
        probes=server_probes(times),
        replaces=server_name(wanted.replaces, canary=canary) if wanted.replaces else None,
        watched=_watched(site, server_name(name, canary=canary), nodes, placed, task_of(model)),
        cost=cost.estimate(
            model, machine, pool, placed.parallelism, placed.memory, workload.max_num_seqs, workload.model_bytes
        ),
        reasons={**placed.reasons, **resource_reasons},
    )


def _image(site: Site, path: str, wanted: ModelSettings, model: Model, name: str) -> ImagePlan:
    """The image of the catalogue, or the user's; one that is too old for the model is refused."""
    image, settings = site.images[name], site.settings.images
    if wanted.image is not None:
        image = custom_image(wanted.image, image, f"{path}.image", settings, site.catalog, site.problems)
    if model.min_vllm is not None and _older(image.version, model.min_vllm):
        site.refuse(f"{path}.image", f"{wanted.model} needs vLLM {model.min_vllm}, the image is {image.version}")
    return image


def _times(wanted: ModelSettings, pool: PoolPlan, files: CheckpointPlan, placed: Placement, task: Task) -> Timing:
    return plan_timing(
        Load(
            weight_bytes=files.disk_bytes,
            read_mib_per_s=files.source.read_mib_per_s,
            prewarm=files.source.prewarm,
            starts_nodes=isinstance(pool.provisioning, (Karpenter, ComputeClass)),
        ),
        longest_request=longest_request_s(placed.workload.context_tokens, wanted.max_output_tokens, writes=task.writes),
        drain_timeout_s=wanted.drain_timeout_s,
        scale_down_after_s=wanted.scaling.scale_down_after_s,
    )


def _check_shared_memory(site: Site, path: str, resources: PodResources) -> None:
    """The shared memory of a pod is part of its memory."""
    if resources.memory_gib < resources.shm_gib:
        site.refuse(
            f"{path}.memoryGib",
            f"{resources.memory_gib} GiB do not hold the {resources.shm_gib} GiB of /dev/shm, which is in memory; "
            f"use at least {resources.shm_gib}, or leave it out",
        )


def _args(
    name: str,
    wanted: ModelSettings,
    model: Model,
    files: CheckpointPlan,
    placed: Placement,
    times: Timing,
    engine: Engine,
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
        max_num_batched_tokens=wanted.max_num_batched_tokens,
        utilization=workload.utilization if placed.cpu_kv_cache_gib is None else None,
        kv_cache_dtype=workload.kv_cache_dtype,
        drain_s=times.drain_s,
        port=engine.health.port,
        extra=wanted.args,
    )


def _env(placed: Placement, times: Timing) -> dict[str, str]:
    return server_env(
        startup_budget_s=times.startup_budget_s, cache_root=CACHE_ROOT, cpu_kv_cache_gib=placed.cpu_kv_cache_gib
    )


def _watched(site: Site, name: str, nodes: int, placed: Placement, task: Task) -> Watched:
    sequences = placed.workload.max_num_seqs * placed.parallelism.data
    return Watched(name, site.settings.cluster.namespace, nodes, sequences, task.silent_roles)


def _endpoint(health: Health) -> Endpoint:
    """What the engine's file says of its servers."""
    return Endpoint(health.port, health.path, health.api_key_env, health.address_env, health.litellm_provider)
