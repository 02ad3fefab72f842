"""Kubeconfigs: who is calling, and where. They hold a private key, so only their owner may read them."""

import base64
from collections.abc import Sequence
from pathlib import Path

import yaml

from workshop.ports import LOOPBACK
from workshop.simcluster.paths import ClusterPaths


def kubeconfig(paths: ClusterPaths, identity: str, port: int, contexts: Sequence[str]) -> str:
    """One cluster, one user, and a context of each name; the first is the current one. As YAML."""
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
