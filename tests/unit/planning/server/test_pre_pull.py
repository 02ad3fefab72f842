"""What nodes pull beforehand, on which pools, and what a start is said to take there."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from planning.plan.pools import ComputeClass, Karpenter
from planning.plan.servers import Phase
from tests.unit.small_stack import planned, properties, refusals, stack

IMAGE = f"registry.example.com/models/small@sha256:{'a' * 64}"
EXISTING = {"kind": "existing", "nodeNames": ["gpu-1"]}
LABELLED = {"kind": "labelled"}
GKE = {"kind": "computeClass", "machineTypes": ["g2-standard-8"]}
AWS = {"kind": "karpenter", "instanceTypes": ["g6.xlarge"]}
SMALL = {"model": "Qwen/Qwen3-0.6B", "contextTokens": 4096}


def pulling(provisioning, models=None, **sections):
    """A stack with a pool for each way to provision, one small model on each unless `models` says otherwise."""
    pools = {
        f"p{number}": {"gpu": "nvidia-l4", "nodes": 1, "gpusPerNode": 1, "provisioning": how}
        for number, how in enumerate(provisioning)
    }
    served = models or {f"m{number}": {**SMALL, "pool": name} for number, name in enumerate(pools)}
    return stack(gpuPools=pools, models=served, images={"prePull": True}, **sections)


def phases(plan, name):
    """What a start of the server is made of."""
    return next(server.timing.phases for server in plan.servers if server.name == name)


def test_all_images_of_a_pool_are_pulled_once():
    """Those of servers and canaries, what runs beside them, and those with weights; in the order of the servers."""
    models = {"a": {**SMALL, "pool": "p0", "canary": {"weight": 5, "image": "vllm/vllm-openai:v0.33.1"}}}
    raw = pulling(
        [{**LABELLED}],
        models,
        weights={"kind": "image", "reference": IMAGE},
        compileCache={"kind": "claim", "storageClass": "nfs"},
    )
    raw["gpuPools"]["p0"]["nodes"] = 2
    (pull,) = planned(raw).pre_pulls
    names = [image.reference.partition("@")[0] for image in pull.containers]
    assert (names[0][:29], names[1], names[2][:24]) == (
        "docker.io/vllm/vllm-openai:v0",
        "vllm/vllm-openai:v0.33.1",
        "docker.io/library/python",
    )
    assert (len(names), pull.volumes, pull.pool.name) == (3, (IMAGE,), "p0")


@given(st.lists(st.sampled_from(["existing", "labelled", "computeClass", "karpenter"]), min_size=1, max_size=3))
@properties(30)
def test_only_nodes_that_exist_pull_beforehand(kinds):
    """Whatever pools there are: each that has nodes and servers, and nothing where nodes are bought."""
    ways = {"existing": EXISTING, "labelled": LABELLED, "computeClass": GKE, "karpenter": AWS}
    provisioning = [
        {**ways[kind], **({"nodeNames": [f"gpu-{number}"]} if kind == "existing" else {})}
        for number, kind in enumerate(kinds)
    ]
    raw = pulling(provisioning)
    there = [f"p{number}" for number, kind in enumerate(kinds) if kind in ("existing", "labelled")]
    if not there:
        (said,) = refusals(raw)
        assert said == (
            "images.prePull: no server is on nodes with GPUs that exist, and nodes that are bought need disks with the "
            "images on them (docs/operations.md, A faster start); leave it out"
        )
        return
    plan = planned(raw)
    assert [pull.pool.name for pull in plan.pre_pulls] == there
    for server in plan.servers:
        bought = isinstance(plan.pools[server.pool].provisioning, (Karpenter, ComputeClass))
        first = [phase for phase in server.timing.phases if phase.name in ("node", "image")]
        assert (first == [Phase("image", 0, "images.prePull")]) == (not bought)
        assert sum(phase.seconds for phase in server.timing.phases) == server.timing.cold_start_s


def test_a_bought_node_is_said_to_pull_for_its_first_pod():
    """Its start takes what it took before; that of a pod on nodes that exist is said to find its image."""
    plan, before = (planned({**pulling([EXISTING, GKE]), **changes}) for changes in ({}, {"images": {}}))
    assert phases(plan, "vllm-m1") == phases(before, "vllm-m1")
    assert phases(plan, "vllm-m0") == (Phase("image", 0, "images.prePull"), *phases(before, "vllm-m0"))


def test_no_deadline_and_no_alert_counts_on_it():
    """A node may not be through with it: all that follows from a start is as it was, of an image with weights too."""
    raw = pulling([LABELLED], weights={"kind": "image", "reference": IMAGE})
    now, before = (planned({**raw, "images": images}) for images in (raw["images"], {}))
    (first, *rest) = now.servers[0].timing.phases
    assert first == Phase("image", 0, "images.prePull")
    assert replace(now.servers[0].timing, phases=tuple(rest)) == before.servers[0].timing
    assert now.observability == before.observability


def test_nodes_without_gpus_pull_nothing_beforehand():
    """They are those of everybody else too; the image of a server on CPUs goes where a server is."""
    cpu = {"gpu": "none", "nodes": 1, "cpusPerNode": 32, "memoryGibPerNode": 128}
    models = {"m": {"model": "Qwen/Qwen3-0.6B", "pool": "cpu"}}
    (said,) = refusals(stack(gpuPools={"cpu": cpu}, models=models, images={"prePull": True}))
    assert said.startswith("images.prePull: no server is on nodes with GPUs that exist")
