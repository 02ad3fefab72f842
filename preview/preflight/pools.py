"""Promises of the pools, judged by the script that judges them on the cluster, and the room that others leave."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from components.pod_scripts import verify_nodes
from planning.plan import Plan
from planning.plan.pools import COMPUTE_CLASS_LABEL, Existing, PoolPlan, Shared
from preview.preflight.cluster import Cluster, items
from preview.preflight.findings import Finding, fine, not_known, read, wrong
from preview.rendering.manifests import Manifest

quantity = verify_nodes.quantity
Node = Mapping[str, Any]
NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"
CLAIMS = "/apis/resource.k8s.io/v1/resourceclaims"
RUNNING = "status.phase!=Succeeded,status.phase!=Failed"


def judge_pools(manifests: Sequence[Manifest], plan: Plan, cluster: Cluster) -> Iterator[Finding]:
    """Offers of each pool's nodes against what was promised, and the room that its servers find beside other pods."""
    jobs = {job.body["metadata"]["labels"][INSTANCE]: job for job in manifests if _verifies(job)}
    for pool in plan.pools.values():
        job, subject = jobs.get(pool.name), f"pool {pool.name}"
        if isinstance(pool.provisioning, Shared):
            yield from read(subject, lambda pool=pool: _judge_shared(pool, plan, cluster))
        elif pool.awaited:
            continue  # bought when a pod waits
        elif job is None:
            yield not_known(subject, "its nodes are not proved, as gpuOperator.verifyNodes is false")
        else:
            yield from read(subject, lambda job=job, pool=pool: _judge(job, pool, plan, cluster))


def _verifies(manifest: Manifest) -> bool:
    labels = manifest.body.get("metadata", {}).get("labels", {})
    return manifest.kind == "Job" and labels.get(NAME) == "verify-nodes"


def _judge(job: Manifest, pool: PoolPlan, plan: Plan, cluster: Cluster) -> Iterator[Finding]:
    subject = f"pool {pool.name}"
    (container,) = job.body["spec"]["template"]["spec"]["containers"]
    promise = verify_nodes.expectation_from({each["name"]: each.get("value", "") for each in container["env"]})
    nodes: Sequence[Node] = items(cluster, verify_nodes.NODES)
    if promise.device_driver:
        slices = [dict(each) for each in items(cluster, verify_nodes.SLICES)]
        nodes = verify_nodes.with_devices([dict(node) for node in nodes], slices)
    if isinstance(pool.provisioning, Existing):
        # the stack labels them, maybe only now
        nodes = [node for node in nodes if node["metadata"]["name"] in pool.provisioning.node_names]
        promise = replace(promise, selector={})
    matching = [node for node in nodes if not verify_nodes.pool_faults(dict(node), promise)]
    unlabelled = not any(_offered(node, pool, promise) for node in matching)
    if pool.resource_name and unlabelled and _still_to_come(pool, plan, cluster):
        text = f"its nodes offer no {_unit(pool)} yet; {pool.operator} brings that, and this stack installs it"
        yield not_known(subject, text)
        return
    yield from _judge_nodes(nodes, promise, pool, plan, cluster)


def _judge_shared(pool: PoolPlan, plan: Plan, cluster: Cluster) -> Iterator[Finding]:
    """No Job of this stack judges the nodes of another's: they are asked here for what its own pods need."""
    nodes, promise = items(cluster, "/api/v1/nodes"), promise_of(pool)
    present = sum(not verify_nodes.selector_faults(dict(node), promise.selector) for node in nodes)
    if present < pool.nodes and (buyer := _buyer(pool.node_selector, cluster)):
        text = f"{present} of {pool.nodes} nodes are there, {buyer} buys the others when a pod waits"
        yield not_known(f"pool {pool.name}", text)
        return
    yield from _judge_nodes(nodes, promise, pool, plan, cluster)


def promise_of(pool: PoolPlan) -> verify_nodes.Expectation:
    """The promise that the Job of a pool would be told, had it one."""
    promise = verify_nodes.Expectation(
        pool=pool.name,
        selector=pool.node_selector,
        nodes=pool.nodes,
        resource=pool.resource_name or "",
        gpus_per_node=pool.gpus_per_node,
        gpu_memory_mib=pool.expected_gpu_memory_mib or 0,
        tolerations=tuple(dict(toleration) for toleration in pool.tolerations),
        cpus=pool.needed.cpus,
        memory_mib=pool.needed.memory_mib,
        disk_mib=pool.needed.disk_mib,
        whole_cards=pool.whole_cards,
    )
    if need := pool.driver:
        promise = replace(promise, driver_labels=need.labels, oldest_driver=need.oldest, older_drivers=need.older)
    if mig := pool.mig:
        cut = {label: "|".join(values) for label, values in mig.labels.items()}
        promise = replace(promise, mig_config="=".join(mig.config), mig_labels=cut, memory_label=mig.memory_label)
    return promise


def _buyer(selector: Mapping[str, str], cluster: Cluster) -> str:
    """The first that promises nodes with all of these labels; empty: nobody does."""
    for node_pool in items(cluster, "/apis/karpenter.sh/v1/nodepools"):
        name, template = node_pool["metadata"]["name"], node_pool["spec"]["template"]
        promised = {key: [value] for key, value in template.get("metadata", {}).get("labels", {}).items()}
        rules = template["spec"].get("requirements", [])
        promised |= {rule["key"]: rule.get("values", []) for rule in rules if rule["operator"] == "In"}
        promised["karpenter.sh/nodepool"] = [name]
        if all(value in promised.get(key, ()) for key, value in selector.items()):
            return f"NodePool {name}"
    classes = items(cluster, "/apis/cloud.google.com/v1/computeclasses")
    names = [compute_class["metadata"]["name"] for compute_class in classes]
    return next((f"ComputeClass {name}" for name in names if selector == {COMPUTE_CLASS_LABEL: name}), "")


def _judge_nodes(
    nodes: Sequence[Node], promise: verify_nodes.Expectation, pool: PoolPlan, plan: Plan, cluster: Cluster
) -> Iterator[Finding]:
    """Nodes that keep the promise, each fault of those that do not, and the room of those that do."""
    subject = f"pool {pool.name}"
    reasons = verify_nodes.judge([dict(node) for node in nodes], promise)
    yield from (wrong(subject, reason.removeprefix(f"pool '{pool.name}': ")) for reason in reasons)
    if reasons:
        return
    yield fine(subject, f"{pool.nodes} of {pool.nodes} nodes keep the promise")
    matching = [node for node in nodes if not verify_nodes.selector_faults(dict(node), promise.selector)]
    good = [node for node in matching if not verify_nodes.node_faults(dict(node), promise)]
    yield from _room(pool, promise, plan, good, cluster)


def _still_to_come(pool: PoolPlan, plan: Plan, cluster: Cluster) -> bool:
    """Whether the operator of its GPUs is this stack's, and nothing of it is there yet."""
    ours = plan.releases.get(pool.operator or "")
    return ours is not None and not items(cluster, f"/apis/apps/v1/namespaces/{ours.namespace}/deployments")


def _offered(node: Node, pool: PoolPlan, promise: verify_nodes.Expectation) -> float:
    """Units that a node offers: devices, where pods claim them."""
    if promise.device_driver:
        return len(verify_nodes.claimable(dict(node), promise))
    return _amount(node, pool.resource_name or "cpu")


def _unit(pool: PoolPlan) -> str:
    return f"devices of {pool.claims.device_class}" if pool.claims else pool.resource_name or "CPU cores"


def _held_by_others(
    pool: PoolPlan, promise: verify_nodes.Expectation, plan: Plan, nodes: Sequence[Node], cluster: Cluster
) -> dict[str, float]:
    """Node → units that others have of it: by allocated claims, or by what their pods request."""
    held = {node["metadata"]["name"]: 0.0 for node in nodes}
    if promise.device_driver:
        owners = {
            (device["driver"], device["pool"], device["name"]): node["metadata"]["name"]
            for node in nodes
            for device in verify_nodes.claimable(dict(node), promise)
        }
        for claim in items(cluster, CLAIMS):
            results = claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results") or ()
            devices = [(result["driver"], result["pool"], result["device"]) for result in results]
            for device in devices if claim["metadata"]["namespace"] != plan.namespace else ():
                if device in owners:
                    held[owners[device]] += 1
        return held
    for pod in items(cluster, "/api/v1/pods", fieldSelector=RUNNING):
        name = pod["spec"].get("nodeName")
        if name in held and pod["metadata"]["namespace"] != plan.namespace:
            held[name] += requested(pod["spec"], pool.resource_name or "cpu")
    return held


def _room(
    pool: PoolPlan, promise: verify_nodes.Expectation, plan: Plan, nodes: Sequence[Node], cluster: Cluster
) -> Iterator[Finding]:
    """Units that pods outside of the stack's namespace leave, against those that its servers always have."""
    held = _held_by_others(pool, promise, plan, nodes, cluster)
    free = {node["metadata"]["name"]: _offered(node, pool, promise) - held[node["metadata"]["name"]] for node in nodes}
    servers = [server for server in plan.servers if server.pool == pool.name]
    sizes = {server.name: server.resources.gpus if pool.resource_name else server.resources.cpus for server in servers}
    needed = sum(sizes[server.name] * server.nodes_per_replica * server.replicas for server in servers)
    subject, unit = f"room in pool {pool.name}", _unit(pool)
    others = f", others hold {sum(held.values()):g}" if any(held.values()) else ""
    most, total = max(free.values(), default=0), sum(free.values())
    for server in servers:
        if server.replicas and sizes[server.name] > most:
            text = f"a pod of {server.name} asks for {sizes[server.name]} {unit}, the emptiest node has {most:g} free"
            yield wrong(subject, text + others, "free a node, or give it a smaller place")
            return
    if needed > total:
        text = f"servers always have {needed} {unit}, and {total:g} are free{others}"
        yield wrong(subject, text, "more nodes, or fewer replicas")
    else:
        yield fine(subject, f"{needed} of {total:g} free {unit}{others}")


def _amount(node: Node, resource: str | None) -> float:
    return quantity(node.get("status", {}).get("allocatable", {}).get(resource, "0"))


def requested(pod: Mapping[str, Any], resource: str, field: str = "requests") -> float:
    """Amount that a pod takes of a node: its containers together, or an init container that takes more.

    A request that is not written is the limit, as Kubernetes has it.
    """

    def asks(container: Mapping[str, Any]) -> float:
        amounts = container.get("resources", {})
        return quantity((amounts.get(field) or {}).get(resource) or (amounts.get("limits") or {}).get(resource, "0"))

    together = sum(map(asks, pod["containers"]))
    return max([together, *map(asks, pod.get("initContainers") or [])])
