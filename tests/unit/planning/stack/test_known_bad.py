"""Versions that are refused or warned of: every row of the table, its neighbours, and what is offered instead.

Does not prove that a row is true; its sources are beside it.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.stack import known_bad
from tests.unit.small_stack import A10, CATALOG, planned, properties, refusals, serving, stack

LITELLM = "images.overrides.litellm: litellm {} must not be deployed: {}"
STEALER = "PyPI release of 2026-03-24 with a credential stealer (litellm_init.pth); use 1.109.1"
WITHDRAWN = "compromised release of 2026-10-21; the whole line was withdrawn and the signing key rotated; use 1.109.1"
HISTOGRAMS = "every histogram is lost with its metrics port of its own, and none other was tried with it; use 1.109.1"
SQL = "anybody may run SQL through the check of keys (CVE-2026-42208, known to be exploited)"
HOST = "a user of a virtual key becomes administrator and runs code on the host (CVE-2026-114612)"
LUA = "a client runs code on the host through a Lua script (CVE-2025-49844)"
KEYS = (
    "requests pass its API key check (CVE-2026-48746) and a pinned revision is not kept for every file (CVE-2026-47155)"
)
TOOLKIT = "a container with a GPU takes over its node (container toolkit, CVE-2025-23266; before 24.6.2 CVE-2024-0132)"
FALLBACK = "it does not know fallback.behavior, without which an outage of Prometheus removes replicas"
CRASH = "one crafted request stops the server (PYSEC-2026-4349, before 0.30 also PYSEC-2026-4353)"
CLIENT = "a client with the password may run code (urgent release of July 2026, CVE-2026-12087 and others)"
VAULT = "who may write a TriggerAuthentication reads files of the operator (CVE-2025-68476)"
TOKEN = "who may write a TriggerAuthentication gets the operator's token and so the cluster (CVE-2026-77524)"
PRICED = {**A10, "pricePerNodeHourUsd": 1}
SCALES = {"replicas": {"min": 1, "max": 2}}


def override(image: str, **values: Any) -> dict[str, Any]:
    """The small stack with another version of one image."""
    return stack(images={"overrides": {image: values}})


def bad(path: str, what: str, why: str, use: str) -> str:
    """How a version below a floor is refused."""
    return f"{path}: {what} must not be deployed: {why}; use {use} or newer"


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.82.7", STEALER),
        ("v1.82.7", STEALER),
        ("v1.82.8", STEALER),
        ("v1.107.0", WITHDRAWN),
        ("1.107.3", WITHDRAWN),
        ("v1.107.0-rc.1", WITHDRAWN),
        ("v1.110.0", HISTOGRAMS),
        ("v1.110.2-rc.1", HISTOGRAMS),
        ("v1.70.0", f"{SQL}; {HOST}; use 1.100.4 or newer"),
        ("v1.83.6", f"{SQL}; {HOST}; use 1.100.4 or newer"),
        ("v1.83.7", f"{HOST}; use 1.100.4 or newer"),
        ("v1.100.3", f"{HOST}; use 1.100.4 or newer"),
        ("v1.101.2", f"{HOST}; use 1.101.3 or newer"),
        ("v1.103.0", f"{HOST}; use 1.103.1 or newer"),
        ("v1.103.1-rc.2", f"{HOST}; use 1.103.1 or newer"),
        # a tag of two numbers is the first of its line
        ("v1.103", f"{HOST}; use 1.103.1 or newer"),
    ],
)
def test_bad_versions_of_litellm_are_refused(version, said):
    """Compromised, leaking and silent releases, with or without the v, each with its reason and a way out."""
    assert refusals(override("litellm", version=version)) == [LITELLM.format(version, said)]


@pytest.mark.parametrize(
    "version", ["v1.100.4", "v1.100.40", "v1.101.3", "v1.103.1", "v1.106.3", "v1.108.0", "v1.109.1", "v1.110.3",
                "v1.110.20", "v1.111.0", "v2.0.0"],
)  # fmt: skip
def test_neighbours_of_bad_versions_are_fine(version):
    """A floor is mended in its own line, a row that names versions is these only."""
    assert refusals(override("litellm", version=version)) == []


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (override("vllm", version="v0.8.3"), bad("images.overrides.vllm", "vllm v0.8.3", KEYS, "0.22.0")),
        (override("vllm-cpu", version="v0.21.9"), bad("images.overrides.vllm-cpu", "vllm-cpu v0.21.9", KEYS, "0.22.0")),
        (serving(image="r/vllm:v0.22.0rc1"), bad("models.m.image", "vllm v0.22.0rc1", KEYS, "0.22.0")),
        (override("redis", version="7.2.4-alpine"), bad("images.overrides.redis", "redis 7.2.4-alpine", LUA, "7.2.11")),
        (override("redis", version="7.0.15"), bad("images.overrides.redis", "redis 7.0.15", LUA, "7.2.11")),
        (override("redis", version="8.2.1-trixie"), bad("images.overrides.redis", "redis 8.2.1-trixie", LUA, "8.2.2")),
        (
            stack(charts={"gpu-operator": {"version": "v25.3.0"}}),
            bad("charts.gpu-operator.version", "gpu-operator v25.3.0", TOOLKIT, "25.3.1"),
        ),
        (
            {**serving(**SCALES), "charts": {"keda": {"version": "2.16.1"}}},
            bad("charts.keda.version", "keda 2.16.1", FALLBACK, "2.17.0"),
        ),
    ],
)  # fmt: skip
def test_bad_versions_of_everything_else_are_refused(raw, said):
    """Images by override and by model, and charts, with the floor of the same line."""
    assert refusals(raw) == [said]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            serving(PRICED, image="r/vllm:v0.31.0", engineVersion="0.32.0"),
            [f"vllm v0.31.0: {CRASH}; use 0.32.0 or newer"],
        ),
        (
            {**serving(PRICED), "images": {"overrides": {"redis": {"version": "8.0.6"}}}},
            [f"redis 8.0.6: {CLIENT}; use 8.2.8 or newer"],
        ),
        (
            {**serving(PRICED, **SCALES), "charts": {"keda": {"version": "2.18.0"}}},
            [f"keda 2.18.0: {VAULT}; {TOKEN}; use 2.21.0 or newer"],
        ),
        # an image that is not used warns nobody
        (
            {**serving(PRICED), "images": {"overrides": {"redis": {"version": "8.0.6"}}},
             "gateway": {"existingSecret": "k", "redis": {"kind": "existing", "host": "r"}}},
            [],
        ),
    ],
)  # fmt: skip
def test_faults_that_need_somebody_inside_are_a_warning(raw, said):
    """What is deployed goes on, and the reviewer reads why it should not for long."""
    found = [line for line in planned(raw).warnings if line.startswith(("vllm v", "redis", "keda", "gpu-operator"))]
    assert found == said


def test_no_row_is_about_what_is_pinned_or_about_nothing():
    """What the catalogue pins is neither refused nor warned of, and every row is about something that is pinned."""
    pinned = {name: image.version for name, image in CATALOG.images.items()}
    pinned |= {name: chart.version for name, chart in CATALOG.charts.items()}
    assert {name for bad in CATALOG.known_bad for name in bad.of} <= pinned.keys()
    said = [
        known_bad._sentence(name, version, severity, CATALOG)
        for name, version in pinned.items()
        for severity in ("refuse", "warn")
    ]
    assert set(said) == {None}


@properties(300)
@given(
    st.sampled_from(sorted({name for bad in CATALOG.known_bad for name in bad.of})),
    st.sampled_from([0, 1, 2, 6, 7, 8, 24, 25, 26, 72]),
    st.integers(0, 120),
    st.integers(0, 20),
    st.sampled_from(["", "-rc.1", "-alpine", "rc2", "-cu129"]),
)
def test_what_is_offered_is_not_refused(name, major, minor, patch, rest):
    """Of any version, in one step: nobody is sent from one refused version to another."""
    said = known_bad._sentence(name, f"v{major}.{minor}.{patch}{rest}", "refuse", CATALOG)
    if said is not None:
        offered = said.rpartition("; use ")[2].removesuffix(" or newer")
        assert known_bad._sentence(name, offered, "refuse", CATALOG) is None
