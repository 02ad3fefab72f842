"""`GpuNodePool` on small stacks: what each way to get nodes declares, in which order, and how pods find the nodes.

Mocks answer for the cluster: that the API server, Karpenter or GKE accept the objects, and that the verification Job
judges real nodes rightly, is not proved here.
"""

import json
from typing import Any

import pytest

from catalog import load_catalog
from components.pod_scripts import verify_nodes
from tests.harness import (
    Config,
    Deployed,
    container_of,
    environment,
    merged,
    minimal,
    on_cpu,
    over_efa,
    pods,
    stack,
    two_nodes,
)

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
VERIFICATION = [
    ("ServiceAccount", "l4-verify", "verify-nodes-l4"),
    ("ClusterRole", "l4-verify", "llm-serving-verify-nodes-l4"),
    ("ClusterRoleBinding", "l4-verify", "llm-serving-verify-nodes-l4"),
    ("ConfigMap", "l4-verify", "verify-nodes-l4"),
    ("NetworkPolicy", "l4-verify", "verify-nodes-l4"),
    ("Job", "l4-verify", "verify-nodes-l4"),
]


def provisioned(**provisioning: Any) -> Config:
    """`minimal` with its two nodes from elsewhere."""
    return minimal(gpuPools={"l4": {"provisioning": provisioning}})


def placement(deployed: Deployed, server: str) -> dict[str, Any]:
    """What puts a server's pods on nodes."""
    spec = deployed.object("Deployment", server)["spec"]["template"]["spec"]
    return {key: spec[key] for key in ("nodeSelector", "affinity", "tolerations") if key in spec}


def verification(deployed: Deployed, pool: str) -> dict[str, str]:
    """What a pool's verification Job is told."""
    return environment(container_of(deployed.object("Job", f"verify-nodes-{pool}")))


# --- nodes found by label ---------------------------------------------------------------------------------------------


def test_labelled_nodes_are_verified_and_left_as_they_are():
    """Nodes found by label get no label and no taint from us; only the verification is declared."""
    deployed = stack(minimal())
    assert deployed.children("l4") == VERIFICATION
    assert placement(deployed, "vllm-small") == {
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
        "tolerations": [TOLERATION],
    }


def test_further_labels_narrow_the_nodes():
    """Labels of the pool are required beside the GPU's own."""
    deployed = stack(provisioned(kind="labelled", labels={"team": "search"}))
    selector = {"nvidia.com/gpu.product": "NVIDIA-L4", "team": "search"}
    assert placement(deployed, "vllm-small")["nodeSelector"] == selector
    assert verification(deployed, "l4")["NODE_SELECTOR"] == "nvidia.com/gpu.product=NVIDIA-L4,team=search"


def test_a_gpu_with_several_product_labels_is_found_by_any_of_them():
    """Pods ask for one of the labels by affinity, and the verification counts the same nodes."""
    catalog = load_catalog()
    gpu = catalog.gpus["nvidia-l4"].model_copy(update={"product_labels": ["NVIDIA-L4", "NVIDIA-L4-SHARED"]})
    changed = catalog.__class__(**{**vars(catalog), "gpus": {**catalog.gpus, "nvidia-l4": gpu}})
    deployed = stack(minimal(), changed)
    rule = {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-L4", "NVIDIA-L4-SHARED"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    assert placement(deployed, "vllm-small") == {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
        "tolerations": [TOLERATION],
    }
    assert verification(deployed, "l4")["NODE_SELECTOR"] == "nvidia.com/gpu.product=NVIDIA-L4|NVIDIA-L4-SHARED"


# --- named nodes ------------------------------------------------------------------------------------------------------


def test_named_nodes_are_labelled_and_tainted():
    """Each named node gets role, type and pool as labels and the GPU taint, before it is verified."""
    deployed = stack(provisioned(kind="existing", nodeNames=["n1", "n2"]))
    patches = [("NodePatch", "l4-n1", "n1"), ("NodePatch", "l4-n2", "n2")]
    assert deployed.children("l4") == [*patches, *VERIFICATION]
    assert deployed.object("Node", "n1") == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "n1",
            "labels": {"node-role": "gpu-inference", "gpu-type": "l4", "llm-stack.io/pool": "l4"},
        },
        "spec": {"taints": [TAINT]},
    }
    assert {"NodePatch/l4-n1", "NodePatch/l4-n2"} < deployed.depends_on("Job", "l4-verify")
    labels = {"node-role": "gpu-inference", "gpu-type": "l4", "llm-stack.io/pool": "l4"}
    assert placement(deployed, "vllm-small")["nodeSelector"] == labels


def test_a_named_node_is_looked_up_before_it_is_patched():
    """The patch waits for the node to be found, and that for the GPU Operator."""
    deployed = stack(provisioned(kind="existing", nodeNames=["n1", "n2"]))
    assert deployed.depends_on("NodePatch", "l4-n1") == {"Node/l4-n1"}


def test_named_cpu_nodes_get_labels_and_no_taint():
    """A CPU node keeps taking other pods; the pool's label finds it."""
    nodes = {"nodes": 1, "provisioning": {"kind": "existing", "nodeNames": ["c1"]}}
    deployed = stack(on_cpu(gpuPools={"cpu": nodes}))
    body = deployed.object("Node", "c1")
    assert body["metadata"]["labels"] == {"node-role": "cpu-inference", "llm-stack.io/pool": "cpu"}
    assert "spec" not in body
    assert placement(deployed, "vllm-tiny") == {
        "nodeSelector": {"llm-stack.io/pool": "cpu", "node-role": "cpu-inference"}
    }


# --- nodes that are bought --------------------------------------------------------------------------------------------


def test_karpenter_gets_a_node_pool_and_a_class():
    """The pool may buy the given types up to its number of GPUs, tainted and never moved while busy."""
    types = ["g6.xlarge", "g6.2xlarge"]
    deployed = stack(provisioned(kind="karpenter", instanceTypes=types, capacityTypes=["spot"], order="price"))
    assert deployed.children("l4") == [("EC2NodeClass", "l4-class", "l4"), ("NodePool", "l4-nodes", "l4")]
    spec = deployed.object("NodePool", "l4")["spec"]
    assert spec == {
        "template": {
            "metadata": {"labels": {"node-role": "gpu-inference", "gpu-type": "l4", "llm-stack.io/pool": "l4"}},
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "l4"},
                "requirements": [
                    {
                        "key": "node.kubernetes.io/instance-type",
                        "operator": "In",
                        "values": ["g6.xlarge", "g6.2xlarge"],
                    },
                    {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]},
                ],
                "expireAfter": "Never",
                "taints": [TAINT],
            },
        },
        "limits": {"nvidia.com/gpu": "2"},
        "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "10m"},
    }
    assert placement(deployed, "vllm-small")["nodeSelector"] == {"llm-stack.io/pool": "l4"}


def test_karpenter_gets_a_node_pool_of_less_weight_for_each_further_choice():
    """Spot of either type before on demand, each NodePool with the labels by which pods find all of them."""
    deployed = stack(
        provisioned(kind="karpenter", instanceTypes=["g6.xlarge", "g6.2xlarge"], capacityTypes=["spot", "on-demand"])
    )
    names = ["l4", "l4.2", "l4.3", "l4.4"]
    assert deployed.children("l4") == [
        ("EC2NodeClass", "l4-class", "l4"),
        ("NodePool", "l4-nodes", "l4"),
        *(("NodePool", f"l4-nodes-l4.{number}", f"l4.{number}") for number in (2, 3, 4)),
    ]
    specs = [deployed.object("NodePool", name)["spec"] for name in names]
    chosen = [
        (spec["weight"], *(requirement["values"] for requirement in spec["template"]["spec"]["requirements"]))
        for spec in specs
    ]
    assert chosen == [
        (100, ["g6.xlarge"], ["spot"]),
        (99, ["g6.2xlarge"], ["spot"]),
        (98, ["g6.xlarge"], ["on-demand"]),
        (97, ["g6.2xlarge"], ["on-demand"]),
    ]
    assert {spec["template"]["metadata"]["labels"]["llm-stack.io/pool"] for spec in specs} == {"l4"}
    assert {spec["template"]["spec"]["nodeClassRef"]["name"] for spec in specs} == {"l4"}


def test_reserved_capacity_is_selected_by_the_class():
    """Each id is a term, and all tags together are one; the NodePool may then buy what is reserved."""
    deployed = stack(
        provisioned(
            kind="karpenter",
            instanceTypes=["g6.xlarge"],
            capacityTypes=["reserved", "on-demand"],
            reservation={"ids": ["cr-1a", "cr-2b"], "tags": {"team": "llm", "use": "*"}},
        )
    )
    terms = [{"id": "cr-1a"}, {"id": "cr-2b"}, {"tags": {"team": "llm", "use": "*"}}]
    assert deployed.object("EC2NodeClass", "l4")["spec"]["capacityReservationSelectorTerms"] == terms
    requirements = deployed.object("NodePool", "l4")["spec"]["template"]["spec"]["requirements"]
    assert requirements[1]["values"] == ["reserved", "on-demand"]


def test_the_class_takes_role_and_networks_from_the_cluster_unless_told():
    """Role and discovery tag follow the cluster's identifier; image, disk and both names can be given."""
    by_default = stack(provisioned(kind="karpenter", instanceTypes=["g6.xlarge"])).object("EC2NodeClass", "l4")["spec"]
    told = stack(
        provisioned(
            kind="karpenter",
            instanceTypes=["g6.xlarge"],
            role="Nodes",
            discoveryTag="mine",
            amiAlias="al2023@v20261101",
            diskGib=500,
        )
    ).object("EC2NodeClass", "l4")["spec"]

    def chosen(spec: Any) -> tuple[Any, ...]:
        assert spec["subnetSelectorTerms"] == spec["securityGroupSelectorTerms"]
        disk = spec["blockDeviceMappings"][0]["ebs"]
        tags = spec["subnetSelectorTerms"][0]["tags"]
        return spec["role"], tags, spec["amiSelectorTerms"], disk["volumeSize"], disk["encrypted"]

    assert chosen(by_default) == (
        "KarpenterNodeRole-test-1",
        {"karpenter.sh/discovery": "test-1"},
        [{"alias": "al2023@latest"}],
        "300Gi",
        True,
    )
    tag = {"karpenter.sh/discovery": "mine"}
    assert chosen(told) == ("Nodes", tag, [{"alias": "al2023@v20261101"}], "500Gi", True)
    assert by_default["metadataOptions"] == {"httpTokens": "required", "httpPutResponseHopLimit": 1}


def test_bottlerocket_has_a_volume_for_its_system_and_one_for_images():
    """Only the second is as large and as fast as the images need it."""
    how = {"kind": "karpenter", "instanceTypes": ["g6.xlarge"], "amiAlias": "bottlerocket@v1.52.0"}
    small = {"volumeType": "gp3", "volumeSize": "4Gi", "encrypted": True, "deleteOnTermination": True}
    assert stack(provisioned(**how)).object("EC2NodeClass", "l4")["spec"]["blockDeviceMappings"] == [
        {"deviceName": "/dev/xvda", "ebs": small},
        {"deviceName": "/dev/xvdb", "ebs": {**small, "volumeSize": "300Gi", "throughput": 1000, "iops": 16000}},
    ]


def test_an_existing_class_is_used_and_not_declared():
    """With nodeClass given only the NodePool is ours."""
    deployed = stack(provisioned(kind="karpenter", instanceTypes=["g6.xlarge"], nodeClass="shared"))
    assert deployed.children("l4") == [("NodePool", "l4-nodes", "l4")]
    reference = deployed.object("NodePool", "l4")["spec"]["template"]["spec"]["nodeClassRef"]
    assert reference == {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "shared"}


def test_bought_cpu_nodes_are_limited_by_their_number():
    """Without GPUs to count, the number of nodes is the limit, and there is no taint."""
    nodes = {"provisioning": {"kind": "karpenter", "instanceTypes": ["m7i.4xlarge"]}}
    spec = stack(on_cpu(gpuPools={"cpu": nodes})).object("NodePool", "cpu")["spec"]
    assert (spec["limits"], "taints" in spec["template"]["spec"]) == ({"nodes": "2"}, False)


@pytest.mark.parametrize(
    ("given", "priorities"),
    [
        ({}, [{"machineType": "g2-standard-8"}, {"machineType": "g2-standard-4"}]),
        (
            {"capacityTypes": ["spot", "on-demand"]},
            [
                {"machineType": "g2-standard-8", "spot": True},
                {"machineType": "g2-standard-4", "spot": True},
                {"machineType": "g2-standard-8"},
                {"machineType": "g2-standard-4"},
            ],
        ),
        (
            {
                "capacityTypes": ["reserved", "on-demand"],
                "reservation": "mine",
                "machineTypes": ["g2-standard-8"],
            },
            [
                {
                    "machineType": "g2-standard-8",
                    "reservations": {"affinity": "Specific", "specific": [{"name": "mine"}]},
                },
                {"machineType": "g2-standard-8"},
            ],
        ),
    ],
)
def test_gke_gets_a_compute_class(given: dict[str, Any], priorities: list[Any]):
    """All machine types in order by one capacity type before the next, in the order of these."""
    how = {"kind": "computeClass", "machineTypes": ["g2-standard-8", "g2-standard-4"], **given}
    deployed = stack(merged(provisioned(**how), {"cluster": {"platform": "gke"}}))
    assert deployed.children("l4") == [("ComputeClass", "l4-class", "l4")]
    assert deployed.object("ComputeClass", "l4")["spec"] == {
        "nodePoolAutoCreation": {"enabled": True},
        "activeMigration": {"optimizeRulePriority": False},
        "whenUnsatisfiable": "DoNotScaleUp",
        "priorities": priorities,
    }
    assert placement(deployed, "vllm-small")["nodeSelector"] == {"cloud.google.com/compute-class": "l4"}


def test_bought_nodes_are_declared_before_the_server_that_needs_them():
    """Without a verification the server waits for the NodePool itself."""
    deployed = stack(provisioned(kind="karpenter", instanceTypes=["g6.xlarge"]))
    assert {"EC2NodeClass/l4-class", "NodePool/l4-nodes"} < deployed.depends_on("Deployment", "vllm-small")


# --- verification -----------------------------------------------------------------------------------------------------


def test_the_verification_is_told_what_was_promised():
    """Nodes, GPUs per node, their memory, and how long nodes may take to offer them."""
    assert verification(stack(minimal()), "l4") == {
        "POOL_NAME": "l4",
        "NODE_SELECTOR": "nvidia.com/gpu.product=NVIDIA-L4",
        "EXPECTED_NODES": "2",
        "RESOURCE_NAME": "nvidia.com/gpu",
        "GPUS_PER_NODE": "1",
        "EXPECTED_GPU_MEMORY_MIB": "23034",
        "TOLERATIONS": '[{"effect": "NoSchedule", "key": "nvidia.com/gpu", "operator": "Exists"}]',
        # what its pod asks for: of the node nothing else is known
        "CPUS": "3",
        "MEMORY_MIB": "12288",
        "DISK_MIB": "22592",
        "WHOLE_CARDS": "nvidia.com/gpu.replicas=0|1,nvidia.com/gpu.sharing-strategy=none,nvidia.com/gpu.slices.gi=,"
        "cloud.google.com/gke-gpu-sharing-strategy=,cloud.google.com/gke-gpu-partition-size=",
        "DRIVER_LABELS": "nvidia.com/cuda.driver-version.major,nvidia.com/cuda.driver.major",
        "OLDEST_DRIVER": "580",
        "OLDER_DRIVERS": "",
        "TIMEOUT_S": "600",
    }


SWITCH = {"VLLM_ENABLE_CUDA_COMPATIBILITY": "1"}
OWN = {"image": "registry.example.com/vllm:v0.33.0-cu129"}


@pytest.mark.parametrize(
    ("models", "drivers"),
    [
        ({"small": {"env": SWITCH}}, (580, (535, 570))),
        # one server that cannot decides for the node
        ({"small": {"env": SWITCH}, "other": {}}, (580, ())),
        ({"small": OWN}, (0, ())),
        ({"small": {"image": "docker.io/vllm/vllm-openai:v0.33.1"}}, (580, ())),
        ({"small": {"env": SWITCH}, "other": OWN}, (580, (535, 570))),
    ],
)
def test_the_driver_follows_the_images_of_the_pools_servers(models: dict[str, Any], drivers: tuple[int, tuple[int]]):
    """Older drivers count where every server switches the libraries on; images of one's own ask for nothing."""
    config = minimal()
    small = config["models"]["small"]
    config["models"] = {name: {**small, "replicas": {"min": 1, "max": 1}, **model} for name, model in models.items()}
    expectation = verify_nodes.expectation_from(verification(stack(config), "l4"))
    assert (expectation.oldest_driver, expectation.older_drivers) == drivers


def test_slices_are_no_whole_cards():
    """A pool whose cards are shared on purpose is not asked for whole ones."""
    deployed = stack(minimal(gpuPools={"l4": {"gpuShare": {"slices": 4}}}, models={"small": {"gpuShare": 0.5}}))
    assert verify_nodes.expectation_from(verification(deployed, "l4")).whole_cards == {}


def test_claimed_cards_are_counted_in_what_their_driver_publishes():
    """The account may list devices too, and the proof knows them by the attributes that the claims ask for."""
    deployed = stack(minimal(gpuPools={"l4": {"claims": {}}}))
    promise = verify_nodes.expectation_from(verification(deployed, "l4"))
    assert (promise.selector, promise.device_driver, promise.driver_attribute) == (
        {"nvidia.com/gpu.present": "true"},
        "gpu.nvidia.com",
        "driverVersion",
    )
    assert promise.device_attributes == {"type": "gpu", "productName": "NVIDIA-L4"}
    assert deployed.object("ClusterRole", "llm-serving-verify-nodes-l4")["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
        {"apiGroups": ["resource.k8s.io"], "resources": ["resourceslices"], "verbs": ["list"]},
    ]


def test_parts_of_cards_are_cut_promised_and_asked_for():
    """Named nodes get the label that cuts their cards, the proof looks for parts, and the pod asks for one."""
    pool = {
        "gpu": "nvidia-h100",
        "gpusPerNode": 8,
        "mig": {"profile": "1g.20gb"},
        "provisioning": {"kind": "existing", "nodeNames": ["a", "b"]},
    }
    deployed = stack(minimal(gpuPools={"l4": pool}))
    patch = deployed.object("Node", "a")
    assert patch["metadata"]["labels"]["nvidia.com/mig.config"] == "all-1g.20gb"
    assert patch["spec"]["taints"] == [TAINT]
    promise = verify_nodes.expectation_from(verification(deployed, "l4"))
    assert (promise.resource, promise.gpus_per_node, promise.gpu_memory_mib) == ("nvidia.com/mig-1g.20gb", 32, 19968)
    assert (promise.mig_config, promise.memory_label) == (
        "nvidia.com/mig.config=all-1g.20gb",
        "nvidia.com/mig-1g.20gb.memory",
    )
    limits = container_of(deployed.object("Deployment", "vllm-small"))["resources"]["limits"]
    assert {key: value for key, value in limits.items() if key.startswith("nvidia")} == {"nvidia.com/mig-1g.20gb": "1"}
    assert placement(deployed, "vllm-small")["tolerations"] == [TOLERATION]


def test_nodes_have_to_offer_what_pods_ask_for_beside_gpus():
    """Of replicas over several nodes, too, and the label by which these are placed; other pools are told neither."""
    promise = verify_nodes.expectation_from(verification(stack(over_efa()), "h100"))
    assert promise.resources == {"vpc.amazonaws.com/efa": "32", "hugepages-2Mi": "5120Mi"}
    assert promise.topology_label == "example.com/rack"
    plain = verification(stack(two_nodes()), "h100")
    assert [key for key in ("RESOURCES", "TOPOLOGY_LABEL") if key in plain] == []


def test_the_verification_may_read_nodes_and_nothing_else():
    """Its ServiceAccount is bound to a role that lists nodes; the token is mounted into its pod only."""
    deployed = stack(minimal())
    name = "llm-serving-verify-nodes-l4"
    rules = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    assert deployed.object("ClusterRole", name)["rules"] == rules
    binding = deployed.object("ClusterRoleBinding", name)
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    account = {"kind": "ServiceAccount", "name": "verify-nodes-l4", "namespace": "llm-serving"}
    assert binding["subjects"] == [account]
    spec = deployed.object("Job", "verify-nodes-l4")["spec"]["template"]["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("verify-nodes-l4", True)
    assert deployed.object("ServiceAccount", "verify-nodes-l4")["automountServiceAccountToken"] is False


def test_the_verification_comes_after_the_operator_and_before_the_server():
    """Drivers first, then the proof, then the pods; and the Job's own rights before the Job."""
    deployed = stack(minimal())
    assert deployed.depends_on("Job", "l4-verify") == {
        "ClusterRoleBinding/l4-verify",
        "ConfigMap/l4-verify",
        "Namespace/llm-serving",
        "NetworkPolicy/l4-verify",
        "Release/gpu-operator",
        "ServiceAccount/l4-verify",
    }
    assert "Job/l4-verify" in deployed.depends_on("Deployment", "vllm-small")


def test_the_verification_gives_up_before_the_engine_does():
    """Script 600 s, three tries 1,800 s, engine 1,920 s."""
    manifest = stack(minimal()).manifest("Job", "verify-nodes-l4")
    assert (manifest.body["spec"]["activeDeadlineSeconds"], manifest.body["spec"]["backoffLimit"]) == (1800, 2)
    assert manifest.options.timeouts == {"create": "1920s", "update": "1920s"}


def test_a_cpu_pool_waits_for_no_gpu_operator():
    """CPU nodes promise no device and need no driver."""
    deployed = stack(on_cpu())
    assert [item.name for item in deployed.manifests if item.kind == "Release"] == ["kube-prometheus-stack"]
    values = verification(deployed, "cpu")
    assert (values["RESOURCE_NAME"], values["GPUS_PER_NODE"], values["EXPECTED_GPU_MEMORY_MIB"]) == ("", "0", "")
    assert "Release/gpu-operator" not in deployed.depends_on("Job", "cpu-verify")


def test_gpu_nodes_do_not_count_as_cpu_nodes():
    """The rendered selector of a CPU pool leaves out nodes that have GPUs, as the scheduler does for its pods."""
    expectation = verify_nodes.expectation_from(verification(stack(on_cpu()), "cpu"))

    def node(name: str, labels: dict[str, str]) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "labels": labels},
            "status": {
                "allocatable": {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "100Gi"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }

    with_gpus = [node(f"g{index}", {"nvidia.com/gpu.present": "true"}) for index in range(3)]
    without = [node("c1", {}), node("c2", {"nvidia.com/gpu.present": "false"})]
    assert verify_nodes.judge([*with_gpus, *without], expectation) == []
    assert verify_nodes.judge([*with_gpus, without[0]], expectation) == [
        (
            "pool 'cpu': 1 of 2 nodes match nvidia.com/gpu.present!=true, "
            "nearest: g0 (its nvidia.com/gpu.present is 'true')"
        )
    ]


def test_without_verification_the_pool_declares_nothing():
    """With verifyNodes: false labelled nodes bring no object, and the server waits for weights only."""
    deployed = stack(minimal(gpuOperator={"verifyNodes": False}))
    assert deployed.children("l4") == []
    assert not [name for name in deployed.depends_on("Deployment", "vllm-small") if "verify" in name]


# --- outputs ----------------------------------------------------------------------------------------------------------


def test_the_pool_hands_on_how_to_get_there():
    """Selector, tolerations and resource are the outputs; `ready` is true once the Job is done."""
    assert stack(minimal()).registered("l4") == {
        "node_selector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
        "tolerations": [TOLERATION],
        "resource_name": "nvidia.com/gpu",
        "ready": True,
    }
    assert stack(on_cpu()).registered("cpu")["tolerations"] == []


@pytest.mark.parametrize("build", [minimal, two_nodes])
def test_a_taint_of_the_users_own_is_tolerated_by_servers_and_known_to_the_verification(build):
    """Of a Deployment and of all pods of a group; what only the pool's pods need is not given to others."""
    mine = {"key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoSchedule"}
    name = "h100" if build is two_nodes else "l4"
    deployed = stack(build(gpuPools={name: {"tolerations": [mine]}}))
    found = {pod.owner: pod.spec.get("tolerations") for pod in pods(deployed)}
    servers = {f"{kind} {item.name}" for item in deployed.plan.servers for kind in ("Deployment", "LeaderWorkerSet")}
    assert found == {owner: [TOLERATION, mine] if owner in servers else None for owner in found}
    assert servers & found.keys()
    assert json.loads(verification(deployed, name)["TOLERATIONS"]) == [TOLERATION, mine]


@pytest.mark.parametrize(("most", "storage"), [(1, {}), (2, {"storage": {"bootDiskSize": 123}})])
def test_nodes_of_gke_have_a_disk_that_holds_what_their_pods_may_write(most, storage):
    """Two servers on a node of two GPUs: without it the second would find no node for ever."""
    pool = {"gpusPerNode": 2, "provisioning": {"kind": "computeClass", "machineTypes": ["g2-standard-24"]}}
    models = {"small": {"replicas": {"min": 1, "max": most}}}
    deployed = stack(minimal(cluster={"platform": "gke"}, gpuPools={"l4": pool}, models=models))
    assert deployed.object("ComputeClass", "l4")["spec"]["priorities"] == [{"machineType": "g2-standard-24", **storage}]


def test_named_nodes_with_taints_of_their_own_keep_them():
    """The API server has all taints of a node as one value, which two cannot own: then only labels are written."""
    mine = {"key": "dedicated", "operator": "Exists"}
    config = minimal(gpuPools={"l4": {"provisioning": {"kind": "existing", "nodeNames": ["gpu-1", "gpu-2"]}}})
    plain, own = stack(config), stack(merged(config, {"gpuPools": {"l4": {"tolerations": [mine]}}}))
    found = [[item.get("spec") for item in deployed.objects("Node")] for deployed in (plain, own)]
    assert found == [[{"taints": [TAINT]}] * 2, [None] * 2]
    assert placement(own, "vllm-small")["tolerations"] == [TOLERATION, mine]
