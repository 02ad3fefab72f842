"""`python -m preview preflight`: the cluster of a stack, asked whether the stack can come."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.load import load_catalog
from planning.plan import Plan
from planning.stack.versions import is_older
from preview.preflight.admission import ask_admission
from preview.preflight.cluster import Cluster, Kubectl, Unreachable
from preview.preflight.expected import look_for
from preview.preflight.findings import FAILING, Finding, Verdict, fine, not_known, read, wrong
from preview.preflight.images import Clock, PodCluster, pull_images
from preview.preflight.others import look_at_others
from preview.preflight.pools import judge_pools
from preview.rendering.edges import expectations
from preview.rendering.manifests import Manifest, collect_manifests
from preview.rendering.render import render
from preview.rendering.stackfile import find_project, read_project
from preview.reporting.wording import count
from settings.commandline import FINE, REFUSED
from settings.problems import Problem, Refused

MARKS = {Verdict.FINE: "✓", Verdict.MISSING: "✗", Verdict.WRONG: "✗", Verdict.NOT_KNOWN: "?"}


@dataclass(frozen=True)
class More:
    """Questions that are asked only where somebody says so; `images_s`: seconds for the images of a place, 0: none."""

    admission: bool = False
    images_s: float = 0


def show(directory: Path | None, stack: str, more: More, *, as_json: bool) -> int:
    """Asks the stack's cluster and prints a line for each answer; returns the exit code.

    Raises `UsageError` for an unknown stack, `Refused` for a stack that would not be deployed and for a cluster that
    does not answer.
    """
    project = read_project(find_project(directory))
    (name,) = project.chosen(stack)
    rendering = render(project, name)
    if rendering.refused:
        raise Refused(rendering.refused)
    if rendering.plan is None:
        raise Refused([Problem(project.program.name, "makes no LlmStack, whose plan says which cluster to ask")])
    plan = rendering.plan
    try:
        findings = tuple(_all(collect_manifests(rendering.records), plan, Kubectl(plan.context), more))
    except Unreachable as error:
        raise Refused([Problem("cluster.context", f'"{plan.context}" cannot be asked: {error}')]) from error
    failing = [finding for finding in findings if finding.verdict in FAILING]
    if as_json:
        sys.stdout.write(json.dumps(document(name, plan, findings), indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n".join(page(name, plan, findings)) + "\n")
    return REFUSED if failing else FINE


def _all(manifests: Sequence[Manifest], plan: Plan, cluster: PodCluster, more: More) -> Iterator[Finding]:
    yield from ask(manifests, plan, cluster)
    if more.admission:
        yield from read("admission", lambda: ask_admission(manifests, plan, cluster))
    if more.images_s:
        yield from read("images", lambda: pull_images(manifests, plan, cluster, more.images_s, Clock()))


def ask(manifests: Sequence[Manifest], plan: Plan, cluster: Cluster) -> Iterator[Finding]:
    """All findings, in the order in which a person would mend them. Raises `Unreachable`."""
    catalog = load_catalog()
    yield _version(plan, cluster)
    yield from look_for(expectations(manifests, plan), cluster, catalog)
    yield from judge_pools(manifests, plan, cluster)
    yield from look_at_others(manifests, plan, cluster, catalog)


def _version(plan: Plan, cluster: Cluster) -> Finding:
    answer = cluster.get("/version")
    if answer is None:
        return not_known("Kubernetes", "its version is not told")
    version = f"{answer['major']}.{''.join(filter(str.isdigit, answer['minor']))}"
    subject, promised = f"Kubernetes {version}", plan.kubernetes
    if is_older(version, promised):
        return wrong(subject, f"cluster.kubernetes says {promised}", f'write "{version}", or upgrade the cluster')
    return fine(subject, "" if version == promised else f"cluster.kubernetes says {promised}, which it is past")


def page(stack: str, plan: Plan, findings: Sequence[Finding]) -> Iterator[str]:
    """Lines for a person; what is wrong stands last, where the terminal stops."""
    yield f"{stack}: {plan.cluster_identifier} (context {plan.context}), asked and not changed"
    for finding in sorted(findings, key=lambda finding: finding.verdict in FAILING):
        yield f"{MARKS[finding.verdict]} {finding}"
    failing = sum(finding.verdict in FAILING for finding in findings)
    open_ = sum(finding.verdict is Verdict.NOT_KNOWN for finding in findings)
    yield ""
    outcome = (
        f"{count(failing, 'thing')} to mend before `pulumi up`"
        if failing
        else "Nothing stands in the way of `pulumi up`"
    )
    yield f"{outcome}{f', {open_} not known' if open_ else ''}"


def document(stack: str, plan: Plan, findings: Sequence[Finding]) -> dict[str, object]:
    """The same for machines."""
    return {
        "stack": stack,
        "context": plan.context,
        "findings": [
            {"verdict": finding.verdict.value, "subject": finding.subject, "text": finding.text, "fix": finding.fix}
            for finding in findings
        ],
    }
