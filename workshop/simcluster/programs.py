"""The programs of a control plane, and the arguments of each: pure functions of ports and paths.

Everything listens on 127.0.0.1 and proves itself with a certificate, etcd included. Where a wait of a real cluster
would only cost patience it is shortened, and says by how much.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from workshop.ports import LOOPBACK
from workshop.simcluster.paths import ClusterPaths

SERVICE_CIDR = "10.96.0.0/16"
POD_CIDR = "10.244.0.0/16"
# A kubelet that has not been heard of for this long is lost; Kubernetes' own default is 50 s.
NODE_GRACE_S = 12
# Pods of a lost node are evicted after this; DefaultTolerationSeconds gives them 300 s on a real cluster.
EVICTION_S = 5
# Controllers a serving stack needs; left out is what a cloud, certificates or a real kubelet would have to answer to.
CONTROLLERS = (
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "job-controller",
    "namespace-controller",
    "node-lifecycle-controller",
    "persistentvolume-binder-controller",
    "persistentvolumeclaim-protection-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
    "taint-eviction-controller",
    "ttl-after-finished-controller",
)


@dataclass(frozen=True)
class Ports:
    """Loopback ports of one cluster."""

    etcd: int
    etcd_peer: int
    api_server: int


def etcd(ports: Ports, paths: ClusterPaths) -> Sequence[str]:
    """One member; a crash of the machine may lose the last writes, which a simulation can bear.

    A member of its own keeps its data when its ports change: nobody else has to find it.
    """
    client, peer = f"https://{LOOPBACK}:{ports.etcd}", f"https://{LOOPBACK}:{ports.etcd_peer}"
    files = [paths.certificate("ca"), paths.certificate("etcd"), paths.key("etcd")]
    return [
        f"--data-dir={paths.data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        "--name=simcluster",
        f"--initial-cluster=simcluster={peer}",
        *(f"--{flag}={file}" for flag, file in zip(("trusted-ca-file", "cert-file", "key-file"), files, strict=True)),
        "--client-cert-auth",
        *(
            f"--{flag}={file}"
            for flag, file in zip(("peer-trusted-ca-file", "peer-cert-file", "peer-key-file"), files, strict=True)
        ),
        "--peer-client-cert-auth",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(ports: Ports, paths: ClusterPaths) -> Sequence[str]:
    """The API server with its default admission plugins, Pod Security and quotas among them."""
    return [
        f"--etcd-servers=https://{LOOPBACK}:{ports.etcd}",
        f"--etcd-cafile={paths.certificate('ca')}",
        f"--etcd-certfile={paths.certificate('etcd')}",
        f"--etcd-keyfile={paths.key('etcd')}",
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        # the Service `kubernetes` may not have a loopback address as its endpoint
        "--endpoint-reconciler-type=none",
        f"--secure-port={ports.api_server}",
        f"--tls-cert-file={paths.certificate('apiserver')}",
        f"--tls-private-key-file={paths.key('apiserver')}",
        f"--client-ca-file={paths.certificate('ca')}",
        "--anonymous-auth=false",
        "--authorization-mode=RBAC",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={paths.certificate('service-accounts')}",
        f"--service-account-signing-key-file={paths.key('service-accounts')}",
        f"--default-not-ready-toleration-seconds={EVICTION_S}",
        f"--default-unreachable-toleration-seconds={EVICTION_S}",
        "--profiling=false",
    ]


def controller_manager(_ports: Ports, paths: ClusterPaths) -> Sequence[str]:
    """The controllers; no port of its own."""
    return [
        f"--kubeconfig={paths.kubeconfig_of('kube-controller-manager')}",
        f"--controllers={','.join(CONTROLLERS)}",
        "--leader-elect=false",
        # each controller with the rights Kubernetes gives it, and no more
        "--use-service-account-credentials",
        f"--root-ca-file={paths.certificate('ca')}",
        f"--service-account-private-key-file={paths.key('service-accounts')}",
        f"--node-monitor-grace-period={NODE_GRACE_S}s",
        "--node-monitor-period=1s",
        "--secure-port=0",
        "--profiling=false",
    ]


def scheduler(_ports: Ports, paths: ClusterPaths) -> Sequence[str]:
    """The scheduler with its default profile; no port of its own."""
    return [
        f"--kubeconfig={paths.kubeconfig_of('kube-scheduler')}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
    ]


def kwok(_ports: Ports, paths: ClusterPaths) -> Sequence[str]:
    """The simulated kubelets of all nodes with the label; how their pods behave is in Stage objects."""
    return [
        f"--kubeconfig={paths.kubeconfig_of('kwok')}",
        # an empty file of our own, so that one in the user's home is not read
        f"--config={paths.certificates / 'kwok.yaml'}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-label-selector={MANAGED[0]}={MANAGED[1]}",
        f"--node-lease-duration-seconds={NODE_GRACE_S}",
        "--enable-crds=Stage",
        f"--cidr={POD_CIDR}",
        # no kubelet port: it would listen on every address of this machine
        "--node-port=0",
    ]


# (label, value) of the nodes kwok plays the kubelet of; a node that loses it has lost its kubelet. A label, because the
# server selects by it: kwok does not notice when an annotation goes
MANAGED = ("simcluster.llm-stack.io/kubelet", "simulated")
# in the order in which they start
PROGRAMS = {
    "etcd": etcd,
    "kube-apiserver": api_server,
    "kube-controller-manager": controller_manager,
    "kube-scheduler": scheduler,
    "kwok": kwok,
}
# every executable there has to be, whichever way the control plane came to this machine
NAMES = (*PROGRAMS, "kubectl")
