"""Folders below the user's cache: binaries and clusters."""

from pathlib import Path

from workshop.cache import OWNER_ONLY, free_gb
from workshop.cache import cache as users_cache
from workshop.problems import Impossible


def cache() -> Path:
    """`$XDG_CACHE_HOME/llm-stack/simcluster`, made when missing."""
    place = users_cache() / "simcluster"
    try:
        place.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
    except OSError as error:
        raise Impossible(f"{place}: the cache cannot be made ({error.strerror}); set XDG_CACHE_HOME") from None
    return place


class ClusterPaths:
    """The files of one cluster, all below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "cluster.json"  # what was written down of it
        self.certificates = root / "certificates"  # authority, certificates and keys
        self.logs = root / "logs"  # one file per process, appended to; kept after `down`
        self.data = root / "etcd"  # what etcd stores
        self.kubeconfig = root / "admin.kubeconfig"  # the administrator's

    def kubeconfig_of(self, program: str) -> Path:
        """The kubeconfig of a part of the control plane."""
        return self.certificates / f"{program}.kubeconfig"

    def certificate(self, name: str) -> Path:
        """A certificate of this name."""
        return self.certificates / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Its private key."""
        return self.certificates / f"{name}.key"


def check_free(needed_gb: float, act: str) -> None:
    """Raises `Impossible` where `act` ("building") would run out of disk half-way, and say something less helpful."""
    folder = cache()
    if (free := free_gb(folder)) < needed_gb:
        raise Impossible(f"{folder}: {act} needs about {needed_gb:g} GB, {free:.1f} GB are free; nothing was done")


def programs_folders() -> Path:
    """Folder with one folder of programs for each control plane that was fetched or built."""
    return cache() / "bin"


def clusters() -> Path:
    """The folder of all clusters, in which each has one of its name."""
    return cache() / "clusters"
