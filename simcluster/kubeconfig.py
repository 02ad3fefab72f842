"""Kubeconfigs: who is calling, and where. They hold a private key, so only their owner may read them."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from simcluster.paths import SECRET_FILE, ClusterPaths


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
    """YAML that only its owner can read, never half-written."""
    fresh = path.with_name(f".{path.name}-{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, SECRET_FILE), "w", encoding="utf-8") as file:
        yaml.safe_dump(content, file, sort_keys=False)
    fresh.rename(path)


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
