"""TLS on the listener itself: the server's certificate, and what clients show."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable
from pathlib import Path

from compat_auth.client_certificates import reads_certificates
from compat_auth.config import Settings
from compat_auth.crypto.file_modes import refuse_writable_at
from compat_auth.errors import ConfigError

logger = logging.getLogger("compat_auth.server")


class ServerTls:
    """The TLS context of the listeners; certificate and key are read again when the files change.

    Args:
        cert: PEM file with the certificate and its chain.
        key: PEM file with its key.
        client_ca: PEM file with the authorities of clients' certificates; "": clients are not asked for one.

    Attributes:
        context: For new connections.

    Raises:
        ConfigError: A file cannot be read, or certificate and key do not belong together.
    """

    def __init__(self, cert: str, key: str, client_ca: str = "") -> None:
        self._files = (Path(cert), Path(key))
        self.context = _make_context()
        self._seen = self._state()
        require_usable(*self._files)
        self._load()
        if client_ca:
            # A client without a certificate may have another credential; a bad certificate ends the handshake.
            self.context.verify_mode = ssl.CERT_OPTIONAL
            self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            try:
                self.context.load_verify_locations(cafile=client_ca)
            except (OSError, ssl.SSLError) as exc:
                raise ConfigError(
                    f"client_certificate.ca_file: {client_ca}: cannot be used ({_reason(exc)}); name a PEM file"
                ) from None

    @classmethod
    def from_settings(cls, settings: Settings) -> ServerTls | None:
        """Return the TLS of `[serve]`; None where it serves plain HTTP.

        Raises:
            ConfigError: Only one of certificate and key is set, or see the class.
        """
        cert, key = settings.serve.tls_cert, settings.serve.tls_key
        if not cert and not key:
            return None
        if not cert or not key:
            missing = "tls_key" if cert else "tls_cert"
            raise ConfigError(f"serve.{missing}: missing; tls_cert and tls_key belong together")
        return cls(cert, key, settings.client_certificate.ca_file if reads_certificates(settings) else "")

    def refresh(self) -> None:
        """Read certificate and key again where the files have changed; what is wrong with them is logged once."""
        if self._state() != self._seen:
            self.reload()

    def reload(self) -> None:
        """Read certificate and key again; where they cannot be used, the pair before stays in use, and the log says why."""
        self._seen = self._state()
        try:
            require_usable(*self._files)
            self._load()
        except (ConfigError, OSError) as error:
            logger.error("%s; the certificate before it stays in use", error)  # noqa: TRY400  # nothing more to say
        else:
            logger.info("serve.tls_cert: %s: read again", self._files[0])

    def _load(self) -> None:
        _load_into(self.context, *self._files)

    def _state(self) -> tuple[tuple[int, int] | None, ...]:
        return state_of(self._files)


def require_usable(cert: Path, key: Path) -> None:
    """Raise unless a server can use the certificate with the key.

    Raises:
        ConfigError: A file cannot be read, others may write to it, or certificate and key do not belong together.
    """
    for path in (cert, key):
        refuse_writable_at(path)
    # In a context of its own: a mismatch would leave the one in use with half of the new pair.
    _load_into(_make_context(), cert, key)


def state_of(files: Iterable[Path]) -> tuple[tuple[int, int] | None, ...]:
    """Return a value that changes when one of the files is written or replaced."""
    return tuple(map(_state_of, files))


def _load_into(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    try:
        context.load_cert_chain(cert, key, password=_no_passphrase)
    except FileNotFoundError:
        missing = [str(path) for path in (cert, key) if not path.exists()]
        raise ConfigError(f"serve.tls_cert, serve.tls_key: no such file: {', '.join(missing)}") from None
    except (OSError, ssl.SSLError, ValueError) as exc:
        raise ConfigError(
            f"serve.tls_cert, serve.tls_key: {cert}, {key}: cannot be used ({_reason(exc)}); name a certificate in PEM "
            "and its own key without a passphrase"
        ) from None


def _make_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _state_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _no_passphrase() -> str:
    # Without this, OpenSSL would ask on the terminal, which a service has not.
    raise ValueError("the key has a passphrase")


def _reason(exc: Exception) -> str:
    return str(getattr(exc, "reason", "") or getattr(exc, "strerror", "") or exc).lower().replace("_", " ")
