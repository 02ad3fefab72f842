"""What a stack keeps, where, and what that costs a month where somebody has said what a GiB does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.plan.storage import Stored
from tests.unit.small_stack import MODEL, planned, properties, refusals, stack

IMAGE = f"registry.example.com/models/qwen3@sha256:{'a' * 64}"
WEIGHTS = "weights of Qwen/Qwen3-14B"
BUCKET = {"kind": "objectStore", "url": "s3://models", "credentials": {"kind": "none"}}


def stored(weights: dict[str, Any], **sections: Any) -> tuple[Stored, ...]:
    """What a stack with these weights keeps."""
    return planned(stack(weights=weights, **sections)).storage


def replicas(fewest: int, most: int) -> dict[str, Any]:
    """The one model with so many replicas of two GPUs."""
    return {"m": {**MODEL, "replicas": {"min": fewest, "max": most}}}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"storageClass": "nfs"}, Stored(WEIGHTS, "claim", "nfs", 48, 1, 1, None)),
        (
            {"storageClass": "nfs", "usdPerGibMonth": 0.3},
            Stored(WEIGHTS, "claim", "nfs", 48, 1, 1, 0.3),
        ),
        (
            {"storageClass": "hdml", "accessMode": "ReadOnlyMany", "usdPerGibMonth": 0.08},
            Stored(WEIGHTS, "claim", "hdml", 48, 2, 2, 0.08),
        ),
        ({"kind": "existingClaim", "claimName": "disk"}, Stored(WEIGHTS, "existing claim", "disk", 28.9, 1, 1, None)),
        ({**BUCKET, "usdPerGibMonth": 0.023}, Stored(WEIGHTS, "bucket", "s3://models", 28.9, 1, 1, 0.023)),
        ({"kind": "image", "reference": IMAGE}, Stored(WEIGHTS, "node", IMAGE, 29, 1, 3, None)),
        ({"kind": "image", "reference": IMAGE, "sizeGib": 60}, Stored(f"image {IMAGE}", "node", IMAGE, 60, 1, 3, None)),
    ],
)
def test_each_kind_says_how_much_it_keeps_and_where(weights, expected):
    """A clone is a second claim; an image is on as many nodes as have a pod, and a bucket has the files alone."""
    assert stored(weights, models=replicas(1, 3)) == (expected,)


@pytest.mark.parametrize(
    ("pool", "most_replicas", "expected"),
    [
        # four replicas of two GPUs share a node of eight
        ({"nodes": 1, "gpusPerNode": 8}, 4, (1, 1)),
        ({"nodes": 2, "gpusPerNode": 4}, 4, (1, 2)),
        ({"nodes": 4, "gpusPerNode": 2}, 3, (1, 3)),
    ],
)
def test_an_image_is_on_no_more_nodes_than_there_are(pool, most_replicas, expected):
    """However many pods they hold."""
    pools = {"a10": {"gpu": "nvidia-a10", **pool}}
    (image,) = stored({"kind": "image", "reference": IMAGE}, gpuPools=pools, models=replicas(1, most_replicas))
    assert (image.fewest, image.most) == expected


def test_an_image_is_on_every_node_of_a_replica():
    """Which is a group of pods, none of which shares a node with another."""
    models = {"m": {"model": "deepseek-ai/DeepSeek-R1", "pool": "h100"}}
    pools = {"h100": {"gpu": "nvidia-h100", "nodes": 2, "gpusPerNode": 8}}
    (image,) = stored({"kind": "image", "reference": IMAGE}, gpuPools=pools, models=models)
    assert (image.fewest, image.most) == (2, 2)


def test_copies_are_as_many_as_there_are_pods():
    """Beside what they are copied from; a server that may go to zero keeps none then."""
    weights = {"kind": "nodeCache", "storageClass": "nvme", "from": {"storageClass": "nfs"}, "usdPerGibMonth": 0.5}
    origin, copies = stored(weights, models=replicas(0, 3))
    assert origin == Stored(WEIGHTS, "claim", "nfs", 48, 1, 1, None)
    assert copies == Stored("copies of Qwen/Qwen3-14B for vllm-m", "node", "nvme", 32, 0, 3, 0.5)
    assert copies.usd_per_month == (0, 48)


def test_what_is_compiled_is_kept_too():
    """One claim of the stack, of the size that was asked for."""
    cache = {"kind": "claim", "storageClass": "nfs", "sizeGib": 50, "usdPerGibMonth": 0.1}
    assert stored({"storageClass": "nfs"}, compileCache=cache)[1:] == (
        Stored("what is compiled", "claim", "nfs", 50, 1, 1, 0.1),
    )


def test_one_image_with_several_checkpoints_is_one():
    """Where its size is said; else each checkpoint is a part of it. A canary is a pod more."""
    models = {"a": {**MODEL, "canary": {"weight": 5, "maxNumSeqs": 8}}, "b": {**MODEL, "model": "Qwen/Qwen3-14B-AWQ"}}
    image = {"kind": "image", "reference": IMAGE}
    assert stored({**image, "sizeGib": 60}, models=models) == (Stored(f"image {IMAGE}", "node", IMAGE, 60, 1, 3, None),)
    assert [(one.gib, one.most) for one in stored(image, models=models)] == [(29, 2), (10, 1)]


@pytest.mark.parametrize("weights", [{"storageClass": "nfs"}, BUCKET, {"kind": "image", "reference": IMAGE}])
def test_two_revisions_of_a_model_are_two(weights):
    """Each has files of its own."""
    models = {"m": {**MODEL, "canary": {"weight": 5, "revision": "f" * 40}}}
    first, second = stored(weights, models=models)
    assert (first.what, first.gib) == (second.what, second.gib) == (WEIGHTS, first.gib)


def test_one_place_has_one_price():
    """Two prices for one class are a mistake in one of them."""
    other = {**MODEL, "revision": "0" * 40, "weights": {"storageClass": "nfs", "usdPerGibMonth": 0.2}}
    raw = stack(weights={"storageClass": "nfs", "usdPerGibMonth": 0.1}, models={"m": MODEL, "n": other})
    assert refusals(raw) == [
        "models.n.weights: is the same place as weights, but differs in usdPerGibMonth; write the same in both"
    ]


PRICES = st.one_of(st.none(), st.floats(0.001, 10))
KINDS = st.sampled_from(
    [
        {"storageClass": "nfs"},
        {"storageClass": "hdml", "accessMode": "ReadOnlyMany"},
        BUCKET,
        {"kind": "nodeCache", "storageClass": "nvme", "from": {"storageClass": "nfs"}},
    ]
)


@given(kind=KINDS, price=PRICES, fewest=st.integers(0, 2), more=st.integers(0, 2))
@properties(40)
def test_a_price_changes_nothing_but_the_sums(kind, price, fewest, more):
    """Whatever is kept where: objects follow from none of it, and the most cost no less than the fewest."""
    models = replicas(fewest, max(1, fewest + more))
    free = planned(stack(weights=kind, models=models))
    plan = planned(stack(weights={**kind, **({"usdPerGibMonth": price} if price else {})}, models=models))
    assert [server.args for server in plan.servers] == [server.args for server in free.servers]
    assert [(one.gib, one.fewest, one.most) for one in plan.storage] == [
        (one.gib, one.fewest, one.most) for one in free.storage
    ]
    months = [one.usd_per_month for one in plan.storage if one.usd_per_month]
    assert bool(months) == bool(price)
    assert all(0 <= few <= many for few, many in months)
