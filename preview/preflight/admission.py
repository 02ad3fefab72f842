"""Objects of a stack, shown to everything on the cluster that admits: policies, webhooks, quotas, Pod Security.

Each is asked for as a dry run, which the API server takes through the whole of admission and does not keep
(https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run). A pod is asked for beside the object that makes
it, because what guards pods is silent about the Deployment. Left out: Secrets, whose values no preview has, Helm
releases, and webhooks that say they have side effects, which Kubernetes then refuses to ask.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from planning.plan import Plan
from preview.preflight.cluster import Cluster, Forbidden, has_namespace
from preview.preflight.findings import Finding, fine, not_known, wrong
from preview.preflight.kinds import resource
from preview.rendering.manifests import Category, Manifest
from preview.rendering.prerequisites import mappings_in
from preview.reporting.wording import count

# Questions at once; each is a process of kubectl.
AT_ONCE = 6
SUBJECT = "admission"
ACCOUNTS = "/api/v1/namespaces/{}/serviceaccounts"
PRIORITIES = "/apis/scheduling.k8s.io/v1/priorityclasses"
RUNTIMES = "/apis/node.k8s.io/v1/runtimeclasses"


@dataclass(frozen=True)
class DryRun:
    """An object that is asked for, `create`: as a new one; `subject` names it to a person."""

    subject: str
    body: Mapping[str, Any]
    create: bool


def ask_admission(manifests: Sequence[Manifest], plan: Plan, cluster: Cluster) -> Iterator[Finding]:
    """A finding for each object or pod that is refused, and one that counts the others. Raises `Unreachable`."""
    if not has_namespace(cluster, plan.namespace):
        yield not_known(SUBJECT, f"namespace {plan.namespace} is not there, and in none is nothing judged")
        return
    dry_runs = list(_dry_runs(manifests, cluster))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda dry_run: _answer(dry_run, cluster), dry_runs))
    refused = [(dry_run, answer) for dry_run, answer in zip(dry_runs, answers, strict=True) if answer]
    for dry_run, answer in refused:
        yield wrong(f"{SUBJECT} of {dry_run.subject}", answer)
    closed = sum(answer is None for answer in answers)
    if closed:
        yield not_known(SUBJECT, f"{count(closed, 'object')} may not be asked for by the user of this kubeconfig")
    if let_in := len(dry_runs) - len(refused) - closed:
        pods = sum(dry_run.create for dry_run, answer in zip(dry_runs, answers, strict=True) if answer == "")
        yield fine(SUBJECT, f"{count(let_in, 'object')} would be let in, {count(pods, 'pod')} among them")


def _answer(dry_run: DryRun, cluster: Cluster) -> str | None:
    """The reason of a refusal, empty where there is none; None where the user is not judged to be one who may ask."""
    try:
        return cluster.admits(dry_run.body, create=dry_run.create)
    except Forbidden:
        return None


def _dry_runs(manifests: Sequence[Manifest], cluster: Cluster) -> Iterator[DryRun]:
    asked: set[str] = set()
    for manifest in manifests:
        if manifest.category is not Category.OBJECT or manifest.kind == "Secret":
            continue
        if resource(cluster, manifest.api_version, manifest.kind) is None or not _has_place(manifest, cluster):
            continue  # comes with an operator
        yield DryRun(str(manifest), manifest.body, create=False)
        for number, pod in enumerate(_pods(manifest, cluster)):
            name = f"{manifest.name[:40].rstrip('-.')}-asked-{number}"
            body = {"apiVersion": "v1", "kind": "Pod", **pod}
            body["metadata"] = {**pod["metadata"], "name": name, "namespace": manifest.namespace}
            if (text := repr(pod)) not in asked:
                asked.add(text)
                yield DryRun(f"a pod of {manifest}", body, create=True)


def _has_place(manifest: Manifest, cluster: Cluster) -> bool:
    return not manifest.namespace or has_namespace(cluster, manifest.namespace)


def _pods(manifest: Manifest, cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Pods that controllers will make of an object, without names of what the stack has not made yet."""
    for template in mappings_in(manifest.body):
        spec = template.get("spec")
        if template is manifest.body or not isinstance(spec, dict) or "containers" not in spec:
            continue
        spec = dict(spec)
        named = (
            ("serviceAccountName", ACCOUNTS.format(manifest.namespace)),
            ("priorityClassName", PRIORITIES),
            ("runtimeClassName", RUNTIMES),
        )
        for field, path in named:
            if spec.get(field) and cluster.get(f"{path}/{spec[field]}") is None:
                del spec[field]
        metadata = {key: value for key, value in (template.get("metadata") or {}).items() if key != "name"}
        yield {"metadata": metadata, "spec": spec}
