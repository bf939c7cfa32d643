"""The names in a certificate: subject and alternative names (RFC 5280 sections 4.1.2.6 and 4.2.1.6)."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID

from compat_auth.client_certificates import Names
from compat_auth.errors import InvalidToken

_SHORT = {
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.GIVEN_NAME: "GN",
    NameOID.SURNAME: "SN",
}


def names_of(certificate: x509.Certificate) -> Names:
    """Return the names in a certificate.

    Raises:
        InvalidToken: They cannot be read.
    """
    try:
        subject = certificate.subject.rfc4514_string(_SHORT)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Names(certificate.subject.rfc4514_string(_SHORT))
    except (ValueError, x509.DuplicateExtension) as exc:
        raise InvalidToken(f"certificate: its names cannot be read ({type(exc).__name__})") from None
    return Names(
        subject,
        tuple(name.lower() for name in found.get_values_for_type(x509.DNSName)),
        tuple(found.get_values_for_type(x509.RFC822Name)),
        tuple(found.get_values_for_type(x509.UniformResourceIdentifier)),
    )
