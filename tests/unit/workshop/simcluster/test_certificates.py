"""The certificates of a simulated cluster: who trusts whom, for what, and who may read them.

Does not prove that Kubernetes accepts them; `make cluster-test` does.
"""

import ipaddress
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

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


def policy(paths: ClusterPaths) -> PolicyBuilder:
    """Trust in the authority of these, and in no other."""
    return PolicyBuilder().store(Store([certificate(paths, "ca")]))


def test_only_the_owner_reads_them(paths: ClusterPaths):
    """A certificate and a key per identity and for the authority, all for their owner alone, and nothing else."""
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in paths.certificates.iterdir()} == {
        f"{name}.{kind}": 0o600 for name in ("ca", *IDENTITIES) for kind in ("crt", "key")
    }


def test_who_the_bearers_are(paths: ClusterPaths):
    """Common name and groups as Kubernetes reads them; administrators are those three and no others."""
    found = {}
    for name in ("ca", *IDENTITIES):
        subject = certificate(paths, name).subject
        groups = [item.value for item in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
        (common_name,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        found[name] = [common_name.value, *groups]
    assert found == {
        "ca": ["simcluster"],
        "admin": ["simcluster-admin", "system:masters"],
        "apiserver": ["kube-apiserver"],
        "etcd": ["etcd"],
        "kube-controller-manager": ["system:kube-controller-manager"],
        "kube-scheduler": ["system:kube-scheduler"],
        "kwok": ["simcluster-kwok", "system:masters"],
        "service-accounts": ["simcluster-service-accounts"],
        "stand-ins": ["simcluster-stand-ins", "system:masters"],
    }


@pytest.mark.parametrize("name", IDENTITIES)
def test_the_authority_vouches_for_everyone(paths: ClusterPaths, name: str):
    """Each may call, and serve under the names of loopback and of the Service `kubernetes`, and no other name."""
    leaf = certificate(paths, name)
    subjects = [
        *map(x509.DNSName, ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")),
        *map(x509.IPAddress, map(ipaddress.ip_address, ("127.0.0.1", "10.96.0.1"))),
    ]
    for subject in subjects:
        assert policy(paths).build_server_verifier(subject).verify(leaf, [])[0] == leaf
    assert policy(paths).build_client_verifier().verify(leaf, []).subjects == subjects
    with pytest.raises(VerificationError):
        policy(paths).build_server_verifier(x509.DNSName("example.com")).verify(leaf, [])


def test_another_clusters_authority_vouches_for_nobody(paths: ClusterPaths, tmp_path: Path):
    """Authorities have the same name and another key: what one has signed the other does not accept."""
    other = made(tmp_path)
    with pytest.raises(VerificationError):
        policy(paths).build_client_verifier().verify(certificate(other, "admin"), [])


@pytest.mark.parametrize("name", ["ca", *IDENTITIES])
def test_keys_fit(paths: ClusterPaths, name: str):
    """Each key is on P-256, in PKCS #8, and that of its certificate."""
    text = paths.key(name).read_bytes()
    key = load_pem_private_key(text, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert (text.splitlines()[0], key.curve.name, key.public_key()) == (
        b"-----BEGIN PRIVATE KEY-----",
        "secp256r1",
        certificate(paths, name).public_key(),
    )


def test_strict_clients_accept_them(paths: ClusterPaths):
    """A handshake in memory, in which both sides prove themselves and the client is as strict as newer Pythons are."""
    client = ssl.create_default_context(cafile=paths.certificate("ca"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_cert_chain(paths.certificate("admin"), paths.key("admin"))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=paths.certificate("ca"))
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_X509_STRICT
    server.load_cert_chain(paths.certificate("apiserver"), paths.key("apiserver"))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname="127.0.0.1"), server.wrap_bio(up, down, server_side=True)]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue
