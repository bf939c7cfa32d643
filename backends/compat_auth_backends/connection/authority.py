"""Whether a client's certificate is good: chain, validity, purpose and revocation (RFC 5280 section 6)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from compat_auth.errors import BackendUnavailable, ConfigError, InvalidToken
from compat_auth.files import read_unwritable
from compat_auth_backends.connection.constraints import check_issuers

_UNDERSTOOD = frozenset(
    (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    )
)
_MAX_DEPTH = 4


class Authority:
    """The authorities that issue clients' certificates. Any thread may call.

    Args:
        ca_file: PEM of their certificates.
        crl_file: PEM of their revocation lists; "": none is looked at.
        now: Clock, in UTC.

    Raises:
        ConfigError: A file cannot be read, has nothing of the kind in it, or others may write to it.
    """

    def __init__(
        self, ca_file: str, crl_file: str = "", *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._authorities = _read_certificates(ca_file)
        self._store = Store(self._authorities)
        self._revoked = RevocationLists(Path(crl_file), now) if crl_file else None
        self._now = now

    def verify(self, certificates: Sequence[bytes]) -> x509.Certificate:
        """Return the client's certificate, the first of these, once it is good.

        Args:
            certificates: DER; those behind the first may complete the chain.

        Raises:
            InvalidToken: It is not good; says why, for logs only.
            BackendUnavailable: The list of revoked certificates has ended, or cannot be read.
        """
        try:
            leaf, *others = [x509.load_der_x509_certificate(der) for der in certificates[:_MAX_DEPTH]]
            _check_purpose(leaf)
            builder = PolicyBuilder().store(self._store).time(self._now()).max_chain_depth(_MAX_DEPTH)
            # A certificate without alternative names is a client's, too; what a browser asks of servers does not count.
            builder = builder.extension_policies(ca_policy=_authorities_policy(), ee_policy=_client_policy())
            chain = builder.build_client_verifier().verify(leaf, others).chain
            for certificate in chain:
                _check_critical(certificate)
            check_issuers(chain)
        except VerificationError as exc:
            raise InvalidToken(f"certificate: {str(exc).partition('(encountered')[0].strip()[:200]}") from None
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as exc:
            raise InvalidToken(f"certificate: cannot be read ({type(exc).__name__})") from None
        if self._revoked is not None:
            self._revoked.check(chain)
        return leaf

    def probe(self) -> str:
        """Return a summary of the authorities and their lists.

        Raises:
            ConfigError: An authority's certificate has ended.
            BackendUnavailable: The list of revoked certificates has ended, or cannot be read.
        """
        now = self._now()
        for authority in self._authorities:
            if authority.not_valid_after_utc <= now:
                name = authority.subject.rfc4514_string()
                raise ConfigError(f"client_certificate.ca_file: {name} has ended; replace it by a valid one")
        told = f"{len(self._authorities)} authorities"
        return told if self._revoked is None else f"{told}; {self._revoked.probe(self._authorities)}"


class RevocationLists:
    """The authorities' lists of revoked certificates (RFC 5280 section 5), read again when the file changes.

    Args:
        path: PEM.
        now: Clock, in UTC.

    Raises:
        ConfigError: The file cannot be read, or has no list in it.
    """

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self._path = path
        self._now = now
        self._lock = threading.Lock()
        self._read_at: tuple[int, ...] = ()
        self._lists: tuple[x509.CertificateRevocationList, ...] = ()
        try:
            self._current()
        except BackendUnavailable as error:
            raise ConfigError(f"client_certificate.crl_file: {error}") from None

    def check(self, chain: Sequence[x509.Certificate]) -> None:
        """Check that no certificate of a verified chain is revoked.

        Raises:
            InvalidToken: One is.
            BackendUnavailable: No valid list of the issuer's is there, or the file cannot be read.
        """
        lists = self._current()
        for certificate, issuer in pairwise(chain):
            own = [found for found in lists if found.issuer == issuer.subject and _is_signed_by(found, issuer)]
            if not own and certificate is not chain[0]:
                continue  # an authority below another one, which keeps no list
            current = [found for found in own if self._is_current(found)]
            if not current:
                raise BackendUnavailable(
                    f"{self._path}: no valid list of {issuer.subject.rfc4514_string()}, or it has ended; replace it"
                )
            if any(found.get_revoked_certificate_by_serial_number(certificate.serial_number) for found in current):
                raise InvalidToken(f"certificate: {certificate.serial_number:x} is revoked")

    def probe(self, authorities: Sequence[x509.Certificate]) -> str:
        """Return until when the lists are good.

        Raises:
            BackendUnavailable: A list has ended, or is none of these authorities'.
        """
        lists = self._current()
        for found in lists:
            name = found.issuer.rfc4514_string()
            if not any(_is_signed_by(found, one) for one in authorities if one.subject == found.issuer):
                raise BackendUnavailable(f"{self._path}: the list of {name} is signed by none of ca_file; replace it")
            if not self._is_current(found):
                raise BackendUnavailable(f"{self._path}: the list of {name} has ended; replace it")
        ends = min(found.next_update_utc for found in lists if found.next_update_utc is not None)
        return f"revocation lists until {ends:%Y-%m-%d %H:%M} UTC"

    def _is_current(self, found: x509.CertificateRevocationList) -> bool:
        now, end = self._now(), found.next_update_utc
        return found.last_update_utc <= now and end is not None and now < end

    def _current(self) -> tuple[x509.CertificateRevocationList, ...]:
        with self._lock:
            try:
                status = self._path.stat()
                identity = (status.st_mtime_ns, status.st_size, status.st_ino)
                if identity != self._read_at:
                    self._lists = _read_lists(self._path)
                    self._read_at = identity
            except OSError as exc:
                raise BackendUnavailable(f"{self._path}: cannot be read ({exc.strerror})") from None
            except (ValueError, ConfigError) as exc:
                raise BackendUnavailable(f"{self._path}: {exc}") from None
            return self._lists


def _read_lists(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    text = read_unwritable(path)
    end = "-----END X509 CRL-----"
    blocks = [f"{block}{end}" for block in text.split(end)[:-1]]
    if not blocks:
        raise ValueError("no X509 CRL in it; write it as PEM, with openssl crl -inform DER")
    lists = tuple(x509.load_pem_x509_crl(block.encode()) for block in blocks)
    for found in lists:
        # A list for some certificates only, or of changes only, tells less than it seems to (RFC 5280 section 5.2).
        if any(extension.critical for extension in found.extensions):
            raise ValueError("a list with a critical extension, so a partial one; use the whole list")
    return lists


def _read_certificates(ca_file: str) -> list[x509.Certificate]:
    if not ca_file:
        raise ConfigError(
            "client_certificate.ca_file: missing; name the PEM file of the authority that issues clients' certificates"
        )
    where = f"client_certificate.ca_file: {ca_file}"
    try:
        return x509.load_pem_x509_certificates(read_unwritable(Path(ca_file)).encode())
    except OSError as exc:
        raise ConfigError(f"{where}: cannot be read ({exc.strerror}); let this user read it") from None
    except ValueError:
        raise ConfigError(f"{where}: no certificates in PEM; write them between BEGIN and END CERTIFICATE") from None


def _is_signed_by(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    try:
        may_sign = usage is None or usage.crl_sign
        return may_sign and found.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _check_purpose(leaf: x509.Certificate) -> None:
    """Check that a certificate may be a client's; without a purpose it may (RFC 5280 section 4.2.1.12).

    Raises:
        InvalidToken: It may not.
    """
    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        raise InvalidToken("certificate: its extended key usage is not clientAuth")


def _check_critical(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise InvalidToken(f"certificate: a critical extension is not understood: {extension.oid.dotted_string}")


def _authorities_policy() -> ExtensionPolicy:
    def is_authority(_policy: object, _certificate: x509.Certificate, found: x509.BasicConstraints) -> None:
        if not found.ca:
            raise ValueError("an issuer is no authority")

    def may_sign(_policy: object, _certificate: x509.Certificate, found: x509.KeyUsage | None) -> None:
        if found is not None and not found.key_cert_sign:
            raise ValueError("an issuer's key may not sign certificates")

    policy = ExtensionPolicy.permit_all()
    policy = policy.require_present(x509.BasicConstraints, Criticality.AGNOSTIC, is_authority)
    return policy.may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, may_sign)


def _client_policy() -> ExtensionPolicy:
    def is_no_authority(_policy: object, _certificate: x509.Certificate, found: x509.BasicConstraints | None) -> None:
        if found is not None and found.ca:
            raise ValueError("an authority's certificate is no client's")

    policy = ExtensionPolicy.permit_all()
    return policy.may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, is_no_authority)
