"""The certificates of one cluster: an authority of its own, and a certificate and key for everyone who calls or serves.

The only module that needs `cryptography`; workshop/simcluster/requirements.txt has it, because the program
itself does not.
"""

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from workshop.simcluster.paths import SECRET_FILE, ClusterPaths

# a simulated cluster is thrown away long before
LIFETIME = timedelta(days=365)
# clocks of one machine agree; a minute for one that is just being set
SLACK = timedelta(minutes=1)
ADMINISTRATORS = "system:masters"
AUTHORITY = "ca"
# file name → who the bearer is to the API server: common name and groups, in Kubernetes' own convention
IDENTITIES: dict[str, tuple[str, ...]] = {
    "admin": ("simcluster-admin", ADMINISTRATORS),
    "apiserver": ("kube-apiserver",),
    "etcd": ("etcd",),
    "kube-controller-manager": ("system:kube-controller-manager",),
    "kube-scheduler": ("system:kube-scheduler",),
    "kwok": ("simcluster-kwok", ADMINISTRATORS),
    # signs the tokens of ServiceAccounts
    "service-accounts": ("simcluster-service-accounts",),
    "stand-ins": ("simcluster-stand-ins", ADMINISTRATORS),
}
HOSTS = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
# the second is the address of the Service `kubernetes`
ADDRESSES = ("127.0.0.1", "10.96.0.1")


def write_certificates(paths: ClusterPaths) -> None:
    """Writes certificate and key of the authority and of every identity, readable by their owner alone."""
    authority_key = _new_key()
    name = _name("simcluster")
    authority = _signed(name, name, authority_key, authority_key, _extensions_of_authority(authority_key))
    _write(paths, AUTHORITY, authority, authority_key)
    for identity, (common_name, *groups) in IDENTITIES.items():
        key = _new_key()
        certificate = _signed(_name(common_name, groups), name, key, authority_key, _extensions(authority_key))
        _write(paths, identity, certificate, key)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str, groups: Iterable[str] = ()) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    authority_key: ec.EllipticCurvePrivateKey,
    extensions: Iterable[x509.Extension[x509.ExtensionType]],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(now + LIFETIME)
    )
    for extension in extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(authority_key, SHA256())


def _extension(value: x509.ExtensionType, *, critical: bool = False) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, critical, value)


def _extensions_of_authority(key: ec.EllipticCurvePrivateKey) -> list[x509.Extension[x509.ExtensionType]]:
    return [
        # what it signs may not sign
        _extension(x509.BasicConstraints(ca=True, path_length=0), critical=True),
        _extension(_usage(signs_certificates=True), critical=True),
        _extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key())),
    ]


def _extensions(authority_key: ec.EllipticCurvePrivateKey) -> list[x509.Extension[x509.ExtensionType]]:
    """Everyone may call and serve on loopback. The key identifier is what Python 3.13 and newer insist on."""
    hosts = [x509.DNSName(host) for host in HOSTS]
    addresses = [x509.IPAddress(IPv4Address(address)) for address in ADDRESSES]
    return [
        _extension(x509.BasicConstraints(ca=False, path_length=None), critical=True),
        _extension(_usage(signs_certificates=False), critical=True),
        _extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])),
        _extension(x509.SubjectAlternativeName([*hosts, *addresses])),
        _extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())),
    ]


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(paths: ClusterPaths, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    _write_secret(paths.certificate(name), certificate.public_bytes(Encoding.PEM))
    _write_secret(paths.key(name), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _write_secret(file: Path, content: bytes) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, SECRET_FILE), "wb") as output:
        output.write(content)
