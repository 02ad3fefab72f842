"""Which starts of a server share what was compiled, and what keeping it takes of a pod.

Whether vLLM compiles the same from the same arguments is not proved here.
"""

from dataclasses import replace
from typing import Any

import pytest

from catalog import load_catalog
from catalog.engine import Uncompiled
from planning import resolve_stack
from planning.plan.servers import CompileCacheClaim, Requests, ServerPlan
from planning.server.kept_cache import engine_requests, plan_kept_cache, sidecar_requests
from settings import Refused, validate
from tests.harness import merged, minimal, refusals

CLAIM = {"kind": "claim", "storageClass": "rwx"}


def server(changes: dict[str, Any] | None = None, cache: Any = CLAIM) -> ServerPlan:
    """The one server of a small stack that keeps what it compiles."""
    settings, problems = validate(merged(minimal(compileCache=cache), changes or {}))
    return resolve_stack(settings, load_catalog(), problems).servers[0]


def key(changes: dict[str, Any] | None = None) -> str:
    """Its key."""
    kept = server(changes).kept_cache
    assert kept is not None
    return kept.key


def model(**changes: Any) -> dict[str, Any]:
    """A change of the model's settings."""
    return {"models": {"small": changes}}


@pytest.mark.parametrize(
    "changes",
    [
        model(model="Qwen/Qwen3-0.6B-FP8"),
        model(revision="0" * 40),
        model(image="vllm/vllm-openai:v0.33.1"),
        model(image=f"vllm/vllm-openai:v0.33.0@sha256:{'0' * 64}"),
        model(contextTokens=4096),
        model(maxNumSeqs=8),
        model(maxNumBatchedTokens=4096),
        model(gpuMemoryUtilization=0.8),
        model(kvCacheDtype="fp8"),
        model(args=["--enforce-eager"]),
        model(args=["-O1"]),
        model(args=["--reasoning-parser=deepseek_r1"]),
        model(env={"VLLM_USE_DEEP_GEMM": "0"}),
        model(env={"TORCH_LOGS": "x"}),
        {"images": {"mirror": "registry.example.com"}},
        {"gpuPools": {"l4": {"gpu": "nvidia-a10"}}},
        {"gpuPools": {"l4": {"gpusPerNode": 2}}, "models": {"small": {"tensorParallel": 2}}},
    ],
    ids=str,
)
def test_whatever_may_change_what_is_compiled_has_another_key(changes):
    """Image, checkpoint, GPU, every argument and every variable: also the budget, which is in vLLM's own key."""
    assert key(changes) != key()


@pytest.mark.parametrize(
    "changes",
    [
        model(drainTimeoutS=90),
        model(env={"VLLM_LOGGING_LEVEL": "DEBUG"}),
        model(replicas={"max": 2}),
        model(cpus=8),
        model(memoryGib=40),
        {"cluster": {"namespace": "other", "context": "other"}},
        {"gpuPools": {"l4": {"nodes": 3}}},
        {"compileCache": {"storageClass": "other", "sizeGib": 100}},
        # how long a start may take
        {"weights": {"prewarm": False, "readMibPerS": 5}},
    ],
    ids=str,
)
def test_what_cannot_change_what_is_compiled_has_the_same_key(changes):
    """How a server is stopped, how much it logs, how many there are and where."""
    assert key(changes) == key()


def test_every_checkpoint_counts_whatever_the_arguments_say_of_it():
    """A path may stay the same while what is there changes, and one server may load several."""
    found = server()
    kept, first = found.kept_cache, found.checkpoint
    assert kept is not None
    other = replace(first, revision="0" * 40)
    keys = [
        plan_kept_cache(
            kept.claim,
            script_image=kept.image,
            image=found.image,
            checkpoints=checkpoints,
            gpu="g",
            nodes=1,
            args=[],
            env={},
            uncompiled=Uncompiled(),
        )
        for checkpoints in ([first], [other], [first, other], [first])
    ]
    assert len(set(keys)) == 3


def test_the_name_of_a_model_does_not_matter():
    """Two public names of one checkpoint share what they compile, as a canary shares it that only counts otherwise."""
    other = {"models": {"small": None, "other": {"model": "Qwen/Qwen3-0.6B", "pool": "l4", "contextTokens": 8192}}}
    assert key(other) == key()


def test_a_stack_that_keeps_nothing_declares_nothing_of_it():
    """The default."""
    settings, problems = validate(minimal())
    plan = resolve_stack(settings, load_catalog(), problems)
    assert (plan.compile_cache, plan.servers[0].kept_cache) == (None, None)
    assert server(cache={"kind": "none"}) == plan.servers[0]


def test_the_claim_is_as_it_was_asked_for():
    """Class and size."""
    kept = server(cache={**CLAIM, "sizeGib": 50}).kept_cache
    assert kept is not None
    assert (kept.claim, kept.image.name) == (CompileCacheClaim("compile-cache", "rwx", "ReadWriteMany", 50), "python")


def test_keeping_it_makes_no_pod_larger_but_by_its_log():
    """What the sidecar requests the engine does not; its own log is on top."""
    plain, kept = server(cache={"kind": "none"}), server()
    engine, sidecar = engine_requests(kept.resources, kept.scratch, kept.kept_cache), sidecar_requests(kept.scratch)
    assert engine == Requests(2950, 12 * 1024 - 64, plain.scratch.disk_mib)
    assert sidecar == Requests(50, 64, 64)
    assert kept.scratch.disk_mib == plain.scratch.disk_mib + 64


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ({"kind": "claim"}, ["compileCache.storageClass: is missing: storage class that offers accessMode"]),
        ({"kind": "disk"}, ["compileCache: kind 'disk' is not one of none, claim"]),
        ({**CLAIM, "sizeGib": 0}, ["compileCache.sizeGib: 0 must be at least 1"]),
        (
            {"kind": "none", "sizeGib": 1},
            ["compileCache.sizeGib: belongs to kind claim; leave it out, or use kind: claim"],
        ),
    ],
)
def test_what_is_not_well_formed_is_refused(cache, said):
    """Each with its path and the nearest fix."""
    assert refusals(minimal(compileCache=cache)) == said


ONE_NODE = {**CLAIM, "accessMode": "ReadWriteOnce"}


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("pools", [1, 2])
def test_a_claim_of_one_node_is_for_servers_of_one_node(nodes, pools):
    """Counted over the pools that have servers; a pool without one does not matter."""
    there = {f"l4-{number}": {"gpu": "nvidia-l4", "nodes": nodes, "gpusPerNode": 1} for number in range(pools)}
    models = {f"m{number}": {"model": "Qwen/Qwen3-0.6B", "pool": f"l4-{number}"} for number in range(pools)}
    empty = {"empty": {"gpu": "nvidia-l4", "nodes": 3, "gpusPerNode": 1}}
    raw = minimal(compileCache=ONE_NODE, gpuPools={"l4": None, **there, **empty}, models={"small": None, **models})
    said = (
        f"compileCache.accessMode: ReadWriteOnce lets pods of one node in, and the pools of the servers have "
        f"{nodes * pools}; use a class that offers ReadWriteMany, or kind: none"
    )
    assert refusals(raw) == ([said] if nodes * pools > 1 else [])


def test_an_image_without_a_digest_is_refused_where_digests_are_demanded():
    """The image of the script is one more that is pulled."""
    with pytest.raises(Refused) as refused:
        server({"images": {"requireDigests": True}, "gpuOperator": {"verifyNodes": False}})
    assert [problem.message for problem in refused.value.problems if "library/python" in problem.message] != []


def test_the_way_to_a_bucket_does_not_matter():
    """Another region, other keys or a proxy lead to the same files, of which the same is compiled."""
    bucket = {"kind": "objectStore", "url": "s3://models/published", "storageClass": None}
    keys = {"credentials": {"kind": "existingSecret", "name": "store"}}
    proxy = {"cluster": {"proxy": {"endpoint": "http://proxy.corp:3128"}}}
    assert (
        key({"weights": bucket | keys})
        == key({"weights": bucket | keys | {"region": "eu-central-1"}})
        == key({"weights": bucket | keys, **proxy})
    )
