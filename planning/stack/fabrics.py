"""Networks between nodes, by what a pool says: where there is none, what is asked for, what NCCL is told.

Of itself NCCL takes whatever it finds, TCP at last, and nobody hears of it. It is told the one network that the pool
says, so that a server either talks by that or does not start.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from catalog.fabrics import Fabric
from catalog.load import Catalog
from planning.plan.fabrics import TCP, FabricPlan
from settings.problems import Problem
from settings.schema import KarpenterNodes, LabelledNodes, PoolSettings, SharedNodes, StackSettings

# The label by which kubelets say the machine type of their node (Kubernetes docs, "Well-known labels").
MACHINE_LABEL = "node.kubernetes.io/instance-type"


def cards_of(resources: Mapping[str, str], patterns: Sequence[str]) -> list[str]:
    """Names of resources that are cards by these patterns."""
    return [name for name in resources if any(fnmatchcase(name, pattern) for pattern in patterns)]


def refusal(fabric: Fabric, platform: str, provisioning: str) -> str | None:
    """The rest of a sentence that says why there is no such network on nodes of this kind; None: there may be."""
    return fabric.refuses.get(platform) or fabric.never or fabric.provisioning.get(provisioning)


def fabric_problems(name: str, pool: PoolSettings, settings: StackSettings, catalog: Catalog) -> Iterator[Problem]:
    """A network that the pool's nodes cannot have, or for whose cards nobody asks."""
    kind, fabric, path = pool.interconnect, catalog.fabrics[pool.interconnect], f"gpuPools.{name}.interconnect"
    if kind == TCP or pool.gpu == "none":
        return
    refused = refusal(fabric, settings.cluster.platform, pool.provisioning.kind)
    patterns = [*fabric.cards, *fabric.perhaps]
    if pool.mig or pool.gpu_share:
        yield Problem(path, f"is {kind}, and no replica on parts of cards spans nodes; leave it out")
    elif refused:
        yield Problem(path, f"{fabric.name} {refused}")
    elif fabric.card is None and not cards_of(pool.resources, patterns):
        names = ", ".join(patterns)
        why = f"is {kind}, and nothing asks for its cards, which are called differently in each cluster"
        yield Problem(path, f"{why}; write resources: {{NAME: 1}} with the name that nodes offer them by ({names})")
    elif fabric.card is not None:
        yield from _counted_problems(name, pool, catalog, fabric, fabric.card)


def _counted_problems(name: str, pool: PoolSettings, catalog: Catalog, fabric: Fabric, card: str) -> Iterator[Problem]:
    """Cards of machine types that have none or fewer, and cards that nobody has counted."""
    machines = _machines(pool)
    known = {kind: catalog.instances[kind].efa_cards for kind in machines.values() if kind in catalog.instances}
    alike = {
        kind: instance.efa_cards
        for kind, instance in catalog.instances.items()
        if instance.efa_cards and (instance.gpu, instance.gpus) == (pool.gpu, pool.gpus_per_node)
    }
    others = ", ".join(f"{kind} has {count}" for kind, count in alike.items())
    for path, kind in machines.items():
        if kind in known and known[kind] is None:
            fix = f"use another ({others})" if others else "use another"
            why = f"{kind} has no {fabric.name}, and interconnect is {pool.interconnect}"
            yield Problem(f"gpuPools.{name}.{path}", f"{why}; {fix}, or leave that out")
    counts = {kind: count for kind, count in known.items() if count is not None}
    amount = pool.resources.get(card, "")
    least = min(counts, key=lambda kind: counts[kind], default=None)
    if amount.isdigit() and least is not None and int(amount) > counts[least]:
        fix = f"{least} has {counts[least]}; use {counts[least]}, or leave it out"
        yield Problem(f"gpuPools.{name}.resources.{card}", f"is {amount}, and {fix}")
    elif (not amount and len(known) < len(set(machines.values()))) or (not amount and not machines):
        example = f" ({others})" if others else ""
        yield Problem(
            f"gpuPools.{name}.interconnect",
            f"is {pool.interconnect}, and how many cards a node has is not known; write resources: "
            f"{{{card}: N}} with as many as its nodes offer{example}",
        )


def _machines(pool: PoolSettings) -> dict[str, str]:
    """Path below the pool → machine type of its nodes, as far as they are named."""
    match pool.provisioning:
        case KarpenterNodes(instance_types=types):
            return {f"provisioning.instanceTypes[{position}]": kind for position, kind in enumerate(types)}
        case LabelledNodes(labels=labels) | SharedNodes(labels=labels) if MACHINE_LABEL in labels:
            return {f"provisioning.labels.{MACHINE_LABEL}": labels[MACHINE_LABEL]}
        case _:
            return {}


def plan_fabric(pool: PoolSettings, catalog: Catalog, *, usable: bool) -> FabricPlan:
    """The network of a pool; TCP, where another is refused."""
    kind = pool.interconnect if usable else TCP
    fabric = catalog.fabrics[kind]
    resources: dict[str, str] = {}
    if fabric.card and fabric.card not in pool.resources:
        counts = [catalog.instances[machine].efa_cards for machine in _machines(pool).values()]
        resources[fabric.card] = str(min(count for count in counts if count))
    # who buys nodes counts none of their huge pages
    if pool.provisioning.kind != "karpenter":
        resources |= {page: amount for page, amount in fabric.pages.items() if page not in pool.resources}
    paged = any(page in {**pool.resources, **resources} for page in fabric.pages)
    return FabricPlan(
        kind=kind,
        name=fabric.name,
        resources=resources,
        pages=tuple(fabric.pages),
        environment={**fabric.environment, **({} if paged else fabric.without_pages)},
        without_pages=fabric.without_pages,
        topology=pool.exclusive_topology,
        one_zone=fabric.one_zone,
    )


def fabric_reasons(fabric: FabricPlan | None) -> dict[str, str]:
    """Sentence about the network of a pool, where it is another than what is everywhere."""
    if fabric is None or fabric.kind == TCP:
        return {}
    asked = [f"{amount} {name}" for name, amount in fabric.resources.items()]
    variables = [f"{name}={value}" for name, value in fabric.environment.items()]
    asks = f"each pod asks for {' and '.join(asked)}, " if asked else ""
    return {"interconnect": f"{fabric.kind}, for replicas over several nodes: {asks}with {', '.join(variables)}"}
