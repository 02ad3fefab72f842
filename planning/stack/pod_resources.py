"""Resources of nodes that servers ask for beside GPUs: network cards, huge pages, whatever a device plugin has."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from catalog.load import Catalog
from planning.plan.pools import PoolPlan
from settings.problems import Problem
from settings.schema import PoolSettings

# Counted by the plan itself → the fields that say how much.
PLANNED = {
    "cpu": "models.NAME.cpus",
    "memory": "models.NAME.memoryGib",
    "ephemeral-storage": "models.NAME.extraVolumes of kind emptyDir",
}
# A node may have so many slots, which no pod asks for.
KUBELETS = ("pods",)
HUGE_PAGES = "hugepages-"
# Huge pages by the names that nodes have for them (x86-64 and arm64 with pages of 4 KiB), MiB.
PAGE_MIB = {"hugepages-2Mi": 2, "hugepages-1Gi": 1024}
UNIT_MIB = {"Mi": 1, "Gi": 1024}


def pod_resource_problems(name: str, pool: PoolSettings, catalog: Catalog) -> Iterator[Problem]:
    """Resources that the plan counts, and names that no node can have."""
    vendors = {vendor.resource for vendor in catalog.vendors.values()}
    # slices of cards, and parts of them
    pieces = tuple(f"{vendor}." for vendor in vendors) + tuple(f"{vendor.partition('/')[0]}/mig-" for vendor in vendors)
    for resource, amount in pool.resources.items():
        path, domain = f"gpuPools.{name}.resources.{resource}", resource.rpartition("/")[0]
        if resource in PLANNED:
            yield Problem(path, f"is decided by the plan; set {PLANNED[resource]}")
        elif resource in vendors or resource.startswith(pieces):
            yield Problem(path, "is decided by the plan; set gpu, gpusPerNode, gpuShare or mig of the pool")
        elif domain == "kubernetes.io" or domain.endswith(".kubernetes.io") or resource in KUBELETS:
            yield Problem(path, "is Kubernetes' own; name a resource that a device plugin offers, DOMAIN/NAME")
        elif not domain and not resource.startswith(HUGE_PAGES):
            near = "write DOMAIN/NAME as the node has it, e.g. vpc.amazonaws.com/efa, or hugepages-2Mi"
            yield Problem(path, f'"{resource}" is no resource of a node; {near}')
        elif wrong := _wrong_amount(resource, amount):
            yield Problem(path, wrong)


def _wrong_amount(resource: str, amount: str) -> str:
    """The reason why the API server would refuse an amount: pages are bytes and whole, everything else is counted."""
    unit, size = amount.lstrip("0123456789"), PAGE_MIB.get(resource)
    if resource.startswith(HUGE_PAGES) and size is None:
        return f"is not a size of huge pages; there are {', '.join(PAGE_MIB)}"
    if size is None:
        return f"is counted, and {amount} has a unit; write a whole number" if unit else ""
    pages = unit and int(amount.removesuffix(unit)) * UNIT_MIB[unit] % size == 0
    return "" if pages else f"is {amount}; write whole pages with their unit, e.g. {max(size, 512)}Mi"


def pod_resource_warnings(pools: Mapping[str, PoolPlan], catalog: Catalog) -> Iterator[str]:
    """For each such resource of a pool: what must be on its nodes, and what its pods are not given for it."""
    for name, pool in pools.items():
        joined = pool.fabric.resources if pool.fabric else {}
        asking = [("its servers", pool.pod_resources), ("its replicas over several nodes", joined)]
        for who, resource, count in ((who, *entry) for who, resources in asking for entry in resources.items()):
            known = next(
                (entry for pattern, entry in catalog.pod_resources.items() if fnmatchcase(resource, pattern)), None
            )
            asked = f"pool {name}: {who} ask for {count} {resource} each"
            yield f"{asked}, {known.needs}" if known else f"{asked}, which nothing is known of here"
