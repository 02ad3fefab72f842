"""Things of others on the cluster that would stand in the way: operators, quotas, webhooks; and classes they made."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from catalog.load import Catalog
from planning.plan import Plan
from preview.preflight.cluster import Cluster, items
from preview.preflight.findings import Finding, fine, missing, read, wrong
from preview.preflight.pools import quantity, requested
from preview.rendering.manifests import Manifest
from preview.rendering.prerequisites import mappings_in

# Priority classes that every cluster has.
BORN = ("system-cluster-critical", "system-node-critical")
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1"
WORKLOADS = ("deployments", "daemonsets", "statefulsets")


def look_at_others(manifests: Sequence[Manifest], plan: Plan, cluster: Cluster, catalog: Catalog) -> Iterator[Finding]:
    """Operators of others, then classes, quotas and webhooks."""
    yield from read("operators of others", lambda: _operators(plan, cluster, catalog))
    yield from read("classes of pods", lambda: _classes(manifests, cluster))
    yield from read(f"quotas in {plan.namespace}", lambda: _quotas(manifests, plan, cluster))
    yield from read("webhooks", lambda: _webhooks(manifests, plan, cluster))


def _operators(plan: Plan, cluster: Cluster, catalog: Catalog) -> Iterator[Finding]:
    """Programs of which a cluster may have one, beside those that this stack installs."""
    running = [(kind, workload) for kind in WORKLOADS for workload in items(cluster, f"/apis/apps/v1/{kind}")]
    for name, release in plan.releases.items():
        alone = catalog.charts[name].alone
        second = sorted(
            f"{kind.removesuffix('s')} {workload['metadata']['namespace']}/{workload['metadata']['name']}"
            for kind, workload in running
            if workload["metadata"]["namespace"] != release.namespace
            and any(_program(container["image"]) in alone for container in _containers(workload))
        )
        subject = f"chart {name}"
        if second:
            yield wrong(subject, f"another is there: {', '.join(second)}", "say install: false for it, or remove that")
        else:
            yield fine(subject, "no other is there")


def _containers(workload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return workload["spec"]["template"]["spec"].get("containers", ())


def _program(image: str) -> str:
    """`keda` of `ghcr.io/kedacore/keda:2.21.0@sha256:…`."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _classes(manifests: Sequence[Manifest], cluster: Cluster) -> Iterator[Finding]:
    declared = {(manifest.kind, manifest.name) for manifest in manifests}
    pods = [part for manifest in manifests for part in mappings_in(manifest.body) if "containers" in part]
    kinds = (
        ("PriorityClass", "priorityClassName", "/apis/scheduling.k8s.io/v1/priorityclasses"),
        ("RuntimeClass", "runtimeClassName", "/apis/node.k8s.io/v1/runtimeclasses"),
    )
    for kind, field, path in kinds:
        named = {pod[field] for pod in pods if pod.get(field)}
        for name in sorted(named - set(BORN)):
            if (kind, name) in declared:
                continue
            subject = f"{kind} {name}"
            yield fine(subject) if cluster.get(f"{path}/{name}") else missing(subject, f"pods have it as {field}")


def _quotas(manifests: Sequence[Manifest], plan: Plan, cluster: Cluster) -> Iterator[Finding]:
    """Hard limits of the namespace against what the Deployments of the stack ask for; Jobs come and go."""
    templates = [
        (manifest.body["spec"].get("replicas", 1), manifest.body["spec"]["template"]["spec"])
        for manifest in manifests
        if manifest.kind in ("Deployment", "StatefulSet") and manifest.namespace == plan.namespace
    ]
    for quota in items(cluster, f"/api/v1/namespaces/{plan.namespace}/resourcequotas"):
        if quota["spec"].get("scopeSelector") or quota["spec"].get("scopes"):
            continue  # of pods of a kind that none of ours is
        over = [
            f"{name} {limit}, the stack asks for {needed:g}"
            for name, limit in sorted(quota["spec"].get("hard", {}).items())
            if (needed := sum(count * _counted(name, pod) for count, pod in templates)) > quantity(limit)
        ]
        subject = f"ResourceQuota {quota['metadata']['name']} in {plan.namespace}"
        yield wrong(subject, f"has too little: {'; '.join(over)}", "raise it") if over else fine(subject)


def _counted(name: str, pod: Mapping[str, Any]) -> float:
    """Part of a hard limit that one pod takes; of what no pod has, none."""
    field, _, resource = name.partition(".")
    if name in ("pods", "count/pods"):
        return 1
    if field in ("requests", "limits"):
        return requested(pod, resource, field)
    return requested(pod, name, "requests") if name in ("cpu", "memory") else 0


def _webhooks(manifests: Sequence[Manifest], plan: Plan, cluster: Cluster) -> Iterator[Finding]:
    """Webhooks that are asked about objects of ours and must answer, and have nobody who does."""
    kinds = {f"{manifest.kind.lower()}s" for manifest in manifests if manifest.namespace == plan.namespace} | {"pods"}
    namespace = cluster.get(f"/api/v1/namespaces/{plan.namespace}")
    labels = {"kubernetes.io/metadata.name": plan.namespace}
    labels |= (namespace or {}).get("metadata", {}).get("labels", {})
    asked = 0
    for configurations in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations"):
        for configuration in items(cluster, f"{WEBHOOKS}/{configurations}"):
            for webhook in configuration.get("webhooks") or ():
                service = webhook["clientConfig"].get("service")
                if webhook.get("failurePolicy") == "Ignore" or not service or not _asks(webhook, kinds, labels):
                    continue
                asked += 1
                if not _answers(service, cluster):
                    about = ", ".join(sorted(_resources(webhook) & kinds)) or "all"
                    behind = f"{service['namespace']}/{service['name']}"
                    text = f"must answer about {about}, and no pod is ready behind {behind}"
                    yield wrong(f"webhook {webhook['name']}", text, f"of {configuration['metadata']['name']}")
    yield fine("webhooks", f"{asked} are asked about objects of the stack; what they refuse only they know")


def _resources(webhook: Mapping[str, Any]) -> set[str]:
    return {resource.partition("/")[0] for rule in webhook.get("rules") or () for resource in rule.get("resources", ())}


def _asks(webhook: Mapping[str, Any], kinds: set[str], labels: Mapping[str, str]) -> bool:
    resources = _resources(webhook)
    return bool(resources & kinds or "*" in resources) and selects(webhook.get("namespaceSelector") or {}, labels)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches, as Kubernetes does."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    tests = {
        "In": lambda key, values: labels.get(key) in values,
        "NotIn": lambda key, values: labels.get(key) not in values,
        "Exists": lambda key, _: key in labels,
        "DoesNotExist": lambda key, _: key not in labels,
    }
    return all(
        tests[rule["operator"]](rule["key"], rule.get("values") or ())
        for rule in selector.get("matchExpressions") or ()
    )


def _answers(service: Mapping[str, Any], cluster: Cluster) -> bool:
    path = f"/apis/discovery.k8s.io/v1/namespaces/{service['namespace']}/endpointslices"
    slices = items(cluster, path, labelSelector=f"kubernetes.io/service-name={service['name']}")
    endpoints = (endpoint for each in slices for endpoint in each.get("endpoints") or ())
    return any(endpoint.get("conditions", {}).get("ready", True) for endpoint in endpoints)
