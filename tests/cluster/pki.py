"""Keys, certificates and kubeconfigs of a test cluster: one authority, an account per component."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster.place import ClusterPlace

_DAYS = 30
_ACCOUNTS = {
    "admin": ("admin", "system:masters"),
    "controllers": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kubelet": ("system:node:node1", "system:nodes"),
    "proxy": ("system:kube-proxy", ""),
}


def make_pki(place: ClusterPlace) -> None:
    """Make everything once; a cluster that is started again keeps it."""
    if (place.pki / "ca.crt").exists():
        return
    place.pki.mkdir(parents=True, exist_ok=True)
    place.pki.chmod(0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("wpclone-test-authority", "", key, None, [])
    service = f"{place.services}.1"
    _write(place.pki, "apiserver", key, authority, "kube-apiserver", "", ["127.0.0.1", place.address, service, "localhost"])
    for name, (user, group) in _ACCOUNTS.items():
        _write(place.pki, name, key, authority, user, group, [place.address, "node1"] if name == "kubelet" else [])
        _kubeconfig(place, name)
    signing = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (place.pki / "sa.key").write_bytes(_private(signing))
    public = signing.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (place.pki / "sa.pub").write_bytes(public)
    (place.pki / "ca.crt").write_bytes(authority.public_bytes(serialization.Encoding.PEM))


def _write(
    directory: Path, name: str, authority_key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, user: str, group: str,
    names: Sequence[str],
) -> None:  # fmt: skip
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(user, group, key, (authority_key, authority), names)
    (directory / f"{name}.key").write_bytes(_private(key))
    (directory / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _certificate(
    user: str,
    group: str,
    key: ec.EllipticCurvePrivateKey,
    by: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None,
    names: Sequence[str],
) -> x509.Certificate:
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        + ([x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else [])
    )
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by[1].subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_usage(is_authority=by is None), critical=True)
    )
    if by:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(by[0].public_key())
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(issuer, critical=False).add_extension(both, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
    return builder.sign(by[0] if by else key, hashes.SHA256())


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=is_authority, crl_sign=is_authority, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _kubeconfig(place: ClusterPlace, name: str) -> None:
    pki = place.pki
    path = place.kubeconfig(name)
    user = {"client-certificate": str(pki / f"{name}.crt"), "client-key": str(pki / f"{name}.key")}
    path.touch(mode=0o600)
    path.write_text(
        yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": place.server, "certificate-authority": str(pki / "ca.crt")}}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
        })
    )  # fmt: skip
