"""The programs of a control plane: names, arguments, kubeconfigs; and the record of one that was started."""

import base64
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from workshop.cache import write_secret
from workshop.ports import LOOPBACK, free_ports, is_taken
from workshop.problems import Impossible
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
# which port is whose: field of `Ports` → program
OWNERS = {"etcd": "etcd", "etcd_peer": "etcd", "api_server": "kube-apiserver"}


@dataclass(frozen=True)
class Ports:
    """Loopback ports of one cluster."""

    etcd: int
    etcd_peer: int
    api_server: int


class Damaged(Impossible):
    """The record of a cluster cannot be read."""


@dataclass
class State:
    """The record of a cluster. `programs`: the folder whose programs it was started from."""

    programs: str
    ports: Ports
    contexts: tuple[str, ...]

    def write(self, file: Path) -> None:
        """Writes it; after a power cut the file is whole, old or new."""
        write_secret(file, json.dumps(asdict(self), indent=1))


def read(file: Path) -> State | None:
    """The record in a file; None when there is no such file. Raises `Damaged`."""
    try:
        raw: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return State(**{**raw, "ports": Ports(**raw["ports"]), "contexts": tuple(raw["contexts"])})
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError):
        name = file.parent.name
        raise Damaged(
            f"cluster '{name}': {file} cannot be read: it was damaged, or written by another version; "
            f"end the cluster with: python -m workshop.simcluster down --name {name}"
        ) from None


def without_taken(ports: Ports, running: Collection[str]) -> Ports:
    """The ports, but others for those that are taken while their program does not run."""
    fields = [name for name, owner in OWNERS.items() if owner not in running and is_taken(asdict(ports)[name])]
    return replace(ports, **dict(zip(fields, free_ports(len(fields)), strict=True)))


def arguments(program: str, ports: Ports, paths: ClusterPaths) -> Sequence[str]:
    """The command line of a program of this cluster, without the program."""
    known = {"loopback": LOOPBACK, "controllers": _CONTROLLERS, "managed": "=".join(MANAGED)}
    folders = {"root": paths.root, "certificates": paths.certificates}
    return [text.format(**known, **folders, **asdict(ports)) for text in _TABLE[program]]


def kubeconfig(paths: ClusterPaths, identity: str, port: int, contexts: Sequence[str]) -> str:
    """YAML of one cluster, one user, and a context of each name; the first is the current one. Holds a private key."""
    cluster = {"server": f"https://{LOOPBACK}:{port}", "certificate-authority-data": _encoded(paths.certificate("ca"))}
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
