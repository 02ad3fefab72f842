"""The programs of a control plane: their names, the arguments that programs.yaml gives each, and their kubeconfigs."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from workshop.ports import LOOPBACK
from workshop.simcluster.paths import ClusterPaths

_TABLE = yaml.safe_load(Path(__file__).with_name("programs.yaml").read_text(encoding="utf-8"))
_CONTROLLERS = ",".join(f"{name}-controller" for name in _TABLE.pop("controllers"))
# (label, value) of the nodes kwok plays the kubelet of; a node that loses it has lost its kubelet. A label, because the
# server selects by it: kwok does not notice when an annotation goes
MANAGED = ("simcluster.llm-stack.io/kubelet", "simulated")
# in the order in which they start
PROGRAMS = tuple(_TABLE)
# every executable there has to be, whichever way the control plane came to this machine
NAMES = (*PROGRAMS, "kubectl")


@dataclass(frozen=True)
class Ports:
    """Loopback ports of one cluster."""

    etcd: int
    etcd_peer: int
    api_server: int


def arguments(program: str, ports: Ports, paths: ClusterPaths) -> Sequence[str]:
    """What a program of this cluster is told."""
    known = {"loopback": LOOPBACK, "controllers": _CONTROLLERS, "managed": "=".join(MANAGED)}
    folders = {"root": paths.root, "certificates": paths.certificates}
    return [text.format(**known, **folders, **asdict(ports)) for text in _TABLE[program]]


def kubeconfig(paths: ClusterPaths, identity: str, port: int, contexts: Sequence[str]) -> str:
    """YAML of one cluster, one user, and a context of each name; the first is the current one. Holds a private key."""
    cluster = {
        "server": f"https://{LOOPBACK}:{port}",
        "certificate-authority-data": _encoded(paths.certificate("ca")),
    }
    user = {
        "client-certificate-data": _encoded(paths.certificate(identity)),
        "client-key-data": _encoded(paths.key(identity)),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "simcluster", "cluster": cluster}],
        "users": [{"name": identity, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": "simcluster", "user": identity}} for name in contexts],
        "current-context": contexts[0],
    }
    return yaml.safe_dump(content, sort_keys=False)


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
