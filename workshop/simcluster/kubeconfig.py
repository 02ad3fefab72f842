"""Kubeconfigs: who is calling, and where. They hold a private key, so only their owner may read them."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from workshop.simcluster import durable
from workshop.simcluster.paths import ClusterPaths


def kubeconfig(paths: ClusterPaths, identity: str, port: int, contexts: Sequence[str]) -> dict[str, Any]:
    """One cluster, one user, and a context of each name; the first is the current one."""
    cluster = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority-data": _encoded(paths.certificate("ca")),
    }
    user = {
        "client-certificate-data": _encoded(paths.certificate(identity)),
        "client-key-data": _encoded(paths.key(identity)),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "simcluster", "cluster": cluster}],
        "users": [{"name": identity, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": "simcluster", "user": identity}} for name in contexts],
        "current-context": contexts[0],
    }


def write_secret(path: Path, content: Any) -> None:
    """YAML that only its owner can read, never half-written, a power cut included."""
    durable.replace(path, yaml.safe_dump(content, sort_keys=False))


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
