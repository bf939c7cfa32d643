"""A certificate authority for one run, and what it signs for the peers on loopback."""

import datetime as dt
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID = dt.timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Signed:
    """Where a certificate and its key are, as PEM."""

    certificate: Path
    key: Path


class Authority:
    """An authority whose certificate is in `ca_file`."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self._name, self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        usage = {"key_cert_sign": True, "crl_sign": True, "digital_signature": False, "content_commitment": False}
        usage |= {"key_encipherment": False, "data_encipherment": False, "key_agreement": False}
        builder = builder.add_extension(
            x509.KeyUsage(**usage, encipher_only=False, decipher_only=False), critical=True
        ).add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))

    def sign(self, name: str, *addresses: str, valid: dt.timedelta = VALID) -> Signed:
        """Return a certificate for a server.

        Args:
            name: Of the files.
            addresses: IP addresses that it names; none: loopback and this machine's own name.
            valid: How long from now; a negative time has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        # libldap looks for the machine's own name where it was asked to connect to "localhost".
        names: list[x509.GeneralName] = [] if addresses else [x509.DNSName("localhost"), x509.DNSName(_host_name())]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses or ("127.0.0.1",)]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, self._name, key.public_key(), valid).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        # Python 3.13 refuses certificates without it (RFC 5280 section 4.2.1.1).
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        signed = Signed(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        signed.certificate.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        signed.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return signed


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid: dt.timedelta = VALID
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + valid)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _host_name() -> str:
    name = socket.gethostname()
    return name if name.isascii() and len(name) < 64 else "localhost"
