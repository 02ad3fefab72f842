"""Node pools: how pods find the nodes, what is declared for them, and what a node costs."""

from collections.abc import Iterator, Mapping, Sequence

from catalog.load import Catalog
from catalog.schema import Gpu, Instance, VendorName
from catalog.vendors import Vendor
from planning.near import near_gpu
from planning.plan.pods import ImagePlan
from planning.plan.pools import (
    AWAITED,
    COMPUTE_CLASS_LABEL,
    POOL_LABEL,
    MigPlan,
    PoolPlan,
    gpu_taint,
)
from planning.stack.claims import claimed, claims_problems
from planning.stack.cost import list_price
from planning.stack.discovered import discovered
from planning.stack.fabrics import fabric_problems, fabric_reasons, plan_fabric
from planning.stack.identity import name_on_cluster
from planning.stack.mig import (
    cut,
    mig_labels,
    mig_plan,
    mig_problems,
    mig_reasons,
    nobody_shares,
    part_hint,
    part_id,
    part_resource,
    product_of,
)
from planning.stack.overlap import NVIDIA_PRESENT, node_problems
from planning.stack.pod_resources import pod_resource_problems
from planning.stack.provisioning import provision, role_problems
from planning.stack.sharing import shared_name, sharing_labels, sharing_problems, slices_of
from planning.stack.timing import verification
from settings.doubt import Judging, judge
from settings.problems import Problem
from settings.schema import (
    ComputeClassNodes,
    ExistingNodes,
    KarpenterNodes,
    LabelledNodes,
    PoolSettings,
    SharedNodes,
    StackSettings,
)

# Time the verification Job gives nodes that are being labelled by GPU feature discovery.
VERIFY_TIMEOUT_S = 600
# Settings from which nothing follows that is judged of the servers on a pool.
INDIFFERENT = (
    "ClusterSettings.",
    "GpuOperatorSettings.",
    "ImagesSettings.",
    "LabelledNodes.",
    "PoolSettings.exclusive_topology",
    "PoolSettings.interconnect",
    "PoolSettings.price_per_node_hour_usd",
    "PoolSettings.runtime_class_name",
    "PoolSettings.tolerations",
    "SharedNodes.",
)
Affinity = tuple[tuple[str, str, tuple[str, ...]], ...]


def resolve_pools(
    settings: StackSettings, catalog: Catalog, images: Mapping[str, ImagePlan]
) -> tuple[dict[str, PoolPlan], list[Problem]]:
    """Every pool that can be understood; an unknown GPU or a GPU that its machine type does not have is a problem."""
    pools: dict[str, PoolPlan] = {}
    problems: list[Problem] = []
    for name, written in settings.gpu_pools.items():
        with Judging() as judging:
            pool, of_pool = _resolve_pool(name, written, settings, catalog, images["python"])
        problems += judging.kept(of_pool)
        # of one of which too little is known, nothing follows for its servers
        if pool and judging.is_sure(*INDIFFERENT):
            pools[name] = pool
    return pools, problems + node_problems(settings.gpu_pools)


def _resolve_pool(
    name: str, written: PoolSettings, settings: StackSettings, catalog: Catalog, image: ImagePlan
) -> tuple[PoolPlan | None, list[Problem]]:
    gpu_id = "none" if written.gpu == "none" else catalog.gpu_id(written.gpu)
    if gpu_id is None:
        return None, judge(_unknown_gpu, name, written, catalog)
    pool = written.model_copy(update={"gpu": gpu_id})
    if uncut := judge(mig_problems, name, pool, settings, catalog):
        return None, uncut
    problems = judge(sharing_problems, name, pool, settings, catalog) + judge(_machine_problems, name, pool, catalog)
    problems += judge(role_problems, name, pool, settings.cluster) + judge(pod_resource_problems, name, pool, catalog)
    problems += judge(claims_problems, name, pool, settings, catalog)
    with Judging() as judging:
        unjoined = [*fabric_problems(name, pool, settings, catalog)]
    problems += judging.kept(unjoined)
    return _pool(name, pool, settings, catalog, image, usable=not unjoined), problems


def _unknown_gpu(name: str, written: PoolSettings, catalog: Catalog) -> Iterator[Problem]:
    if not catalog.own.is_awaited("gpus", written.gpu):
        hint = part_hint(written.gpu, catalog) or near_gpu(written.gpu, [*catalog.gpus, "none"])
        yield Problem(f"gpuPools.{name}.gpu", f"unknown GPU '{written.gpu}'{hint}")


def _machine_problems(name: str, pool: PoolSettings, catalog: Catalog) -> Iterator[Problem]:
    """Machine types with other GPUs than the pool says."""
    key = "machineTypes" if isinstance(pool.provisioning, ComputeClassNodes) else "instanceTypes"
    for position, kind in enumerate(_machine_types(pool)):
        if (instance := catalog.instances.get(kind)) and not _belongs(instance, pool):
            yield Problem(
                f"gpuPools.{name}.provisioning.{key}[{position}]",
                f"{kind} has {instance.gpus} × {instance.gpu}, the pool says {pool.gpus_per_node} × {pool.gpu}",
            )


def _pool(
    name: str, pool: PoolSettings, settings: StackSettings, catalog: Catalog, image: ImagePlan, *, usable: bool
) -> PoolPlan:
    gpu = catalog.gpus.get(pool.gpu)
    vendor = catalog.vendors[gpu.vendor] if gpu else None
    resource = vendor.resource if vendor else None
    part = cut(pool, gpu)
    mig = mig_plan(pool, part, vendor, settings, catalog)
    claims = claimed(pool, gpu, part, vendor)
    on_cluster = name_on_cluster(name, settings.cluster)
    selector, affinity = _selection(on_cluster, pool, gpu, vendor, settings)
    slices = slices_of(pool)
    machine, price, reasons = _machine(pool, catalog)
    per_node = slices or (pool.gpus_per_node or 0) * (mig.per_card if mig else 1)
    named = shared_name(resource) if resource and slices else part_resource(resource, pool) if resource else None
    provisioning = provision(on_cluster, pool, settings.cluster.identifier, resource)
    fabric = plan_fabric(pool, catalog, usable=usable) if gpu else None
    return PoolPlan(
        name=name,
        on_cluster=on_cluster,
        gpu=part_id(pool, part),
        gpu_name=part.name if part else gpu.name if gpu else "CPU",
        discovered=discovered(pool, gpu, part, catalog),
        nodes=pool.nodes,
        gpus_per_node=per_node,
        runtime_class=_runtime_class(pool, gpu, settings, catalog),
        slices=slices,
        mig=mig,
        claims=claims,
        whole_cards={} if claims else _whole(named, vendor, mig, slices),
        pod_resources=dict(sorted(pool.resources.items())),
        fabric=fabric,
        cpus_per_node=pool.cpus_per_node or machine[0],
        memory_gib_per_node=pool.memory_gib_per_node or machine[1],
        resource_name=named,
        operator=vendor.operator if vendor else None,
        node_selector=selector,
        node_affinity=affinity,
        tolerations=_tolerations(pool, resource),
        # the taints of a node are one value to the API server: nodes that have some of their own keep them as they are
        taints=(gpu_taint(resource),) if resource and not pool.tolerations else (),
        node_labels={**_role(pool), **sharing_labels(slices), **mig_labels(mig)},
        provisioning=provisioning,
        expected_gpu_memory_mib=(part or gpu).memory_mib if gpu else None,
        verification=verification(image, VERIFY_TIMEOUT_S)
        if settings.gpu_operator.verify_nodes and not isinstance(provisioning, AWAITED)
        else None,
        usd_per_node_hour=price,
        reasons={**reasons, **mig_reasons(part, per_node, price), **fabric_reasons(fabric)},
    )


def _runtime_class(pool: PoolSettings, gpu: Gpu | None, settings: StackSettings, catalog: Catalog) -> str | None:
    """The pool's own, or the platform's, which is NVIDIA's; claimed devices come into any pod, by CDI."""
    if gpu is None or pool.runtime_class_name or gpu.vendor is not VendorName.NVIDIA or pool.claims:
        return pool.runtime_class_name
    return catalog.platform(settings.cluster.platform).runtime_class


def _whole(named: str | None, vendor: Vendor | None, mig: MigPlan | None, slices: int) -> Mapping[str, tuple[str, ...]]:
    """Labels of nodes whose cards, or parts of them, nobody shares."""
    if mig and named:
        return nobody_shares(named)
    return vendor.whole_cards if vendor and not slices else {}


def gpu_toleration(resource: str) -> Mapping[str, str]:
    """Lets a pod onto nodes with GPUs of this name."""
    return {"key": resource, "operator": "Exists", "effect": "NoSchedule"}


def _tolerations(pool: PoolSettings, resource: str | None) -> tuple[Mapping[str, str], ...]:
    """The GPU taint, and those the user names, once each."""
    tolerations = [toleration.model_dump(exclude_none=True) for toleration in pool.tolerations]
    return tuple(
        {
            tuple(sorted(toleration.items())): toleration
            for toleration in [*([gpu_toleration(resource)] if resource else []), *tolerations]
        }.values()
    )


def _role(pool: PoolSettings) -> dict[str, str]:
    """Labels that named and bought nodes get."""
    if pool.gpu == "none":
        return {"node-role": "cpu-inference"}
    return {"node-role": "gpu-inference", "gpu-type": pool.gpu.partition("-")[2] or pool.gpu}


def _selection(
    name: str, pool: PoolSettings, gpu: Gpu | None, vendor: Vendor | None, settings: StackSettings
) -> tuple[Mapping[str, str], Affinity]:
    """Node selector and affinity (key, operator, values) that find exactly this pool's nodes: one row per kind."""
    match pool.provisioning:
        case ExistingNodes():
            return {POOL_LABEL: name, **_role(pool)}, ()
        case KarpenterNodes():
            return {POOL_LABEL: name}, ()
        case ComputeClassNodes():
            return {COMPUTE_CLASS_LABEL: name}, ()
        # what buys them promises these alone: a node that is not there yet would never have a card's label
        case SharedNodes(labels=labels):
            return labels, ()
        case LabelledNodes(labels=labels):
            if gpu is None or vendor is None:
                return labels, () if labels else ((NVIDIA_PRESENT, "NotIn", ("true",)),)
            return _labelled(labels, pool, gpu, vendor, settings)


def _labelled(
    labels: Mapping[str, str], pool: PoolSettings, gpu: Gpu, vendor: Vendor, settings: StackSettings
) -> tuple[Mapping[str, str], Affinity]:
    """The same of nodes that are found by what they have: feature discovery names the GPU, or a claim does."""
    if pool.claims:
        present = vendor.operator and settings.gpu_operator.install
        return ({NVIDIA_PRESENT: "true", **labels} if present else labels), ()
    label, names = product_of(gpu, vendor, pool)
    return ({label: names[0], **labels}, ()) if len(names) == 1 else (labels, ((label, "In", names),))


def _machine_types(pool: PoolSettings) -> Sequence[str]:
    match pool.provisioning:
        case KarpenterNodes(instance_types=types) | ComputeClassNodes(machine_types=types):
            return types
        case _:
            return ()


def _belongs(instance: Instance, pool: PoolSettings) -> bool:
    return pool.gpu == "none" or (instance.gpu, instance.gpus) == (pool.gpu, pool.gpus_per_node)


def _machine(
    pool: PoolSettings, catalog: Catalog
) -> tuple[tuple[int | None, int | None], float | None, Mapping[str, str]]:
    """(vCPUs, memory GiB) of a node and its price per hour, from the first machine type the catalogue knows."""
    # what does not belong here says nothing about these nodes
    machines = [(kind, catalog.instances[kind]) for kind in _machine_types(pool) if kind in catalog.instances]
    known = [(kind, instance) for kind, instance in machines if _belongs(instance, pool)]
    first = known[0][1] if known else None
    if pool.price_per_node_hour_usd is not None:
        price, why = pool.price_per_node_hour_usd, "given"
    elif first is not None and first.usd_per_hour is not None:
        price, why = first.usd_per_hour, f"on-demand price of {known[0][0]}"
    else:
        price, why = _estimate(pool, catalog)
    return (first.vcpus, first.memory_gib) if first else (None, None), price, {"pricePerNodeHourUsd": why}


def _estimate(pool: PoolSettings, catalog: Catalog) -> tuple[float | None, str]:
    """(USD per hour of a node, why): by public lists, where nobody says what it costs."""
    if pool.gpu == "none":
        core, cpus, gib = catalog.cpu_core, pool.cpus_per_node or 0, pool.memory_gib_per_node or 0
        price = cpus * core.usd_per_hour + gib * core.usd_per_gib_hour
        return round(price, 4), f"estimate: {cpus} cores and {gib} GiB at a public cloud's on-demand prices; give yours"
    listed = list_price(catalog, pool.gpu)
    if listed is None:
        return None, "not known: give it to see costs"
    return round(listed[0] * (pool.gpus_per_node or 0), 4), f"estimate: {listed[1]}; give yours"
