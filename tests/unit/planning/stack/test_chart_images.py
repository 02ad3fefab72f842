"""What is inside the operators' charts: images by version and values, pull secrets, and what a mirror leaves out.

It does not prove that a chart says what its table says: charts are no part of this repository, and the tables name the
commit that was rendered.
"""

import re
from typing import Any

import pytest

from planning.stack.chart_images import Contents, contents, with_pull_secrets
from tests.unit.small_stack import CATALOG, MODEL, planned, refusals, serving, stack

SCALES = {"replicas": {"min": 1, "max": 2}}
MIRROR = "reg.corp/hub"
DRIVER = "nvcr.io/nvidia/cloud-native/k8s-driver-manager:v0.12.0"


def warnings(raw: dict[str, Any]) -> list[str]:
    """What the plan says of registries."""
    return [line for line in planned(raw).warnings if line.startswith("images.")]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_every_chart_has_a_table_for_the_version_that_is_pinned():
    """A newer chart comes with its images, and no table is left of a chart that is not installed."""
    pinned = {name: chart.version for name, chart in CATALOG.charts.items()}
    assert {name: chart for name, chart in pinned.items() if chart in CATALOG.chart_images[name]} == pinned
    assert CATALOG.chart_images.keys() == pinned.keys()


@pytest.mark.parametrize("chart", CATALOG.chart_images)
def test_tables_name_images_once_and_by_version(chart):
    """No image twice, and no tag without a number."""
    for version, table in CATALOG.chart_images[chart].items():
        names = [item.image for item in table.images]
        assert len(set(names)) == len(names), version
        assert [name for name in names if not re.search(r":[^:]*\d", name)] == []


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({}, set()),
        ({"driver": {"enabled": True}}, set()),
        ({"driver": {"enabled": False}}, {DRIVER}),
        ({"driver": {"enabled": False}, "toolkit": {"enabled": False}},
         {DRIVER, "nvcr.io/nvidia/k8s/container-toolkit:v1.20.0"}),
        # the same image discovers the GPUs' features
        ({"devicePlugin": {"enabled": False}}, set()),
    ],
)  # fmt: skip
def test_what_values_switch_off_is_not_pulled(values, missing):
    """The driver on nodes that have one, and what is asked of whoever brings it."""
    whole, found = (
        contents("gpu-operator", "v26.7.0", {}, CATALOG),
        contents("gpu-operator", "v26.7.0", values, CATALOG),
    )
    assert set(whole.images) - set(found.images) == missing
    assert len(found.not_known) == (0 if DRIVER in missing else 2)


def test_of_other_versions_nothing_is_known():
    """A version without a table is said to have none, never given the images of another."""
    found = contents("keda", "2.19.0", {}, CATALOG)
    assert found == Contents(unread=("the images of this version (known: 2.21.0); --helm renders it",))


# --- pull secrets -----------------------------------------------------------------------------------------------------

NAMES, REFERENCES = ["one", "two"], [{"name": "one"}, {"name": "two"}]


@pytest.mark.parametrize(
    ("chart", "values", "expected"),
    [
        ("keda", {}, {"imagePullSecrets": REFERENCES}),
        ("lws", {}, {"imagePullSecrets": REFERENCES}),
        ("prometheus-adapter", {"rules": {}}, {"rules": {}, "image": {"pullSecrets": NAMES}}),
        ("kube-prometheus-stack", {"grafana": {"a": 1}},
         {"grafana": {"a": 1}, "global": {"imagePullSecrets": REFERENCES}}),
        (
            "gpu-operator",
            {"driver": {"enabled": True}, "node-feature-discovery": {"worker": {}}},
            {
                "driver": {"enabled": True, "imagePullSecrets": NAMES},
                **{part: {"imagePullSecrets": NAMES} for part in ("operator", "validator", "toolkit", "devicePlugin",
                   "dcgmExporter", "gfd", "migManager", "draDriver")},
                "node-feature-discovery": {"worker": {}, "imagePullSecrets": REFERENCES},
            },
        ),
    ],
)  # fmt: skip
def test_pull_secrets_are_where_each_chart_takes_them(chart, values, expected):
    """Names or references, as its templates read them; what else the values say is kept."""
    version = CATALOG.charts[chart].version
    assert with_pull_secrets(chart, version, values, NAMES, CATALOG) == expected
    assert with_pull_secrets(chart, version, values, [], CATALOG) == values


def test_releases_of_a_stack_have_its_pull_secrets():
    """All of them, and none where the stack names none."""
    secrets = {"pullSecrets": ["registry"]}
    without, found = planned(serving(**SCALES)).releases, planned({**serving(**SCALES), "images": secrets}).releases
    assert found["keda"].values == {"imagePullSecrets": [{"name": "registry"}]}
    assert {name for name in found if found[name].values != without[name].values} == set(found)
    assert without["keda"].values == {}


def test_a_pull_secret_is_named_once():
    """As everything that is a list of names."""
    assert refusals(stack(images={"pullSecrets": ["a", "a"]})) == ["images.pullSecrets: names a Secret twice"]


# --- what is said -----------------------------------------------------------------------------------------------------


def test_a_mirror_says_what_it_does_not_cover():
    """Charts that nobody has moved, with what is inside of them, and weights of the hub itself."""
    raw = {**serving(**SCALES), "images": {"mirror": MIRROR}}
    charts_said = (
        "images.mirror does not cover the charts {}, nor the images inside of them; give charts.NAME.repository or "
        "charts.NAME.chart a mirror whose charts name mirrored images, or let the nodes mirror these registries: "
        "python -m preview bundle lists all of it"
    )
    weights_said = (
        "images.mirror does not cover weights, which are fetched from huggingface; give weights.hub.endpoint a mirror "
        "of it, or weights.kind: existingClaim"
    )
    assert warnings(raw) == [charts_said.format("gpu-operator, kube-prometheus-stack, keda"), weights_said]
    charts = {
        "gpu-operator": {"repository": "https://charts.corp"},
        "keda": {"chart": "oci://reg.corp/charts/keda"},
        # another version comes from the same place
        "kube-prometheus-stack": {"version": "88.5.3"},
    }
    hub = {"storageClass": "nfs", "hub": {"endpoint": "https://hub.corp", "private": True}}
    assert warnings({**raw, "charts": charts, "weights": hub}) == [charts_said.format("kube-prometheus-stack")]


def test_a_mirror_does_not_change_an_image_with_weights():
    """It is written with its digest, where it is; one that is in the mirror is fine."""
    digest = f"@sha256:{'a' * 64}"
    origin = {"kind": "image", "reference": f"registry.example.com/models/qwen3{digest}"}
    copied = {"kind": "nodeCache", "storageClass": "nvme", "from": origin}
    warning = (
        f"images.mirror does not change the image with weights registry.example.com/models/qwen3{digest}; write the "
        "mirror's copy of it in weights.{}reference"
    )
    quiet = {"images": {"mirror": MIRROR}, "gpuOperator": {"install": False}, "observability": {"install": False}}
    mirrored = {"kind": "image", "reference": f"{MIRROR}/models/qwen3{digest}"}
    assert [warnings(stack(**quiet, weights=weights)) for weights in (origin, copied, mirrored)] == [
        [warning.format("")],
        [warning.format("from.")],
        [],
    ]
    assert warnings(stack(weights=origin)) == []


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        (
            {"weights": {"kind": "nodeCache", "storageClass": "nvme", "from": {"storageClass": "nfs"}}},
            "weights.from.hub",
        ),
        (
            {
                "weights": {
                    "kind": "objectStore",
                    "url": "s3://models",
                    "credentials": {"kind": "existingSecret", "name": "store"},
                    "fill": True,
                }
            },
            "weights.fill.hub",
        ),
        (
            {
                "weights": {"kind": "existingClaim", "claimName": "disk"},
                "models": {"m": MODEL | {"weights": {"storageClass": "nfs"}}},
            },
            "models.m.weights.hub",
        ),
    ],
)
def test_what_a_mirror_does_not_cover_is_said_where_it_can_be_written(sections: dict[str, Any], path: str):
    """The path that is named takes a mirror, and with one nothing is said."""
    quiet = {"images": {"mirror": MIRROR}, "gpuOperator": {"install": False}, "observability": {"install": False}}
    raw = stack(**quiet, **sections)
    model = "models.m." if path.startswith("models") else ""
    assert warnings(raw) == [
        (
            "images.mirror does not cover weights, which are fetched from huggingface; give "
            f"{path}.endpoint a mirror of it, or {model}weights.kind: existingClaim"
        )
    ]
    inside = raw
    for key in path.split("."):
        if inside.get(key) in (None, True):
            inside[key] = {}
        inside = inside[key]
    inside["endpoint"] = "https://hub.corp"
    assert warnings(raw) == []


def test_without_a_mirror_nothing_is_said():
    """Nor where everything comes from elsewhere."""
    quiet = {
        "images": {"mirror": MIRROR},
        "gpuOperator": {"install": False},
        "observability": {"install": False},
        "weights": {"kind": "existingClaim", "claimName": "models"},
    }
    assert [warnings(serving(**SCALES)), warnings(stack(**quiet))] == [[], []]


def test_pull_secrets_say_where_they_do_not_reach():
    """The values of a version that nobody has read."""
    raw = serving(**SCALES)
    raw |= {"images": {"pullSecrets": ["registry"]}, "charts": {"keda": {"version": "2.21.1"}}}
    where = "where the values of that version take them is not known"
    said = f"images.pullSecrets does not reach the pods of keda 2.21.1: {where}"
    assert warnings(raw) == [said]
    assert planned(raw).releases["keda"].values == {}
