"""Images of charts by helm's own rendering: how it is asked, what is read of its answer, and what is said without one.

A stand-in for helm answers here, and helm itself on a chart of this file where it is on PATH; charts of operators and
their repositories are not reached.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from preview.__main__ import main
from preview.rendering.manifests import Category, Manifest
from preview.rendering.render import Rendering
from preview.reporting.bundle import Rendered, decide
from preview.reporting.bundle_helm import ask, named
from tests.harness import ROOT, Deployed, minimal, rendered, stack

POD = """
kind: Deployment
spec:
  template:
    spec: {initContainers: [{image: 'a.io/init:1.0'}], containers: [{image: 'a.io/main:2.0', args: [--x]}]}
"""
STAND_IN = """#!/bin/sh
echo "$*" > "$CALLS.words"
cat > "$CALLS.values"
[ -z "$FAILS" ] || { echo "warning: x" >&2; printf '%b\\n' "$FAILS" >&2; exit 1; }
printf %s "$ANSWER"
"""


def release(deployed: Deployed, name: str) -> Manifest:
    """One release of a stack."""
    return next(item for item in deployed.manifests if item.category is Category.RELEASE and item.name == name)


def asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, fails: str = "", chart: str = "keda"
) -> tuple[Rendered, str, Any]:
    """What comes of helm's answer, the words it was called with, and the values it was given."""
    helm = folder / "helm"
    helm.write_text(STAND_IN)
    helm.chmod(0o755)
    for name, value in (("CALLS", str(folder / "call")), ("ANSWER", answer), ("FAILS", fails)):
        monkeypatch.setenv(name, value)
    found = ask(str(helm), release(rendered("prod"), chart), "1.36")
    return found, (folder / "call.words").read_text(), json.loads((folder / "call.values").read_text() or "{}")


def test_helm_renders_what_the_release_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its chart, version, namespace and values, for the stack's Kubernetes, without the chart's tests."""
    found, words, values = asked(tmp_path, monkeypatch, POD)
    assert found == Rendered(frozenset({"a.io/init:1.0", "a.io/main:2.0"}))
    flags = "--namespace keda --skip-tests --version 2.21.0 --kube-version 1.36.0 --values -"
    assert words == f"template keda keda {flags} --repo https://kedacore.github.io/charts\n"
    assert values == {}


@pytest.mark.parametrize(
    ("objects", "images"),
    [
        ([{"spec": {"image": "quay.io/prometheus/prometheus:v3.14.0"}}], {"quay.io/prometheus/prometheus:v3.14.0"}),
        ([{"toolkit": {"repository": "nvcr.io/nvidia/k8s", "image": "container-toolkit", "version": "v1.20.0"}}],
         {"nvcr.io/nvidia/k8s/container-toolkit:v1.20.0"}),
        ([{"dcgm": {"enabled": False, "repository": "nvcr.io", "image": "dcgm", "version": "4.6.0"}}], set()),
        ([{"vgpuManager": {"repository": "", "image": "vgpu-manager", "version": ""}}], {""}),
        ([{"args": ["--prometheus-config-reloader=q.io/reloader:v1", "--thanos-default-base-image=q.io/thanos:v2",
                    "--config-reloader-cpu-limit=0"]}], {"q.io/reloader:v1", "q.io/thanos:v2"}),
        ([None, 3, "image"], set()),
    ],
)  # fmt: skip
def test_images_are_where_charts_name_them(objects: list[Any], images: set[str]):
    """In containers, in resources of operators, in parts, in arguments; what is switched off is not pulled."""
    assert set(named(objects)) == images


@pytest.mark.parametrize(
    ("answer", "images"),
    [
        ("image: 'a.io/x:1.0\\n; rm -rf /'", set()),
        ("image: cluster-policy", set()),
        ("image: '$(touch x):1'", set()),
        ("", set()),
    ],
)
def test_what_is_no_image_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, images: set[str]):
    """Charts are somebody's: nothing of them gets into a script that is no reference of an image."""
    assert asked(tmp_path, monkeypatch, answer)[0] == Rendered(frozenset(images))


@pytest.mark.parametrize(
    ("answer", "fails", "reason"),
    [
        (
            "",
            "Error: looks like \\\\033[31m is not a valid chart repository",
            "looks like \\033[31m is not a valid chart",
        ),
        ("", "no", "no reason"),
        ("a: [", "", "what it rendered is no YAML"),
    ],
)
def test_a_chart_that_cannot_be_rendered_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, fails: str, reason: str
):
    """In one line; the table stays."""
    found = asked(tmp_path, monkeypatch, answer, fails)[0]
    assert (found.images, found.failure.startswith(reason), found.failure.isprintable()) == (frozenset(), True, True)


def test_helm_and_table_are_one_list():
    """What helm adds is carried and what was left to it is closed; a name that the cluster completes is no image."""
    deployed = rendered("prod")
    of = {name: release(deployed, name) for name in ("keda", "gpu-operator", "kube-prometheus-stack")}
    said = {
        of["keda"].urn: Rendered(frozenset({"ghcr.io/kedacore/new:1.0"})),
        of["gpu-operator"].urn: Rendered(frozenset({"nvcr.io/nvidia/driver:595.91.07"})),
        of["kube-prometheus-stack"].urn: Rendered(failure="not reachable"),
    }
    whole = Rendering("p", "s", deployed.plan, deployed.records)
    plain, asked_ = decide(whole, deployed.manifests), decide(whole, deployed.manifests, (), said)
    assert {one.source for one in asked_.images} - {one.source for one in plain.images} == {"ghcr.io/kedacore/new:1.0"}
    closed, opened = set(plain.not_known) - set(asked_.not_known), set(asked_.not_known) - set(plain.not_known)
    assert [line.partition(":")[0] for line in closed if "digests" not in line] == ["keda 2.21.0"]
    assert [line for line in opened if "digests" not in line] == [
        "kube-prometheus-stack 88.5.3: helm cannot render it: not reachable"
    ]


def test_without_helm_the_option_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """It was asked for by name."""
    monkeypatch.setenv("PATH", "/nowhere")
    code = main(["bundle", "--project", str(ROOT), "--stack", "prod", "--helm"])
    assert (code, capsys.readouterr()) == (64, ("", "python -m preview: --helm: helm is not on PATH\n"))


@pytest.mark.skipif(not shutil.which("helm"), reason="helm is not on PATH")
def test_helm_itself_renders_a_chart(tmp_path: Path):
    """A chart of three lines, with a value of the release in it."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: tiny, version: 1.0.0, kubeVersion: '>=1.30.0'}")
    (tmp_path / "templates" / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n"
        "spec: {containers: [{name: x, image: 'a.io/x:{{ .Values.tag }}'}]}\n"
    )
    tiny = release(stack(minimal(models={"small": {"replicas": {"max": 2}}})), "keda")
    body = {"chart": str(tmp_path), "version": "1.0.0", "values": {"tag": "1.2.3"}}
    assert ask("helm", replace(tiny, body=body), "1.36") == Rendered(frozenset({"a.io/x:1.2.3"}))
    assert "kubeVersion" in ask("helm", replace(tiny, body=body), "1.29").failure
