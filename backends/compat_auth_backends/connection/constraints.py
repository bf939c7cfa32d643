"""The limits of the authorities in a chain that the library does not check (RFC 5280 section 6.1).

The library compares alternative names with the constraints of each authority. It leaves out the subject, which our rules
may name, and the purposes of an authority, which CAs and TLS stacks take as limits for what it issues.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from compat_auth.errors import InvalidToken

_Rdn = frozenset[tuple[str, str]]


def check_issuers(chain: Sequence[x509.Certificate]) -> None:
    """Raise unless the issuers in a verified chain may certify the subject of its first certificate, for a client.

    Args:
        chain: From the client's certificate to the trusted authority.

    Raises:
        InvalidToken: One may not.
    """
    leaf, *issuers = chain
    # The last one is trusted because the operator has named it, whatever purposes it has.
    for issuer in issuers[:-1]:
        _require_purpose(issuer)
    for issuer in issuers:
        _require_permitted(leaf, issuer)


def _require_purpose(issuer: x509.Certificate) -> None:
    try:
        purposes = issuer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}.intersection(purposes):
        raise InvalidToken("certificate: the extended key usage of its issuer is not clientAuth")


def _require_permitted(leaf: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        limits = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return
    permitted, excluded = limits.permitted_subtrees or (), limits.excluded_subtrees or ()
    subject = _rdns(leaf.subject)
    within, without = ([_is_below(subject, base) for base in _names_in(limit)] for limit in (permitted, excluded))
    if (within and not any(within)) or any(without):
        raise InvalidToken("certificate: its issuer may not certify this subject (name constraints)")
    for attribute in leaf.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        address = str(attribute.value).casefold()
        within, without = ([_is_at(address, base) for base in _addresses_in(limit)] for limit in (permitted, excluded))
        if (within and not any(within)) or any(without):
            raise InvalidToken("certificate: its issuer may not certify the address in the subject (name constraints)")


def _names_in(constraints: Iterable[x509.GeneralName]) -> Iterable[tuple[_Rdn, ...]]:
    return (_rdns(name.value) for name in constraints if isinstance(name, x509.DirectoryName))


def _addresses_in(constraints: Iterable[x509.GeneralName]) -> Iterable[str]:
    return (name.value.casefold() for name in constraints if isinstance(name, x509.RFC822Name))


def _is_at(address: str, base: str) -> bool:
    """Return whether an address is, or is at, what a constraint names: an address, a host, or with a dot a domain."""
    host = address.rpartition("@")[2]
    if "@" in base:
        return address == base
    return host.endswith(base) if base.startswith(".") else host == base


def _rdns(name: x509.Name) -> tuple[_Rdn, ...]:
    """Return a name as RFC 5280 section 7.1 compares it: without case, and with one blank for several."""
    return tuple(
        frozenset((attribute.oid.dotted_string, " ".join(str(attribute.value).casefold().split())) for attribute in rdn)
        for rdn in name.rdns
    )


def _is_below(name: tuple[_Rdn, ...], base: tuple[_Rdn, ...]) -> bool:
    return name[: len(base)] == base
