"""Every answer of a preflight, given by a cluster that is a table."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from catalog import load_catalog
from components.pod_scripts.verify_nodes import expectation_from
from preview.preflight.cluster import Forbidden, Kubectl, Unavailable, Unreachable
from preview.preflight.expected import LOOKS, look_for
from preview.preflight.findings import FAILING, Verdict
from preview.preflight.others import selects
from preview.preflight.pools import promise_of, requested
from preview.preflight.show import ask, page
from preview.rendering.expected import Expected
from tests.harness import minimal, stack
from workshop.simcluster.nodes import nodes_of

GATEWAYS = "/apis/gateway.networking.k8s.io/v1/namespaces/edge/gateways/public"
RESOURCES = "/apis/resource.k8s.io/v1"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
GATEWAY = Expected("Gateway", "public", "edge", ("https",), "with the listener https")
SECRET = Expected("Secret", "keys", "llm", ("a", "b"), "", "create\nit", add="add\nit")
SHARED = Expected("StorageClass", "files", keys=("ReadWriteMany",), note="must offer ReadWriteMany")
API = Expected("API", "keda.sh/v1alpha1", keys=("ScaledObject",), note="for ScaledObject")
CLAIM = Expected("PersistentVolumeClaim", "weights", "llm", note="must hold acme/tiny/")
DEVICES, DEVICE_CLASSES = Expected("DeviceClass", "gpu.nvidia.com", note="of a driver"), f"{RESOURCES}/deviceclasses"
CONFIG = Expected("ConfigMap", "authorities", "llm", ("ca.crt",))


METRICS = Expected("API", "metrics.k8s.io/v1")
DRIVER = Expected("CSIDriver", "secrets.csi", note="must take volumes of pods")
DRIVERS = "/apis/storage.k8s.io/v1/csidrivers/secrets.csi"


@dataclass(frozen=True)
class Table:
    """A cluster that knows these paths; `closed` may not be read, and nobody answers for `silent`."""

    answers: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    closed: str = ""
    silent: str = ""
    refusals: Mapping[str, str | None] = field(default_factory=dict)

    def get(self, path: str) -> Any:
        """See `Cluster`; a question without its parameters is enough."""
        if self.closed and path.startswith(self.closed):
            raise Forbidden
        if self.silent and path.startswith(self.silent):
            raise Unavailable
        return self.answers.get(path.partition("?")[0])

    def admits(self, body: Mapping[str, Any], *, create: bool) -> str:
        """See `Cluster`; `refusals`: why objects of a kind are refused, None: they may not be asked for."""
        assert create is (body["kind"] == "Pod")
        answer = self.refusals.get(body["kind"], "")
        if answer is None:
            raise Forbidden
        return answer

    def entries(self, namespace: str, secret: str) -> frozenset[str] | None:
        """See `Cluster`."""
        return self.secrets.get((namespace, secret))


def listed(*names: str, **fields: Any) -> dict[str, Any]:
    """A list of objects."""
    return {"items": [{"metadata": {"name": name}, **fields} for name in names]}


def gateway(*listeners: str, programmed: str = "True") -> dict[str, Any]:
    """A Gateway with these listeners."""
    state = {"type": "Programmed", "status": programmed, "message": "no address"}
    return {"spec": {"listeners": [{"name": name} for name in listeners]}, "status": {"conditions": [state]}}


def issuer(ready: str) -> dict[str, Any]:
    """An issuer of certificates."""
    return {"status": {"conditions": [{"type": "Ready", "status": ready, "message": "no account"}]}}


CASES: list[tuple[Expected, Table, str, str]] = [
    (Expected("Namespace", "llm"), Table({"/api/v1/namespaces/llm": {"metadata": {}}}), "fine", "Namespace llm"),
    (
        Expected("Namespace", "llm", command="kubectl create namespace llm"),
        Table(),
        "missing",
        "Namespace llm: is not there; kubectl create namespace llm",
    ),
    (
        Expected("Namespace", "llm"),
        Table({"/api/v1/namespaces/llm": {"metadata": {"deletionTimestamp": "now"}}}),
        "wrong",
        "Namespace llm: is being deleted; wait until it is gone, and create it anew",
    ),
    (SECRET, Table(secrets={("llm", "keys"): frozenset("abc")}), "fine", "Secret keys in llm: with a, b"),
    (
        SECRET,
        Table(secrets={("llm", "keys"): frozenset("a")}),
        "wrong",
        "Secret keys in llm: has no entry b; the preview has the command",
    ),
    (SECRET, Table(), "missing", "Secret keys in llm: is not there; the preview has the command"),
    (
        CONFIG,
        Table({"/api/v1/namespaces/llm/configmaps/authorities": {"binaryData": {"ca.crt": "eA=="}}}),
        "fine",
        "ConfigMap authorities in llm: with ca.crt",
    ),
    (
        CONFIG,
        Table({"/api/v1/namespaces/llm/configmaps/authorities": {"data": {"ca.pem": ""}}}),
        "wrong",
        "ConfigMap authorities in llm: has no entry ca.crt",
    ),
    (
        CLAIM,
        Table({"/api/v1/namespaces/llm/persistentvolumeclaims/weights": {"status": {"phase": "Bound"}}}),
        "fine",
        "PersistentVolumeClaim weights in llm: Bound; must hold acme/tiny/, which only a pod that mounts it sees",
    ),
    (
        CLAIM,
        Table({"/api/v1/namespaces/llm/persistentvolumeclaims/weights": {"status": {"phase": "Lost"}}}),
        "wrong",
        "PersistentVolumeClaim weights in llm: has lost its volume",
    ),
    (
        SHARED,
        Table({CLASSES: listed("gp3", "efs"), f"{CLASSES}/efs": {}}),
        "missing",
        "StorageClass files: is not there; must offer ReadWriteMany; there are: efs, gp3",
    ),
    (
        SHARED,
        Table({f"{CLASSES}/files": {"provisioner": "ebs.csi.aws.com"}}),
        "wrong",
        "StorageClass files: is of ebs.csi.aws.com, whose volumes one node writes; must offer ReadWriteMany",
    ),
    (
        SHARED,
        Table({f"{CLASSES}/files": {"provisioner": "efs.csi.aws.com"}}),
        "fine",
        "StorageClass files: of efs.csi.aws.com",
    ),
    (GATEWAY, Table({GATEWAYS: gateway("http", "https")}), "fine", "Gateway public in edge"),
    (
        GATEWAY,
        Table({GATEWAYS: gateway("http")}),
        "wrong",
        "Gateway public in edge: has no listener https; there are: http",
    ),
    (
        GATEWAY,
        Table({GATEWAYS: gateway("https", programmed="False")}),
        "wrong",
        "Gateway public in edge: is not programmed: no address",
    ),
    (
        Expected("IngressClass", "nginx"),
        Table({"/apis/networking.k8s.io/v1/ingressclasses": listed("alb")}),
        "missing",
        "IngressClass nginx: is not there; there are: alb",
    ),
    (DEVICES, Table({f"{DEVICE_CLASSES}/gpu.nvidia.com": {}}), "fine", "DeviceClass gpu.nvidia.com"),
    (
        DEVICES,
        Table({DEVICE_CLASSES: listed("gpu.amd.com")}),
        "missing",
        "DeviceClass gpu.nvidia.com: is not there; of a driver; there are: gpu.amd.com",
    ),
    (
        Expected("Nodes", "a, b, c"),
        Table({"/api/v1/nodes": listed("a", "d")}),
        "wrong",
        "Nodes: not on the cluster: b, c; there are: a, d",
    ),
    (
        API,
        Table({"/apis/keda.sh/v1alpha1": {"resources": [{"kind": "ScaledObject"}]}}),
        "fine",
        "API keda.sh/v1alpha1",
    ),
    (
        API,
        Table({"/apis/keda.sh/v1alpha1": {"resources": [{"kind": "ScaledJob"}]}}),
        "wrong",
        "API keda.sh/v1alpha1: has no ScaledObject; another version of its operator",
    ),
    (
        API,
        Table({"/apis/keda.sh": {"versions": [{"version": "v2"}]}}),
        "wrong",
        "API keda.sh/v1alpha1: the cluster serves v2 of it, not v1alpha1; another version of its operator",
    ),
    (API, Table(), "missing", "API keda.sh/v1alpha1: is not there; for ScaledObject"),
    (
        Expected("Access to", "acme/tiny", note="gated"),
        Table(),
        "not known",
        "Access to acme/tiny: no cluster can say that; gated",
    ),
    (
        METRICS,
        Table(silent="/apis/metrics.k8s.io"),
        "wrong",
        "API metrics.k8s.io/v1: is served by a program of the cluster that does not answer; look at its APIService",
    ),
    (
        Expected("PriorityClass", "high"),
        Table({"/apis/scheduling.k8s.io/v1/priorityclasses/high": {}}),
        "fine",
        "PriorityClass high",
    ),
    (Expected("PriorityClass", "high"), Table(), "missing", "PriorityClass high: is not there; there are: none"),
    (DRIVER, Table({DRIVERS: {"spec": {"volumeLifecycleModes": ["Ephemeral"]}}}), "fine", "CSIDriver secrets.csi"),
    (
        DRIVER,
        Table({DRIVERS: {"spec": {}}}),
        "wrong",
        "CSIDriver secrets.csi: takes no volumes of pods; it must take volumes of pods",
    ),
    (
        Expected("ClusterIssuer", "public", note="of cert-manager"),
        Table({"/apis/cert-manager.io/v1/clusterissuers/public": issuer("False")}),
        "wrong",
        "ClusterIssuer public: is not ready: no account",
    ),
    (
        Expected("Issuer", "public", "llm"),
        Table({"/apis/cert-manager.io/v1/namespaces/llm/issuers/public": issuer("True")}),
        "fine",
        "Issuer public in llm",
    ),
    (
        SHARED,
        Table(closed=CLASSES),
        "not known",
        "StorageClass files: may not be read by the user of this kubeconfig",
    ),
]


@pytest.mark.parametrize(("expected", "cluster", "verdict", "line"), CASES)
def test_each_thing_is_there_and_right_or_one_line_says_what_is_not(
    expected: Expected, cluster: Table, verdict: str, line: str
):
    """Missing, wrong in one of its ways, or not to be known: what, why, and what helps."""
    (finding,) = look_for([expected], cluster, load_catalog())
    assert (finding.verdict.value, str(finding)) == (verdict, line)


def test_every_kind_is_looked_for_in_a_case():
    """A row of the table without a case would be untried."""
    assert {expected.kind for expected, *_ in CASES} >= LOOKS.keys()


def test_a_stack_before_its_first_up_waits_for_its_own_operator():
    """Nodes without GPUs are not wrong while the operator that brings them is this stack's, and not there."""
    deployed = stack(minimal())
    version = {"major": "1", "minor": "36+"}
    before = Table({"/version": version, "/api/v1/nodes": listed("n1")})
    pools = [finding for finding in ask(deployed.manifests, deployed.plan, before) if "pool" in finding.subject]
    assert [(finding.verdict, str(finding)) for finding in pools] == [
        (
            Verdict.NOT_KNOWN,
            "pool l4: its nodes offer no nvidia.com/gpu yet; gpu-operator brings that, and this stack installs it",
        )
    ]
    there = Table({**before.answers, "/apis/apps/v1/namespaces/gpu-operator/deployments": listed("gpu-operator")})
    after = [str(finding) for finding in ask(deployed.manifests, deployed.plan, there) if "pool" in finding.subject]
    assert after == [
        (
            "pool l4: 0 of 2 nodes match nvidia.com/gpu.product=NVIDIA-L4, "
            "nearest: n1 (it has no label nvidia.com/gpu.product)"
        )
    ]


def claiming(*claims: dict[str, Any], quota: dict[str, str] | None = None) -> list[str]:
    """Lines about the pool of a stack that claims one L4 of two nodes with one each, beside claims of others."""
    deployed = stack(minimal(gpuPools={"l4": {"claims": {}}}))
    label = {"nvidia.com/gpu.present": "true"}
    allocatable = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "500Gi"}
    status = {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": "True"}]}
    devices = [{"name": "gpu-0", "attributes": {"type": {"string": "gpu"}, "productName": {"string": "NVIDIA L4"}}}]
    nodes = [{"metadata": {"name": name, "labels": label}, "status": status} for name in ("a", "b")]
    slices = [
        {
            "spec": {"driver": "gpu.nvidia.com", "nodeName": name, "pool": {"name": name, "generation": 1}}
            | {"devices": devices}
        }
        for name in ("a", "b")
    ]
    quotas = [{"metadata": {"name": "q"}, "spec": {"hard": quota}}] if quota else []
    answers = {
        "/version": {"major": "1", "minor": "36"},
        "/api/v1/nodes": {"items": nodes},
        f"{RESOURCES}/resourceslices": {"items": slices},
        f"{RESOURCES}/resourceclaims": {"items": list(claims)},
        "/api/v1/namespaces/llm-serving/resourcequotas": {"items": quotas},
    }
    findings = ask(deployed.manifests, deployed.plan, Table(answers))
    return [str(finding) for finding in findings if "pool" in finding.subject or "Quota" in finding.subject]


def held(node: str, namespace: str = "others") -> dict[str, Any]:
    """A claim that has the card of a node."""
    results = [{"driver": "gpu.nvidia.com", "pool": node, "device": "gpu-0"}]
    return {"metadata": {"namespace": namespace}, "status": {"allocation": {"devices": {"results": results}}}}


def test_devices_are_counted_where_pods_claim_them():
    """By what their driver publishes, without what others have been given."""
    kept, unit = "pool l4: 2 of 2 nodes keep the promise", "devices of gpu.nvidia.com"
    assert claiming() == [kept, f"room in pool l4: 1 of 2 free {unit}"]
    assert claiming(held("a"), held("b", "llm-serving")) == [
        kept,
        f"room in pool l4: 1 of 1 free {unit}, others hold 1",
    ]
    assert claiming(held("a"), held("b")) == [
        kept,
        (
            f"room in pool l4: a pod of vllm-small asks for 1 {unit}, the emptiest node has 0 free, others hold 2; "
            "free a node, or give it a smaller place"
        ),
    ]


def test_quotas_count_claims_and_their_devices():
    """By class and by number; a quota of what the device plugin has is no hindrance to claims."""
    devices, claims = "gpu.nvidia.com.deviceclass.resource.k8s.io/devices", "count/resourceclaims.resource.k8s.io"
    hard = {devices: "0", claims: "0", "requests.nvidia.com/gpu": "0"}
    assert claiming(quota=hard)[-1] == (
        f"ResourceQuota q in llm-serving: has too little: {claims} 0, the stack asks for 1; {devices} 0, the stack "
        "asks for 1; raise it"
    )
    assert claiming(quota={devices: "1", claims: "1"})[-1] == "ResourceQuota q in llm-serving"


CLAIMED = "llm-stack-claim); write another cluster.namespace, or take over by cluster.takeOver: true for one `up`"


@pytest.mark.parametrize(
    ("owner", "told", "line"),
    [
        ("llm-stack-test", {}, "namespace llm-serving: claimed by llm-stack-test"),
        ("llm-stack-other", {}, f"namespace llm-serving: claimed by the stack llm-stack-other (ConfigMap {CLAIMED}"),
        ("llm-stack-other", {"takeOver": True}, ""),
    ],
)
def test_a_namespace_that_another_stack_claims_is_named(owner: str, told: dict[str, bool], line: str):
    """By whose it is, unless the stack is told to take over."""
    deployed = stack(minimal(cluster=told))
    path = "/api/v1/namespaces/llm-serving/configmaps/llm-stack-claim"
    cluster = Table({"/version": {"major": "1", "minor": "36"}, path: {"data": {"stack": owner, "state": "any"}}})
    lines = [str(one) for one in ask(deployed.manifests, deployed.plan, cluster) if "namespace llm" in one.subject]
    assert lines == ([line] if line else [])


def node_pool(**promised: Any) -> dict[str, Any]:
    """A NodePool of another stack that promises nodes with this label."""
    return {"/apis/karpenter.sh/v1/nodepools": listed("theirs", spec={"template": {"spec": {}, **promised}})}


def running(gpus: int) -> dict[str, Any]:
    """A pod of another stack on the first node."""
    container = {"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    pod = {"metadata": {"namespace": "theirs"}, "spec": {"nodeName": "l4-1", "containers": [container]}}
    return {"/api/v1/pods": {"items": [pod]}}


BOUGHT = node_pool(metadata={"labels": {"llm-stack.io/pool": "l4"}})
REQUIRED = {"operator": "In", "key": "llm-stack.io/pool", "values": ["l4"]}


@pytest.mark.parametrize(
    ("there", "answers", "lines"),
    [
        (
            2,
            {},
            [
                ("fine", "pool l4: 2 of 2 nodes keep the promise"),
                ("fine", "room in pool l4: 1 of 2 free nvidia.com/gpu"),
            ],
        ),
        (
            2,
            running(1),
            [
                ("fine", "pool l4: 2 of 2 nodes keep the promise"),
                ("fine", "room in pool l4: 1 of 1 free nvidia.com/gpu, others hold 1"),
            ],
        ),
        (
            1,
            BOUGHT,
            [("not known", "pool l4: 1 of 2 nodes are there, NodePool theirs buys the others when a pod waits")],
        ),
        (
            0,
            node_pool(spec={"requirements": [REQUIRED]}),
            [("not known", "pool l4: 0 of 2 nodes are there, NodePool theirs buys the others when a pod waits")],
        ),
        (
            0,
            node_pool(metadata={"labels": {"llm-stack.io/pool": "other"}}),
            [
                (
                    "wrong",
                    "pool l4: 0 of 2 nodes match llm-stack.io/pool=l4, nearest: n1 (it has no label llm-stack.io/pool)",
                )
            ],
        ),
    ],
)
def test_nodes_of_another_stack_are_asked_for(there: int, answers: dict[str, Any], lines: list[tuple[str, str]]):
    """What offers them or will buy them, and the room that their stack and others leave."""
    shared = {"kind": "shared", "labels": {"llm-stack.io/pool": "l4"}}
    deployed = stack(minimal(gpuPools={"l4": {"provisioning": shared}}))
    nodes = [node for node in nodes_of(deployed.plan) if node["metadata"]["name"].startswith("l4-")][:there]
    for node in nodes:
        node["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    found = {"/version": {"major": "1", "minor": "36"}, "/api/v1/nodes": {"items": nodes or listed("n1")["items"]}}
    findings = ask(deployed.manifests, deployed.plan, Table({**found, **answers}))
    pools = [(finding.verdict.value, str(finding)) for finding in findings if "pool l4" in finding.subject]
    assert sorted(pools) == sorted(lines)


@pytest.mark.parametrize("pool", [{}, {"gpu": "nvidia-h100", "mig": {"profile": "1g.20gb"}}])
def test_nodes_of_another_stack_are_asked_for_what_a_job_would_ask(pool: dict[str, Any]):
    """The promise of a pool is that of its own Job, which one with another stack's nodes has not."""
    deployed = stack(minimal(gpuPools={"l4": pool}))
    (container,) = deployed.object("Job", "verify-nodes-l4")["spec"]["template"]["spec"]["containers"]
    told = expectation_from({each["name"]: each.get("value", "") for each in container["env"]})
    assert promise_of(deployed.plan.pools["l4"]) == told


@pytest.mark.parametrize(
    ("minor", "verdict", "line"),
    [
        ("36", Verdict.FINE, "Kubernetes 1.36"),
        ("36+", Verdict.FINE, "Kubernetes 1.36"),
        ("37", Verdict.FINE, "Kubernetes 1.37: cluster.kubernetes says 1.36, which it is past"),
        ("35", Verdict.WRONG, 'Kubernetes 1.35: cluster.kubernetes says 1.36; write "1.35", or upgrade the cluster'),
        ("9", Verdict.WRONG, 'Kubernetes 1.9: cluster.kubernetes says 1.36; write "1.9", or upgrade the cluster'),
    ],
)
def test_an_older_cluster_than_the_file_says_is_wrong(minor: str, verdict: Verdict, line: str):
    """Compared as numbers; one that is newer is only mentioned."""
    deployed = stack(minimal())
    first = next(iter(ask(deployed.manifests, deployed.plan, Table({"/version": {"major": "1", "minor": minor}}))))
    assert (first.verdict, str(first)) == (verdict, line)


def test_what_fails_stands_last_and_is_counted():
    """The terminal stops there; what is not known is counted beside it."""
    deployed = stack(minimal())
    findings = tuple(ask(deployed.manifests, deployed.plan, Table()))
    lines = list(page("dev", deployed.plan, findings))
    failing = sum(finding.verdict in FAILING for finding in findings)
    assert failing
    assert [line[0] for line in lines[-2 - failing : -2]] == ["✗"] * failing
    assert not [line for line in lines[1 : -2 - failing] if line.startswith("✗")]
    unknown = sum(finding.verdict is Verdict.NOT_KNOWN for finding in findings)
    assert lines[-1] == f"{failing} things to mend before `pulumi up`, {unknown} not known"


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({}, True),
        ({"matchLabels": {"team": "ml"}}, True),
        ({"matchLabels": {"team": "web"}}, False),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["ml", "web"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["ml"]}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "other", "operator": "NotIn", "values": ["x"]}]}, True),
    ],
)
def test_selectors_match_as_in_kubernetes(selector: dict[str, Any], matches: bool):
    """Labels that are not there match NotIn and DoesNotExist."""
    assert selects(selector, {"team": "ml"}) is matches


@pytest.mark.parametrize(
    ("containers", "init", "amount"),
    [
        ([{"requests": {"cpu": "500m"}}, {"requests": {"cpu": "2"}}], [], 2.5),
        ([{"limits": {"cpu": "2"}}], [], 2),
        ([{"requests": {"cpu": "1"}}], [{"requests": {"cpu": "4"}}, {"requests": {"cpu": "3"}}], 4),
        ([{}], [], 0),
    ],
)
def test_a_pod_takes_what_its_containers_ask_for_together(containers: list, init: list, amount: float):
    """Or its largest init container, where that is more; a limit alone is the request."""
    pod = {"containers": [{"resources": each} for each in containers]}
    if init:
        pod["initContainers"] = [{"resources": each} for each in init]
    assert requested(pod, "cpu") == amount


@pytest.mark.parametrize(
    ("stderr", "error"),
    [
        ('Error from server (Forbidden): nodes is forbidden: User "u" cannot list', Forbidden),
        ("E1 retrying\nThe connection to the server 127.0.0.1:1 was refused", Unreachable),
        ('error: context "x" does not exist', Unreachable),
    ],
)
def test_kubectl_is_understood(tmp_path: Path, stderr: str, error: type[Exception]):
    """Not allowed is known from not there, and from nobody there."""
    program = tmp_path / "kubectl"
    program.write_text(f"#!/bin/sh\ncat >&2 <<'X'\n{stderr}\nX\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(error):
        Kubectl("x", str(program)).get("/version")


def test_kubectl_is_asked_once_and_reads_alone(tmp_path: Path):
    """Each question once, by `get` in the stack's context; of a Secret the names of its entries."""
    program, log = tmp_path / "kubectl", tmp_path / "log"
    answer = json.dumps({"items": []})
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\ncase "$*" in *secret*) printf \'a\\nb\\n\';; '
        f"*gone*) echo 'Error from server (NotFound): x' >&2; exit 1;; *) echo '{answer}';; esac\n"
    )
    program.chmod(0o755)
    kubectl = Kubectl("prod", str(program))
    assert [kubectl.get("/a"), kubectl.get("/a"), kubectl.get("/gone"), kubectl.get("/gone")] == [
        {"items": []},
        {"items": []},
        None,
        None,
    ]
    assert kubectl.entries("llm", "keys") == frozenset("ab")
    words = [line.split() for line in log.read_text().splitlines()]
    assert [line[:3] for line in words] == [["--context", "prod", "--request-timeout=20s"]] * 3
    assert [line[3:] for line in words[:2]] == [["get", "--raw", "/a"], ["get", "--raw", "/gone"]]
    assert words[2][3:8] == ["--namespace", "llm", "get", "secret", "keys"]
