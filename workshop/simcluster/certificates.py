"""The certificates of one cluster: an authority, whose own key is written nowhere, and what it signs for everyone."""

from pathlib import Path

import trustme

from workshop.cache import write_secret
from workshop.simcluster.paths import ClusterPaths

# Of whoever is no administrator: a group without any right.
NOBODYS = "simcluster"
ADMINISTRATORS = "system:masters"
# file name → who the bearer is to the API server: common name and group, in Kubernetes' own convention
IDENTITIES: dict[str, tuple[str, str]] = {
    "admin": ("simcluster-admin", ADMINISTRATORS),
    "apiserver": ("kube-apiserver", NOBODYS),
    "etcd": ("etcd", NOBODYS),
    "kube-controller-manager": ("system:kube-controller-manager", NOBODYS),
    "kube-scheduler": ("system:kube-scheduler", NOBODYS),
    "kwok": ("simcluster-kwok", ADMINISTRATORS),
    # signs the tokens of ServiceAccounts
    "service-accounts": ("simcluster-service-accounts", NOBODYS),
    "stand-ins": ("simcluster-stand-ins", ADMINISTRATORS),
}
# Everyone may call and serve on loopback; the last is the address of the Service `kubernetes`.
SERVED = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "127.0.0.1", "10.96.0.1")


def write_certificates(paths: ClusterPaths) -> None:
    """Writes the authority's certificate, and certificate and key of every identity, for their owner alone."""
    authority = trustme.CA(path_length=0, organization_name=NOBODYS)
    _write(paths.certificate("ca"), authority.cert_pem)
    for identity, (common_name, group) in IDENTITIES.items():
        issued = authority.issue_cert(*SERVED, common_name=common_name, organization_name=group)
        _write(paths.certificate(identity), issued.cert_chain_pems[0])
        _write(paths.key(identity), issued.private_key_pem)


def _write(file: Path, pem: trustme.Blob) -> None:
    write_secret(file, pem.bytes().decode())
