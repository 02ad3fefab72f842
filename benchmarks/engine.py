"""`pulumi preview` of a stack, and of a flat program that declares the same objects.

Both run under the real engine, with a backend in a folder of their own and a cluster that cannot be reached, so that
only the programs differ. What would ask that cluster, or fetch something, is left out of both: named nodes, which are
looked up, and operators, whose charts are.
"""

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import Command, variables
from preview.rendering.records import Record
from preview.rendering.render import render
from preview.rendering.stackfile import PROJECT_FILE, read_project
from workshop.simcluster.engine import command, for_this_cluster, without_proxy

ROOT = Path(__file__).resolve().parent.parent
# Groups that the SDK has classes for, among those that a stack has objects of.
TYPED = ("apps", "batch", "core", "networking", "policy", "rbac")
HEAD = """import pulumi
import pulumi_kubernetes as k8s
opts = pulumi.ResourceOptions(provider=k8s.Provider("flat", kubeconfig="", context={context!r}))
"""


@contextlib.contextmanager
def commands(stack: str) -> Iterator[tuple[Command, Command]]:
    """Commands that preview the flat program and the stack; their folder goes afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
        content = for_this_cluster(content, "llm-stack")
        for pool in content["config"]["llm-stack:gpuPools"].values():
            pool.pop("provisioning", None)
        context = content["config"]["llm-stack:cluster"]["context"]
        project = yaml.safe_load((ROOT / PROJECT_FILE).read_text(encoding="utf-8"))
        project["runtime"]["options"]["virtualenv"] = str(ROOT / project["runtime"]["options"]["virtualenv"])
        stack_folder, flat = folder / "ours", folder / "flat"
        _write(stack_folder, {**project, "main": str(ROOT)}, content, stack)
        _write(flat, {"name": "flat", "runtime": project["runtime"]}, {"config": {}}, stack)
        lines = object_lines(render(read_project(stack_folder), stack).records)
        (flat / "__main__.py").write_text(HEAD.format(context=context) + "\n".join(lines), encoding="utf-8")
        _kubeconfig(folder / "kubeconfig", context)
        yield _preview(flat, folder, stack), _preview(stack_folder, folder, stack)


def _write(place: Path, project: Mapping[str, Any], content: Mapping[str, Any], stack: str) -> None:
    place.mkdir()
    (place / PROJECT_FILE).write_text(yaml.safe_dump(dict(project)), encoding="utf-8")
    (place / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump(dict(content)), encoding="utf-8")


def _kubeconfig(file: Path, context: str) -> None:
    """Of a cluster that refuses every connection."""
    parts = {
        "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "none", "user": {}}],
        "contexts": [{"name": context, "context": {"cluster": "none", "user": "none"}}],
    }
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **parts}), encoding="utf-8")


def object_lines(records: Sequence[Record]) -> Iterator[str]:
    """One line of Python for each object, as somebody would write it who knows what it is to be."""
    for number, record in enumerate(records):
        parts = record.type.split(":")
        if not record.custom or parts[0] != "kubernetes":
            continue
        group, kind = parts[1], parts[2]
        inputs = dict(record.inputs)
        if group.partition(".")[0].partition("/")[0] in TYPED:
            inputs = {key: value for key, value in inputs.items() if key not in ("apiVersion", "kind")}
            owner = f"{group.partition('/')[0].partition('.')[0]}.{group.partition('/')[2]}"
        else:
            owner, kind = "apiextensions", "CustomResource"
        arguments = ", ".join(f"{_snake(key)}={value!r}" for key, value in inputs.items())
        yield f"k8s.{owner}.{kind}('{record.name}-{number}', {arguments}, opts=opts)"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda match: f"_{match[1].lower()}", name)


def _preview(place: Path, folder: Path, stack: str) -> Command:
    """The preview of the project at `place`, whose stack is made here."""
    environment = {
        **{name: value for name, value in variables().items() if not name.startswith("PULUMI_")},
        **without_proxy(variables()),
        "PULUMI_BACKEND_URL": f"file://{folder}",
        "PULUMI_CONFIG_PASSPHRASE": "benchmark",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "KUBECONFIG": str(folder / "kubeconfig"),
    }
    pulumi = command() or "pulumi"
    start = [pulumi, "stack", "init", stack, "--non-interactive"]
    subprocess.run(start, cwd=place, env=environment, check=True, capture_output=True)  # noqa: S603 - our own
    return Command([pulumi, "preview", "--stack", stack, "--non-interactive"], place, environment)
