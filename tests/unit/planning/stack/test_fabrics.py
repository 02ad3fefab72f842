"""Networks between the nodes of a replica: what pods get for each kind, and what is refused with what to write instead.

That NCCL uses one is not proved: no test here has such cards.
"""

from typing import Any, get_args

import pytest

from planning.stack.fabrics import fabric_problems
from settings.schema import FabricName, StackSettings
from tests.unit.small_stack import CATALOG, H200, checked, planned, refusals, stack

IMAGE = {"image": "registry.example.com/vllm-efa:0.33.0", "engineVersion": "0.33.0"}
KARPENTER = {"kind": "karpenter", "instanceTypes": ["p5.48xlarge"], "discoveryTag": "llm"}
EFA = {"interconnect": "efa", "resources": {"vpc.amazonaws.com/efa": 32}}
IB = {"interconnect": "rdma", "resources": {"rdma/ib": 1}}
TYPE = "node.kubernetes.io/instance-type"
NO_IMAGE = (
    "models.r1.image: is missing: pool 'p' has interconnect efa, and vLLM's own image has no libfabric and its plugin "
    "for NCCL (aws-ofi-nccl), without which NCCL does not start; name an image that has them (vLLM's "
    "docker/Dockerfile.efa makes one), or use interconnect: tcp"
)
UNCOUNTED = (
    "gpuPools.p.interconnect: is efa, and how many cards a node has is not known; write resources: "
    "{vpc.amazonaws.com/efa: N} with as many as its nodes offer (p5.48xlarge has 32)"
)
UNSPANNED = "and no replica on pool 'p' spans nodes; leave it out"


def joined(pool: dict[str, Any], model: dict[str, Any] | None = None, platform: str = "generic", **sections: Any):
    """DeepSeek-R1 over two nodes of eight H100, with this said of its pool, and of itself."""
    return stack(
        cluster={"context": "c", "identifier": "i", "platform": platform},
        gpuPools={"p": {"gpu": "nvidia-h100", "nodes": 2, "gpusPerNode": 8, **pool}},
        models={"r1": {"model": "deepseek-ai/DeepSeek-R1", "pool": "p", **(model or {})}},
        **sections,
    )


def test_the_table_has_what_a_pool_may_say():
    """Each kind has its facts, and no other."""
    assert sorted(CATALOG.fabrics) == sorted(get_args(FabricName))


@pytest.mark.parametrize(
    ("raw", "resources", "environment"),
    [
        (joined({}), {}, {}),
        (joined({"interconnect": "tcp"}), {}, {}),
        # what a pool asks for, all of its pods do
        (joined(IB), {}, {"NCCL_NET": "IB"}),
        (
            joined({**IB, "interconnect": "roce"}, {"env": {"NCCL_IB_GID_INDEX": "3", "NCCL_IB_HCA": "mlx5"}}),
            {},
            {"NCCL_NET": "IB", "NCCL_IB_GID_INDEX": "3", "NCCL_IB_HCA": "mlx5"},
        ),
        (
            joined(EFA, IMAGE),
            {"hugepages-2Mi": "5120Mi"},
            {"NCCL_NET": "AWS Libfabric", "FI_PROVIDER": "efa"},
        ),
        # of nodes that are bought nobody counts huge pages, and those of the node are not the pod's
        (
            joined({"interconnect": "efa", "provisioning": KARPENTER}, IMAGE, "eks"),
            {"vpc.amazonaws.com/efa": "32"},
            {"NCCL_NET": "AWS Libfabric", "FI_PROVIDER": "efa", "FI_EFA_USE_HUGE_PAGE": "0"},
        ),
        (
            joined(
                {
                    "interconnect": "efa",
                    "provisioning": {**KARPENTER, "instanceTypes": ["p5e.48xlarge", "p5en.48xlarge"]},
                    "gpu": "nvidia-h200",
                    "resources": {"hugepages-2Mi": "1024Mi"},
                },
                {**IMAGE, "pipelineParallel": 2, "tensorParallel": 8},
                "eks",
            ),
            {"vpc.amazonaws.com/efa": "16"},
            {"NCCL_NET": "AWS Libfabric", "FI_PROVIDER": "efa"},
        ),
        (
            joined(
                {"interconnect": "efa", "provisioning": {"kind": "labelled", "labels": {TYPE: "p5.48xlarge"}}},
                {**IMAGE, "env": {"FI_EFA_USE_HUGE_PAGE": "0"}},
                "eksBottlerocket",
            ),
            {"vpc.amazonaws.com/efa": "32"},
            {"NCCL_NET": "AWS Libfabric", "FI_PROVIDER": "efa", "FI_EFA_USE_HUGE_PAGE": "0"},
        ),
        (
            joined(EFA, images={"overrides": {"vllm": {"repository": "registry.example.com/vllm-efa"}}}),
            {"hugepages-2Mi": "5120Mi"},
            {"NCCL_NET": "AWS Libfabric", "FI_PROVIDER": "efa"},
        ),
    ],
)
def test_pods_ask_for_cards_and_nccl_is_told_its_one_network(raw: Any, resources: Any, environment: Any):
    """Each kind asks for what it needs beside what the pool asks for; variables of the model's own stand beside."""
    (server,) = planned(raw).servers
    assert server.fabric is not None
    told = {key: value for key, value in server.env.items() if key.startswith(("NCCL_", "FI_"))}
    assert (server.nodes_per_replica, server.fabric.resources, told) == (2, resources, environment)


def test_a_server_on_one_node_gets_nothing_of_it():
    """Beside a replica over two nodes, a small server of the same pool asks for no card, and NCCL is told nothing."""
    raw = joined({"interconnect": "efa", "nodes": 3, "provisioning": KARPENTER}, IMAGE, "eks")
    raw["models"]["small"] = {"model": "Qwen/Qwen3-0.6B", "pool": "p"}
    small = next(server for server in planned(raw).servers if server.model_name == "small")
    assert (small.fabric, [key for key in small.env if key.startswith(("NCCL_", "FI_"))]) == (None, [])


@pytest.mark.parametrize(
    ("pool", "model", "platform", "messages"),
    [
        (
            {"interconnect": "nvlink"},
            {},
            "generic",
            [
                (
                    "gpuPools.p.interconnect: nvlink is the link inside a node, and this is the network between nodes; "
                    "write gpuLink: nvlink"
                )
            ],
        ),
        (
            {"interconnect": "auto"},
            {},
            "generic",
            [
                (
                    "gpuPools.p.interconnect: auto is the link inside a node, and this is the network between nodes; "
                    "leave it out"
                )
            ],
        ),
        ({"interconnect": "efa", "provisioning": KARPENTER}, {}, "eks", [NO_IMAGE]),
        ({"interconnect": "efa"}, IMAGE, "eks", [UNCOUNTED]),
        (
            {"interconnect": "efa", "provisioning": {**KARPENTER, "instanceTypes": ["p5.48xlarge", "p5x.48xlarge"]}},
            IMAGE,
            "eks",
            [UNCOUNTED],
        ),
        (
            {
                **EFA,
                "gpu": "nvidia-l4",
                "provisioning": {**KARPENTER, "instanceTypes": ["g6.xlarge"]},
                "gpusPerNode": 1,
            },
            {"model": "Qwen/Qwen3-8B", "pipelineParallel": 2},
            "eks",
            [
                (
                    "gpuPools.p.provisioning.instanceTypes[0]: g6.xlarge has no Elastic Fabric Adapter, and "
                    "interconnect is efa; use another (g6.8xlarge has 1, g6.16xlarge has 1), or leave that out"
                )
            ],
        ),
        (
            {**EFA, "resources": {"vpc.amazonaws.com/efa": 33}, "provisioning": KARPENTER},
            IMAGE,
            "eks",
            ["gpuPools.p.resources.vpc.amazonaws.com/efa: is 33, and p5.48xlarge has 32; use 32, or leave it out"],
        ),
        (
            EFA,
            {**IMAGE, "env": {"NCCL_NET": "Socket"}},
            "eks",
            [
                (
                    "models.r1.env.NCCL_NET: is Socket, and pool 'p' has interconnect efa, with which it cannot be; "
                    "leave it out, or use interconnect: tcp"
                )
            ],
        ),
        (
            IB,
            {"env": {"NCCL_IB_DISABLE": "1"}},
            "generic",
            [
                (
                    "models.r1.env.NCCL_IB_DISABLE: is 1, and pool 'p' has interconnect rdma, with which it cannot be; "
                    "leave it out, or use interconnect: tcp"
                )
            ],
        ),
        (
            {"interconnect": "roce", "resources": {"hugepages-2Mi": "512Mi"}},
            {},
            "generic",
            [
                (
                    "gpuPools.p.interconnect: is roce, and nothing asks for its cards, which are called differently in "
                    "each cluster; write resources: {NAME: 1} with the name that nodes offer them by (rdma/*, "
                    "nvidia.com/*, mellanox.com/*, openshift.io/*, intel.com/*)"
                )
            ],
        ),
        (
            {"resources": {"rdma/ib": 1}},
            {},
            "generic",
            [
                (
                    "gpuPools.p.interconnect: is tcp, and resources asks for rdma/ib, so vllm-r1 would talk over its "
                    "nodes by whatever NCCL finds; write interconnect: rdma or roce, or leave rdma/ib out"
                )
            ],
        ),
        (
            {"resources": {"rdma/ib": 1}},
            {},
            "gke",
            [
                (
                    "gpuPools.p.interconnect: is tcp, and resources asks for rdma/ib, so vllm-r1 would talk over its "
                    "nodes by whatever NCCL finds; leave rdma/ib out"
                )
            ],
        ),
        (
            {**IB, "gpu": "nvidia-h200", "exclusiveTopology": "example.com/rack"},
            {},
            "generic",
            [
                f"gpuPools.p.interconnect: is rdma, {UNSPANNED}",
                f"gpuPools.p.exclusiveTopology: is of replicas over several nodes, {UNSPANNED}",
            ],
        ),
        (
            {**IB, "mig": {"profile": "3g.40gb"}},
            {"model": "Qwen/Qwen3-0.6B"},
            "generic",
            ["gpuPools.p.interconnect: is rdma, and no replica on parts of cards spans nodes; leave it out"],
        ),
        (
            {"gpu": "none", "gpusPerNode": None, "cpusPerNode": 32, "memoryGibPerNode": 64, "interconnect": "rdma"},
            {"model": "Qwen/Qwen3-0.6B"},
            "generic",
            ["gpuPools.p: interconnect must be left out when gpu is none"],
        ),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_write(pool: Any, model: Any, platform: str, messages: list[str]):
    """Once each, and nothing that only follows from it."""
    raw = joined(pool, model, platform)
    raw["gpuPools"]["p"] = {key: value for key, value in raw["gpuPools"]["p"].items() if value is not None}
    assert refusals(raw) == messages


def test_a_resource_that_may_be_anything_is_left_alone():
    """What is of a vendor and no network card by its name is asked for beside TCP, too."""
    assert refusals(joined({"resources": {"intel.com/qat": 1, "hugepages-2Mi": "512Mi"}})) == []


def test_no_secret_takes_the_place_of_what_nccl_is_told():
    """A variable from a Secret would come last, and so be the one that counts."""
    raw = joined(IB, {"secretEnv": {"NCCL_NET": {"name": "mine", "key": "net"}}})
    assert refusals(raw) == [
        "models.r1.secretEnv.NCCL_NET: is decided by gpuPools.p.interconnect; leave it out",
    ]


def test_a_network_is_where_its_platform_has_one():
    """Kind → platforms on which a pool of labelled nodes that asks for its cards may say it."""

    def refused(kind: str, platform: str) -> bool:
        card = {"efa": "vpc.amazonaws.com/efa"}.get(kind, "rdma/ib")
        settings: StackSettings = checked(joined({"interconnect": kind, "resources": {card: 1}}, platform=platform))
        return bool([*fabric_problems("p", settings.gpu_pools["p"], settings, CATALOG)])

    aws = ["eks", "eksAuto", "eksBottlerocket"]
    own = ["generic", "openshift", "rke2", "k3s"]
    places = {kind: [name for name in CATALOG.platforms if not refused(kind, name)] for kind in CATALOG.fabrics}
    assert {kind: sorted(names) for kind, names in places.items()} == {
        "tcp": sorted(CATALOG.platforms),
        "rdma": sorted([*own, "aks", "ack"]),
        "roce": sorted([*own, "aks", "ack"]),
        "efa": sorted([*own, *aws]),
        "gpudirect-tcpx": [],
    }


def test_a_broken_word_hides_nothing_else():
    """With an old value of this key, all that is wrong with the servers is still told."""
    raw = joined({"interconnect": "pcie"}, {"args": ["--no-such-option"]})
    assert [message.partition(":")[0] for message in refusals(raw)] == ["gpuPools.p.interconnect", "models.r1.args[0]"]


def test_a_reader_hears_what_nodes_images_and_zones_need():
    """Warnings of a pool with EFA: its cards, its zone, its image; and of labels that place replicas."""
    raw = joined({"interconnect": "efa", "provisioning": {**KARPENTER, "amiAlias": "al2023@v20261101"}}, IMAGE, "eks")
    efa = [line for line in planned(raw).warnings if "Fabric" in line or "efa" in line]
    (cards,) = [line for line in efa if line.startswith("pool p: its replicas over several nodes ask for 32")]
    assert [line for line in efa if line != cards] == [
        (
            "pool p: Elastic Fabric Adapter does not leave a zone, so its nodes have to be of one; else say "
            "exclusiveTopology: topology.kubernetes.io/zone, with which each replica is in a zone of its own"
        ),
        (
            "vllm-r1: its image has to have libfabric and its plugin for NCCL (aws-ofi-nccl), which nobody here has "
            "looked for: without them NCCL does not start, as it is told to use Elastic Fabric Adapter and nothing else"
        ),
    ]
    placed = joined({**IB, "nodes": 4, "exclusiveTopology": "example.com/rack"}, {"replicas": {"min": 2, "max": 2}})
    assert (
        "pool p: a replica over several nodes has one value of the label example.com/rack to itself, so there have to "
        "be 2, each on as many nodes as it spans; a replica that finds none waits"
    ) in planned(placed).warnings


def test_a_replica_with_a_place_to_itself_is_replaced_in_that():
    """With a node to spare another group would need a place of its own, so none is started beside it."""
    plans = [planned(joined({**IB, "nodes": 4, **more})) for more in ({}, {"exclusiveTopology": "example.com/rack"})]
    assert [(plan.servers[0].rollout.max_surge, plan.servers[0].rollout.max_unavailable) for plan in plans] == [
        (1, 0),
        (0, 1),
    ]


def test_the_link_inside_a_node_has_a_key_of_its_own():
    """Without a link between cards, pipeline stages take the place of tensor parallelism."""
    spreads = [
        str(planned(joined({**H200, **more}, {"model": "Qwen/Qwen3-235B-A22B"})).servers[0].parallelism)
        for more in ({}, {"gpuLink": "pcie"})
    ]
    assert spreads == ["TP 4", "TP 2 × PP 2"]
