"""An authority of ours, what it issues, and its list of what it has revoked."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def escaped(self) -> str:
        """As nginx forwards it."""
        return quote(self.pem, safe="")

    @property
    def base64(self) -> str:
        """As HAProxy and Traefik forward it."""
        return base64.b64encode(self.der).decode()

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write certificate and key; return their paths."""
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        paths[0].write_text(self.pem)
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        paths[1].write_bytes(key)
        return paths


def name_of(text: str) -> x509.Name:
    """Return a name that is written as RFC 4514 does."""
    return x509.Name.from_rfc4514_string(text)


@dataclass
class Authority:
    """An authority that signs what it is asked to."""

    name: str = "CN=Clients CA,O=Example"
    signed_by: Authority | None = None
    is_authority: bool = True
    limits: Sequence[x509.ExtensionType] = ()
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        issuer = self.signed_by or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(name_of(self.name))
            .issuer_name(name_of(issuer.name))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 9 * DAY)
            .not_valid_after(NOW + 9 * DAY)
            .add_extension(x509.BasicConstraints(ca=self.is_authority, path_length=None), critical=True)
        )
        for limit in self.limits:
            builder = builder.add_extension(limit, critical=False)
        self.certificate = builder.sign(issuer.key, hashes.SHA256())

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def write(self, path: Path) -> Path:
        """Write the certificate, and return the path."""
        path.write_text(self.pem)
        return path

    def issue(
        self,
        subject: str = "CN=etl,OU=Robots,O=Example",
        *,
        names: Sequence[x509.GeneralName] = (),
        purposes: Sequence[ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        starts: dt.datetime = NOW - DAY,
        ends: dt.datetime = NOW + DAY,
        critical: str = "",
    ) -> Issued:
        """Return a certificate for a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(name_of(subject))
            .issuer_name(name_of(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(starts)
            .not_valid_after(ends)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if critical:
            unknown = x509.UnrecognizedExtension(ObjectIdentifier(critical), b"\x05\x00")
            builder = builder.add_extension(unknown, critical=True)
        return Issued(builder.sign(self.key, hashes.SHA256()), key)

    def revocations(self, *revoked: Issued, starts: dt.datetime = NOW - DAY, ends: dt.datetime = NOW + DAY) -> str:
        """Return the list of revoked certificates, as PEM."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(name_of(self.name))
        builder = builder.last_update(starts).next_update(ends)
        for one in revoked:
            entry = (
                x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number).revocation_date(NOW - DAY)
            )
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
