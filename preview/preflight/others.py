"""Things of others on the cluster that would stand in the way: operators, quotas, webhooks; and classes they made."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from catalog.load import Catalog
from planning.plan import Plan
from planning.stack.identity import CLAIM, CLAIMED_BY
from preview.preflight.cluster import Cluster, items
from preview.preflight.findings import Finding, fine, missing, not_known, read, wrong
from preview.preflight.kinds import Resource, resource
from preview.preflight.pools import quantity, requested
from preview.rendering.manifests import Category, Manifest
from preview.rendering.prerequisites import mappings_in

WEBHOOKS = "/apis/admissionregistration.k8s.io/v1"
CLAIMS_QUOTA, DEVICES_QUOTA = "count/resourceclaims.resource.k8s.io", ".deviceclass.resource.k8s.io/devices"
# Template of claims → its requests.
Claims = Mapping[str, Sequence[Mapping[str, Any]]]
WORKLOADS = ("deployments", "daemonsets", "statefulsets")
# Hard limits of a quota that count objects by their plural, without the word count.
COUNTED = (
    *("configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"),
)


def look_at_others(manifests: Sequence[Manifest], plan: Plan, cluster: Cluster, catalog: Catalog) -> Iterator[Finding]:
    """The claim on the namespace, operators of others, then classes, quotas and webhooks."""
    yield from read(f"namespace {plan.namespace}", lambda: _claim(manifests, plan, cluster))
    yield from read("operators of others", lambda: _operators(plan, cluster, catalog))
    yield from read("classes of pods", lambda: _classes(manifests, plan, cluster))
    yield from read(f"quotas in {plan.namespace}", lambda: _quotas(manifests, plan, cluster))
    yield from read("webhooks", lambda: _webhooks(manifests, plan, cluster))


def _claim(manifests: Sequence[Manifest], plan: Plan, cluster: Cluster) -> Iterator[Finding]:
    """The stack that claims the namespace, if any does; which state of it, that state alone can tell."""
    claim = cluster.get(f"/api/v1/namespaces/{plan.namespace}/configmaps/{CLAIM}")
    own = {manifest.body["data"][CLAIMED_BY] for manifest in manifests if manifest.name == CLAIM}
    if claim is None or plan.takes_over:
        return
    stack, subject = claim.get("data", {}).get(CLAIMED_BY, "of nobody"), f"namespace {plan.namespace}"
    if stack in own:
        yield fine(subject, f"claimed by {stack}")
    else:
        fix = "write another cluster.namespace, or take over by cluster.takeOver: true for one `up`"
        yield wrong(subject, f"claimed by the stack {stack} (ConfigMap {CLAIM})", fix)


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


def _classes(manifests: Sequence[Manifest], plan: Plan, cluster: Cluster) -> Iterator[Finding]:
    """Runtime classes of pods; an operator that this stack installs brings its own."""
    pods = [part for manifest in manifests for part in mappings_in(manifest.body) if "containers" in part]
    operators = {pool.operator for pool in plan.pools.values()}
    for name in sorted({pod["runtimeClassName"] for pod in pods if pod.get("runtimeClassName")}):
        subject = f"RuntimeClass {name}"
        if cluster.get(f"/apis/node.k8s.io/v1/runtimeclasses/{name}"):
            yield fine(subject)
        elif operators & plan.releases.keys():
            yield not_known(subject, "is not there yet; this stack installs the operator that brings it")
        else:
            yield missing(subject, "pods have it as runtimeClassName")


def _quotas(manifests: Sequence[Manifest], plan: Plan, cluster: Cluster) -> Iterator[Finding]:
    """Hard limits of the namespace against what the stack has in it at once; Jobs and their pods come and go."""
    inside = [
        manifest
        for manifest in manifests
        if manifest.category is Category.OBJECT and manifest.namespace == plan.namespace
    ]
    claims = {
        manifest.name: manifest.body["spec"]["spec"]["devices"]["requests"]
        for manifest in manifests
        if manifest.kind == "ResourceClaimTemplate"
    }
    for quota in items(cluster, f"/api/v1/namespaces/{plan.namespace}/resourcequotas"):
        if quota["spec"].get("scopeSelector") or quota["spec"].get("scopes"):
            continue  # of pods of a kind that none of ours is
        over = [
            f"{name} {limit}, the stack asks for {needed:g}"
            for name, limit in sorted(quota["spec"].get("hard", {}).items())
            if (needed := sum(counted(name, manifest, claims, cluster) for manifest in inside)) > quantity(limit)
        ]
        subject = f"ResourceQuota {quota['metadata']['name']} in {plan.namespace}"
        yield wrong(subject, f"has too little: {'; '.join(over)}", "raise it") if over else fine(subject)


def counted(name: str, manifest: Manifest, claims: Claims, cluster: Cluster) -> float:
    """Part of a hard limit that an object, its pods and their claims take.

    Names as in https://kubernetes.io/docs/concepts/policy/resource-quotas/.
    """
    if name not in ("pods", "count/pods", CLAIMS_QUOTA) and (name.startswith("count/") or name in COUNTED):
        here = resource(cluster, manifest.api_version, manifest.kind)
        return here is not None and here.counted == name.removeprefix("count/")
    if manifest.kind == "PersistentVolumeClaim":
        spec = manifest.body["spec"]
        names = ("requests.storage", f"{spec.get('storageClassName')}.storageclass.storage.k8s.io/requests.storage")
        return quantity(spec["resources"]["requests"]["storage"]) if name in names else 0
    return sum(number * _of_pod(name, pod, claims) for number, pod in lasting_pods(manifest))


def lasting_pods(manifest: Manifest) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(how many, their spec) of the pods that an object keeps."""
    spec = manifest.body.get("spec") or {}
    if manifest.kind in ("Deployment", "StatefulSet"):
        yield spec.get("replicas", 1), spec["template"]["spec"]
    elif manifest.kind == "LeaderWorkerSet":
        group = spec["leaderWorkerTemplate"]
        replicas, size, worker = spec.get("replicas", 1), group.get("size", 1), group["workerTemplate"]["spec"]
        yield replicas, (group.get("leaderTemplate") or group["workerTemplate"])["spec"]
        yield replicas * (size - 1), worker


def _of_pod(name: str, pod: Mapping[str, Any], claims: Claims) -> float:
    """Part that one pod takes with the claims made for it.

    A quota counts devices by class (kubernetes v1.36 pkg/quota/v1, evaluator/core/resource_claims.go).
    """
    of_pod = [claims.get(each.get("resourceClaimTemplateName", ""), ()) for each in pod.get("resourceClaims", ())]
    if name == CLAIMS_QUOTA:
        return len(of_pod)
    if name.endswith(DEVICES_QUOTA):
        asked = [request["exactly"] for requests in of_pod for request in requests]
        return sum(each["count"] for each in asked if each["deviceClassName"] == name.removesuffix(DEVICES_QUOTA))
    field, _, resource_name = name.partition(".")
    if name in ("pods", "count/pods"):
        return 1
    if field in ("requests", "limits"):
        return requested(pod, resource_name, field)
    return requested(pod, name, "requests") if name in ("cpu", "memory") else 0


def _webhooks(manifests: Sequence[Manifest], plan: Plan, cluster: Cluster) -> Iterator[Finding]:
    """Webhooks that are asked about objects of ours and must answer, and have nobody who does."""
    versions = {(manifest.api_version, manifest.kind) for manifest in manifests}
    kinds = [resource(cluster, *each) for each in sorted({*versions, ("v1", "Pod")})]
    ours = [each for each in kinds if each is not None]
    namespace = cluster.get(f"/api/v1/namespaces/{plan.namespace}")
    labels = {"kubernetes.io/metadata.name": plan.namespace}
    labels |= (namespace or {}).get("metadata", {}).get("labels", {})
    asked = 0
    for configurations in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations"):
        for configuration in items(cluster, f"{WEBHOOKS}/{configurations}"):
            for webhook in configuration.get("webhooks") or ():
                service = webhook["clientConfig"].get("service")
                about = asked_about(webhook, ours, labels)
                if webhook.get("failurePolicy") == "Ignore" or not service or not about:
                    continue
                asked += 1
                if not _answers(service, cluster):
                    behind = f"{service['namespace']}/{service['name']}"
                    text = f"must answer about {', '.join(about)}, and no pod is ready behind {behind}"
                    yield wrong(f"webhook {webhook['name']}", text, f"of {configuration['metadata']['name']}")
    yield fine("webhooks", f"{asked} are asked about objects of the stack; --admission asks what they say")


def asked_about(webhook: Mapping[str, Any], kinds: Sequence[Resource], labels: Mapping[str, str]) -> list[str]:
    """Names of the kinds about which a webhook must be asked when they are made, in a namespace with these labels.

    Its selector of namespaces says nothing about what is in none
    (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/).
    """
    here = selects(webhook.get("namespaceSelector") or {}, labels)
    rules = [rule for rule in webhook.get("rules") or () if {"CREATE", "*"} & {*rule.get("operations", ())}]
    return sorted(
        {kind.plural for kind in kinds if (here or not kind.namespaced) and any(_covers(rule, kind) for rule in rules)}
    )


def _covers(rule: Mapping[str, Any], kind: Resource) -> bool:
    of_group = {kind.group, "*"} & {*rule.get("apiGroups", ())}
    scopes = {"*", "Namespaced" if kind.namespaced else "Cluster"}
    named = {kind.plural, "*", "*/*"} & {*rule.get("resources", ())}
    return bool(of_group and named) and (rule.get("scope") or "*") in scopes


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
