"""Where things lie: binaries and clusters below the user's cache, readable by their owner alone."""

import os
from dataclasses import dataclass
from pathlib import Path

from workshop.simcluster.problems import Impossible

OWNER_ONLY = 0o700
SECRET_FILE = 0o600


def cache() -> Path:
    """`$XDG_CACHE_HOME/llm-stack/simcluster`, made when missing."""
    # a relative XDG_CACHE_HOME is to be ignored: XDG Base Directory Specification 0.8, "Basics"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        base = named if named.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        raise Impossible("this user has no home directory for the cache; set XDG_CACHE_HOME") from None
    place = base / "llm-stack" / "simcluster"
    try:
        place.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
    except OSError as error:
        raise Impossible(f"{place}: the cache cannot be made ({error.strerror}); set XDG_CACHE_HOME") from None
    return place


@dataclass(frozen=True)
class ClusterPaths:
    """The files of one cluster, all below `root`."""

    root: Path

    @property
    def state(self) -> Path:
        """What runs: ports and processes."""
        return self.root / "cluster.json"

    @property
    def certificates(self) -> Path:
        """Authority, certificates and keys."""
        return self.root / "certificates"

    @property
    def logs(self) -> Path:
        """One file per process, appended to; kept after `down`."""
        return self.root / "logs"

    @property
    def data(self) -> Path:
        """What etcd stores."""
        return self.root / "etcd"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "admin.kubeconfig"

    def kubeconfig_of(self, program: str) -> Path:
        """The kubeconfig of a part of the control plane."""
        return self.certificates / f"{program}.kubeconfig"

    def certificate(self, name: str) -> Path:
        """A certificate of this name."""
        return self.certificates / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Its private key."""
        return self.certificates / f"{name}.key"


def programs_folders() -> Path:
    """Where each control plane that was fetched or built has a folder of its programs."""
    return cache() / "bin"


def clusters() -> Path:
    """The folder of all clusters."""
    return cache() / "clusters"


def cluster(name: str) -> ClusterPaths:
    """Where the cluster of this name lies, whether it exists or not."""
    return ClusterPaths(clusters() / name)
