"""Which image runs: overrides, mirrors, floating tags, known-bad versions, digests."""

import dataclasses
from typing import Any

import pytest

from planning.plan.pods import ImagePlan
from planning.stack.images import is_floating, mirror_repository, resolve_images
from settings.schema import ImagesSettings
from tests.unit.small_stack import A10, CATALOG, CPU, MODEL, planned, refusals, server, serving, stack

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def override(image: str, **values: Any) -> dict[str, Any]:
    """The small stack with another version of one image."""
    return stack(images={"overrides": {image: values}})


# --- tags -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tag",
    ["latest", "main", "main-latest", "main-stable", "stable", "nightly", "nightly-abc", "dev", "lts", "edge", "v1",
     "7", "release", "v0.33.0-latest", "alpine", "", "v1.2.3-nightly"],
)  # fmt: skip
def test_tags_that_move_are_recognised(tag):
    """Words for a line of development, a major version alone, and tags without any number."""
    assert is_floating(tag)


@pytest.mark.parametrize(
    "tag", ["v0.33.0", "0.33.0-cu129", "8.10.1-trixie", "3.14.7-slim-trixie", "26.10-py3", "v1.109.1", "2026.11.1"]
)
def test_versions_are_no_floating_tags(tag):
    """A version with more than one number names one image."""
    assert not is_floating(tag)


@pytest.mark.parametrize("image", ["vllm", "vllm-cpu", "litellm", "redis", "python"])
@pytest.mark.parametrize("extra", [{}, {"digest": DIGEST}])
def test_floating_tags_are_refused(image, extra):
    """For every image, whether it is used or not; a digest beside it does not make the name honest."""
    assert refusals(override(image, version="main-latest", **extra)) == [
        f'images.overrides.{image}: "main-latest" is a floating tag; name an exact version'
    ]


# --- which image ------------------------------------------------------------------------------------------------------


def test_an_override_changes_what_it_names():
    """Another version loses the digest of the old one; the user stays."""
    images = {
        "vllm": {"version": "v0.32.0"},
        "litellm": {"digest": DIGEST},
        "redis": {"repository": "registry.corp/redis", "version": "8.9.0", "digest": DIGEST},
    }
    plan = planned(stack(images={"overrides": images}))
    found = {image.name: image for image in plan.images}
    reference = "docker.io/vllm/vllm-openai:v0.32.0"
    assert found["vllm"] == ImagePlan(
        "vllm", reference, "v0.32.0", 2000, 0, pinned=False, upstream=reference, engine="0.32.0"
    )
    reference = f"ghcr.io/berriai/litellm-non_root:v1.109.1@{DIGEST}"
    assert found["litellm"] == ImagePlan(
        "litellm", reference, "v1.109.1", 65534, 65534, pinned=True, upstream=reference
    )
    assert found["redis"].reference == f"registry.corp/redis:8.9.0@{DIGEST}"


@pytest.mark.parametrize(
    ("override", "reference"),
    [
        ({}, f"docker.io/vllm/vllm-openai:v0.33.0@{DIGEST}"),
        # the digest of one version is not that of another
        ({"version": "v0.32.0"}, "docker.io/vllm/vllm-openai:v0.32.0"),
        ({"version": "v0.32.0", "digest": OTHER}, f"docker.io/vllm/vllm-openai:v0.32.0@{OTHER}"),
        ({"digest": OTHER}, f"docker.io/vllm/vllm-openai:v0.33.0@{OTHER}"),
        # a copy in another registry has the same content
        ({"repository": "reg.corp/vllm"}, f"reg.corp/vllm:v0.33.0@{DIGEST}"),
    ],
)
def test_a_digest_of_the_catalogue_holds_for_its_version(override, reference):
    """Where the catalogue has read a digest, it is used until another version or digest is named."""
    pinned = CATALOG.images["vllm"].model_copy(update={"digest": DIGEST})
    catalog = dataclasses.replace(CATALOG, images={**CATALOG.images, "vllm": pinned})
    settings = ImagesSettings.model_validate({"overrides": {"vllm": override}})
    assert resolve_images(settings, "generic", catalog)[0]["vllm"].reference == reference


@pytest.mark.parametrize(
    ("repository", "mirror", "expected"),
    [
        ("docker.io/vllm/vllm-openai", None, "docker.io/vllm/vllm-openai"),
        ("docker.io/vllm/vllm-openai", "reg.corp:5000/hub/", "reg.corp:5000/hub/vllm/vllm-openai"),
        ("vllm/vllm-openai", "reg.corp", "reg.corp/vllm/vllm-openai"),
        ("localhost/vllm", "reg.corp", "reg.corp/vllm"),
        ("redis", "reg.corp", "reg.corp/redis"),
        # somebody has written the mirror already
        ("reg.corp/hub/vllm/vllm-openai", "reg.corp/hub", "reg.corp/hub/vllm/vllm-openai"),
        ("reg.corp/hub/vllm/vllm-openai", "reg.corp/hub/", "reg.corp/hub/vllm/vllm-openai"),
    ],
)
def test_a_mirror_takes_the_place_of_the_registry(repository, mirror, expected):
    """The host is replaced, the path is kept, and what is there already stays."""
    assert mirror_repository(repository, mirror) == expected


def test_a_mirror_holds_for_every_image():
    """Nothing is pulled from anywhere else."""
    plan = planned(stack(images={"mirror": "reg.corp/hub"}))
    assert {image.reference.rpartition("/")[0] for image in plan.images} == {
        "reg.corp/hub/vllm",
        "reg.corp/hub/berriai",
        "reg.corp/hub/library",
    }
    # and it is still known where the mirror has them from
    assert {image.upstream for image in plan.images} == {image.reference for image in planned(stack()).images}


@pytest.mark.parametrize(
    ("reference", "expected", "version"),
    [
        ("vllm/vllm-openai:v0.33.0", "vllm/vllm-openai:v0.33.0", "v0.33.0"),
        ("reg:5000/vllm:v0.33.0", "reg:5000/vllm:v0.33.0", "v0.33.0"),
        (f"vllm/vllm-openai@{DIGEST}", f"vllm/vllm-openai@{DIGEST}", "by digest"),
        (f"vllm/vllm-openai:v0.33.0@{DIGEST}", f"vllm/vllm-openai:v0.33.0@{DIGEST}", "v0.33.0"),
    ],
)
def test_a_model_may_have_an_image_of_its_own(reference, expected, version):
    """By version, by digest, or both; it runs as the user of the image it replaces."""
    told: dict[str, Any] = {"engineVersion": "0.33.0"} if version == "by digest" else {}
    found = server(serving(image=reference, **told)).image
    assert found == ImagePlan(
        "vllm", expected, version, 2000, 0, pinned="@" in reference, upstream=reference, engine="0.33.0"
    )


def test_a_cpu_server_has_the_cpu_image():
    """The CUDA image does not run there."""
    found = server(serving(CPU, model="Qwen/Qwen3-8B-AWQ", contextTokens=8192)).image
    assert (found.name, found.reference) == ("vllm-cpu", "docker.io/vllm/vllm-openai-cpu:v0.33.0")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("vllm/vllm-openai", '"vllm/vllm-openai" must be repository:version or repository@sha256:…'),
        ("reg:5000/vllm", '"reg:5000/vllm" must be repository:version or repository@sha256:…'),
        ("", '"" must be repository:version or repository@sha256:…'),
        ("a b:v1.2.3", '"a b:v1.2.3" must be repository:version or repository@sha256:…'),
        ("vllm@sha256:abc", '"vllm@sha256:abc" must be repository:version or repository@sha256:…'),
        ("vllm:v0.33.0\n", "holds the character U+000A at position 13, which no setting may have"),
        ("vllm/vllm-openai:latest", '"latest" is a floating tag; name an exact version'),
    ],
)
def test_an_image_that_is_not_exact_is_refused(reference, said):
    """Neither a missing nor a floating version goes through, nor what no container runtime would take for a name."""
    assert refusals(serving(image=reference)) == [f"models.m.image: {said}"]


@pytest.mark.parametrize(
    ("reference", "meant"),
    [
        ("https://ghcr.io/vllm/vllm-openai:v0.33.0", "ghcr.io/vllm/vllm-openai:v0.33.0"),
        ("reg:5000/vLLM/vllm-openai:v0.33.0-RC1", "reg:5000/vllm/vllm-openai:v0.33.0-RC1"),
    ],
)
def test_the_image_that_was_meant_is_offered(reference, meant):
    """A scheme and upper case are no part of a repository."""
    assert refusals(serving(image=reference)) == [
        f"models.m.image: \"{reference}\" must be repository:version or repository@sha256:…; did you mean '{meant}'?"
    ]


def test_an_image_of_an_unknown_version_is_said():
    """A digest alone says nothing of faults that are known, and the reader learns that nobody has looked."""
    image: dict[str, Any] = {"image": f"vllm/vllm-openai@{DIGEST}", "engineVersion": "0.33.0"}
    plan = planned(serving({**A10, "pricePerNodeHourUsd": 1}, **image))
    assert plan.warnings == (
        (
            f"image vllm/vllm-openai@{DIGEST}: a digest does not say which version it is, so nothing is known of its "
            "faults; write repository:version@sha256:…"
        ),
    )


# --- digests ----------------------------------------------------------------------------------------------------------


def test_demanded_digests_are_those_of_the_images_that_are_used():
    """Every image that would be pulled is named with the key that pins it."""
    said = "is not known; give images.overrides.{}.digest, or write the image of a model as repository@sha256:…"
    used = {
        "vllm": "docker.io/vllm/vllm-openai:v0.33.0",
        "litellm": "ghcr.io/berriai/litellm-non_root:v1.109.1",
        "vllm-cpu": "docker.io/vllm/vllm-openai-cpu:v0.33.0",
        "redis": "docker.io/library/redis:8.10.1-trixie",
        "python": "docker.io/library/python:3.14.7-slim-trixie",
    }
    assert refusals(stack(images={"requireDigests": True})) == [
        f"images.requireDigests: the digest of {reference} {said.format(name)}" for name, reference in used.items()
    ]


def test_demanded_digests_that_are_given_satisfy():
    """With a digest for each image that is used, and pinned weights, there is nothing to refuse."""
    images = {name: {"digest": DIGEST} for name in ("vllm", "litellm", "vllm-cpu", "redis", "python")}
    plan = planned(stack(images={"requireDigests": True, "overrides": images}))
    assert (plan.unpinned, {image.pinned for image in plan.images}) == ((), {True})


def test_demanded_digests_hold_for_weights():
    """A model without a known commit is refused; one that is given is enough."""
    images = {name: {"digest": DIGEST} for name in ("vllm", "litellm", "vllm-cpu", "redis", "python")}
    unpinned = {**MODEL, "model": "Qwen/Qwen3-4B-AWQ"}
    raw = stack(images={"requireDigests": True, "overrides": images}, models={"m": unpinned})
    assert refusals(raw) == [
        "models.m.revision: images.requireDigests is true and the catalogue pins no commit; give one"
    ]
    assert refusals({**raw, "models": {"m": {**unpinned, "revision": "f" * 40}}}) == []


def test_what_is_not_pinned_is_listed():
    """Images without a digest and weights without a commit, for the reader of the preview."""
    plan = planned(serving(model="Qwen/Qwen3-4B-AWQ"))
    assert plan.unpinned == (
        "docker.io/library/python:3.14.7-slim-trixie",
        "docker.io/library/redis:8.10.1-trixie",
        "docker.io/vllm/vllm-openai-cpu:v0.33.0",
        "docker.io/vllm/vllm-openai:v0.33.0",
        "ghcr.io/berriai/litellm-non_root:v1.109.1",
        "Qwen/Qwen3-4B-AWQ@main",
    )


def test_the_cpu_image_is_pulled_for_downloads_and_for_cpu_servers_only():
    """With weights on a claim that exists nothing is downloaded, and only a CPU server still needs the image."""
    there = {"kind": "existingClaim", "claimName": "disk"}
    downloaded, found = planned(stack()), planned(stack(weights=there))
    on_cpu = planned({**serving(CPU, model="Qwen/Qwen3-8B-AWQ", contextTokens=4096), "weights": there})
    names = [{image.name for image in plan.images} & {"vllm", "vllm-cpu"} for plan in (downloaded, found, on_cpu)]
    assert names == [{"vllm", "vllm-cpu"}, {"vllm"}, {"vllm-cpu"}]


def test_images_that_are_not_used_need_no_digest():
    """No Redis of our own, and no nodes to verify: neither image is pulled."""
    raw = stack(
        gateway={"existingSecret": "k", "redis": {"kind": "existing", "host": "redis.corp"}},
        gpuOperator={"verifyNodes": False},
    )
    assert sorted(image.name for image in planned(raw).images) == ["litellm", "vllm", "vllm-cpu"]
