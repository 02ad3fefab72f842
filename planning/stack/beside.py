"""Two stacks of one cluster: what both would own, and the GPUs that both count."""

from collections.abc import Iterator

from catalog.load import Catalog
from planning.plan import Plan
from planning.plan.pools import Existing
from planning.stack.claims import GPU_OPERATOR
from planning.stack.overlap import counted_twice
from settings.problems import Problem

# Chart of an operator → the section whose `install` says who has it.
SECTIONS = {
    "gpu-operator": "gpuOperator",
    "keda": "autoscaling",
    "prometheus-adapter": "autoscaling",
    "kube-prometheus-stack": "observability",
    "lws": "leaderWorkerSet",
    "cloudnative-pg": "cloudNativePg",
}


def same_cluster(plan: Plan, other: Plan) -> bool:
    """Whether both are deployed to one, by its identity or by the way to it."""
    return plan.cluster_identifier == other.cluster_identifier or plan.context == other.context


def owned_twice(plan: Plan, other: Plan, owner: str) -> Iterator[Problem]:
    """Objects that this stack would own and another one has, whom `owner` names, where one can be told otherwise."""
    if plan.takes_over:
        return
    if plan.namespace == other.namespace:
        why = "each would undo what the other changes; give each a namespace, or put all models into one stack"
        yield Problem("cluster.namespace", f"'{plan.namespace}' is that of {owner} too: {why}")
    for chart in sorted(plan.releases.keys() & other.releases.keys()):
        fix = "write install: false in all stacks but one"
        yield Problem(f"{SECTIONS[chart]}.install", f"{owner} installs {chart} too, of which a cluster has one; {fix}")
    yield from _two_ways(plan, other, owner)
    names = {node: pool.name for pool in other.pools.values() for node in _named(pool.provisioning)}
    for name, pool in plan.pools.items():
        for node in _named(pool.provisioning):
            if node in names:
                fix = "leave it to one of them, and use provisioning: {kind: shared} in the other"
                yield Problem(
                    f"gpuPools.{name}.provisioning.nodeNames", f"{node} is in pool '{names[node]}' of {owner}; {fix}"
                )
    if (host := _host(plan)) and host == _host(other):
        yield Problem("gateway.host", f"'{host}' leads to the gateway of {owner} too; give each a name of its own")


def _two_ways(plan: Plan, other: Plan, owner: str) -> Iterator[Problem]:
    """Pools whose GPUs are claimed beside others that ask the device plugin: the GPU Operator has one of the two."""
    if GPU_OPERATOR not in plan.releases.keys() | other.releases.keys():
        return
    theirs = [pool for pool in other.pools.values() if pool.operator == GPU_OPERATOR]
    for name, pool in plan.pools.items():
        apart = next((each.name for each in theirs if bool(each.claims) != bool(pool.claims)), None)
        if pool.operator == GPU_OPERATOR and apart is not None:
            how = "claims its GPUs" if pool.claims else "asks the device plugin"
            why = f"it {how}, and pool '{apart}' of {owner} does not; the GPU Operator has one way for all nodes"
            fix = "give both claims, or neither"
            yield Problem(f"gpuPools.{name}.claims", f"{why}: {fix}")


def _named(provisioning: object) -> tuple[str, ...]:
    return provisioning.node_names if isinstance(provisioning, Existing) else ()


def _host(plan: Plan) -> str | None:
    return plan.gateway.exposure.host if plan.gateway.exposure else None


def beside_warnings(plan: Plan, other: Plan, owner: str, catalog: Catalog) -> Iterator[str]:
    """Facts about two stacks that work side by side."""
    yield from counted_twice(plan.pools, other.pools, owner, catalog)
