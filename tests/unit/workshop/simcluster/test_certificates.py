"""The certificates of a simulated cluster: who trusts whom, for what, and who may read them.

Does not prove that Kubernetes accepts them; `make cluster-test` does.
"""

import shutil
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from workshop.simcluster.certificates import IDENTITIES, write_certificates
from workshop.simcluster.paths import ClusterPaths


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> ClusterPaths:
    """A cluster with certificates."""
    return made(tmp_path_factory.mktemp("cluster"))


def made(root: Path) -> ClusterPaths:
    """Certificates in an empty folder."""
    paths = ClusterPaths(root)
    paths.certificates.mkdir()
    write_certificates(paths)
    return paths


def certificate(paths: ClusterPaths, name: str) -> x509.Certificate:
    """One of them, parsed."""
    return x509.load_pem_x509_certificate(paths.certificate(name).read_bytes())


def shake(server: ClusterPaths, serves: str, client: ClusterPaths, calls: str, host: str = "127.0.0.1") -> None:
    """A handshake in memory, in which both prove who they are, and are as strict as newer Pythons. Raises SSLError."""
    calling = ssl.create_default_context(cafile=client.certificate("ca"))
    calling.load_cert_chain(client.certificate(calls), client.key(calls))
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=server.certificate("ca"))
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.load_cert_chain(server.certificate(serves), server.key(serves))
    for context in (calling, serving):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [calling.wrap_bio(down, up, server_hostname=host), serving.wrap_bio(up, down, server_side=True)]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue


def test_only_the_owner_reads_them(paths: ClusterPaths):
    """A certificate and a key per identity and the authority's certificate, for their owner alone; no key of it."""
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in paths.certificates.iterdir()} == {
        "ca.crt": 0o600,
        **{f"{name}.{kind}": 0o600 for name in IDENTITIES for kind in ("crt", "key")},
    }


def test_who_the_bearers_are(paths: ClusterPaths):
    """Common name and groups as Kubernetes reads them; administrators are those three and no others."""
    found = {}
    for name in IDENTITIES:
        subject = certificate(paths, name).subject
        (group,) = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        (common_name,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        found[name] = [common_name.value, group.value]
    # nobody has given the group `simcluster` any right
    assert found == {
        "admin": ["simcluster-admin", "system:masters"],
        "apiserver": ["kube-apiserver", "simcluster"],
        "etcd": ["etcd", "simcluster"],
        "kube-controller-manager": ["system:kube-controller-manager", "simcluster"],
        "kube-scheduler": ["system:kube-scheduler", "simcluster"],
        "kwok": ["simcluster-kwok", "system:masters"],
        "service-accounts": ["simcluster-service-accounts", "simcluster"],
        "stand-ins": ["simcluster-stand-ins", "system:masters"],
    }


@pytest.mark.parametrize("name", IDENTITIES)
def test_everyone_may_call(paths: ClusterPaths, name: str):
    """Who serves accepts each of them, with its own key."""
    shake(paths, "apiserver", paths, name)


@pytest.mark.parametrize("name", IDENTITIES)
def test_everyone_may_serve(paths: ClusterPaths, name: str):
    """Under the names of loopback and of the Service `kubernetes`, and no other name."""
    for host in ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "127.0.0.1", "10.96.0.1"):
        shake(paths, name, paths, "admin", host)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"Hostname mismatch"):
        shake(paths, name, paths, "admin", "example.com")


def test_another_clusters_authority_vouches_for_nobody(paths: ClusterPaths, tmp_path: Path):
    """What one has signed another does not accept, neither from who calls nor from who serves."""
    other = made(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(other, "apiserver", paths, "admin")
    stranger = ClusterPaths(tmp_path / "stranger")
    shutil.copytree(other.certificates, stranger.certificates)
    shutil.copy(paths.certificate("ca"), stranger.certificate("ca"))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(paths, "apiserver", stranger, "admin")


@pytest.mark.parametrize("name", ["ca", *IDENTITIES])
def test_they_last(paths: ClusterPaths, name: str):
    """A simulated cluster is thrown away long before, also one whose clock is a day behind."""
    now, found = datetime.now(UTC), certificate(paths, name)
    assert found.not_valid_before_utc < now - timedelta(days=1) < now + timedelta(days=365) < found.not_valid_after_utc
