"""`python -m preview keys`: which key is where, for whom, and what it opens. No value of a key is known here.

Teams come from the plan, Secrets of servers and of the gateway itself from the objects that read them.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planning.plan import Plan
from planning.plan.gateway import CHAT_UI
from preview.rendering.manifests import Manifest, collect_manifests
from preview.rendering.recorder import autoname
from preview.rendering.render import render
from preview.rendering.stackfile import find_project, read_project
from preview.reporting.show import report_refusals
from preview.reporting.teams import sum_of, team_document

# What a name ends in that the engine makes, here and on the page.
DRAWN_HERE, DRAWN = autoname(""), "-<drawn>"
# Applications whose pods read keys: app.kubernetes.io/name → (key of the document, heading of the page).
READERS = {
    "litellm": ("gateway", "The gateway's own"),
    CHAT_UI: ("chat_ui", "The page to chat with"),
    "vllm": ("servers", "Servers"),
}
NO_TEAMS = "none: gateway.teams says who may ask what, and gives each its keys"


@dataclass(frozen=True)
class Place:
    """One entry of a Secret that pods of a workload read as a variable."""

    app: str
    workload: str
    variable: str
    secret: str
    entry: str


def show(directory: Path | None, stack: str, *, as_json: bool) -> int:
    """Prints where the keys of a stack are; returns the exit code.

    Raises `UsageError` for an unknown stack, `Refused` for a project without a program.
    """
    project = read_project(find_project(directory))
    (name,) = project.chosen(stack)
    rendering = render(project, name)
    if rendering.plan is None or rendering.refused:
        if as_json:
            refused = [{"path": problem.path, "message": problem.message} for problem in rendering.refused]
            sys.stdout.write(json.dumps({"stack": name, "refused": refused}, indent=2, ensure_ascii=False) + "\n")
    else:
        places = list(dict.fromkeys(_places(collect_manifests(rendering.records))))
        if as_json:
            sys.stdout.write(json.dumps(document(name, rendering.plan, places), indent=2, ensure_ascii=False) + "\n")
        else:
            sys.stdout.write("\n".join(page(rendering.project, name, rendering.plan, places)) + "\n")
    return report_refusals([rendering])


def document(stack: str, plan: Plan, places: Sequence[Place]) -> dict[str, Any]:
    """The same for machines."""
    teams = plan.gateway.teams.teams if plan.gateway.teams else ()
    return {
        "stack": stack,
        "refused": [],
        "namespace": plan.namespace,
        "teams": {team.name: team_document(team) for team in teams},
        **{
            group: [
                {"workload": place.workload, "variable": place.variable, "secret": place.secret, "entry": place.entry}
                for place in places
                if place.app == app
            ]
            for app, (group, _) in READERS.items()
        },
    }


def page(project: str, stack: str, plan: Plan, places: Sequence[Place]) -> Iterator[str]:
    """Lines for a person."""
    yield f"{project} · {stack}: keys, all in namespace {plan.namespace}"
    teams = plan.gateway.teams.teams if plan.gateway.teams else ()
    yield from ("", "Teams")
    if not teams:
        yield f"  {NO_TEAMS}"
    for team in teams:
        whose = "derived from gatewayMasterKey" if team.derived else "yours"
        yield f"  {team.name}: {sum_of(team)}"
        yield f"    Secret {team.secret}, {whose}"
        rows = [("key", "generation", "entry", "called in logs and metrics")]
        rows += [(key.name, str(key.generation), key.entry, key.alias) for key in team.keys]
        yield from (f"      {line}" for line in columns(rows))
    if teams:
        first = teams[0]
        yield from ("", "  To read one:", f"    {command(first.secret, plan.namespace, first.keys[0].entry)}")
    for app, (_, heading) in READERS.items():
        rows = [
            (place.workload, place.variable, f"{place.secret}/{place.entry}") for place in places if place.app == app
        ]
        if not rows:
            continue
        yield from ("", heading)
        yield from (f"  {line}" for line in columns([("workload", "variable", "Secret/entry"), *rows]))
    if any(place.secret.endswith(DRAWN) for place in places):
        yield from ("", f"{DRAWN[1:]}: the engine draws the end of these names; kubectl get secrets shows them")


def command(secret: str, namespace: str, entry: str) -> str:
    """Shell command that prints the value of an entry."""
    return f"kubectl get secret {secret} -n {namespace} -o jsonpath='{{.data.{entry}}}' | base64 -d"


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows with their columns below each other."""
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _places(manifests: Sequence[Manifest]) -> Iterator[Place]:
    """Entries of Secrets that gateway, page to chat with and servers read; those of other programs are theirs."""
    for manifest in manifests:
        template = manifest.body.get("spec", {}).get("template", {})
        pods = [template, manifest.body.get("spec", {}).get("leaderWorkerTemplate", {}).get("leaderTemplate", {})]
        for pod in (pod for pod in pods if pod):
            app = pod.get("metadata", {}).get("labels", {}).get("app.kubernetes.io/name")
            for container in pod["spec"]["containers"] if app in READERS else ():
                for variable in container.get("env", ()):
                    match variable:
                        case {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": entry}}}:
                            yield Place(app, manifest.name, name, _named(secret), entry)


def _named(secret: str) -> str:
    return f"{secret.removesuffix(DRAWN_HERE)}{DRAWN}" if secret.endswith(DRAWN_HERE) else secret
