"""TLS for calls to other servers: the trusted authorities."""

from __future__ import annotations

import ssl

from compat_auth.errors import ConfigError


def verified_tls(ca_file: str, where: str) -> ssl.SSLContext:
    """Return a context that checks certificate and host name, TLS 1.2 at least.

    Args:
        ca_file: PEM file of the trusted authorities; "" means the system's.
        where: The setting that names the file, for messages.

    Raises:
        ConfigError: The file cannot be read, or has no certificates.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as exc:
        raise ConfigError(f"{where}: {ca_file}: no CA file ({exc.strerror}); name a PEM file") from exc
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def unverified_tls() -> ssl.SSLContext:
    """Return a context that accepts every certificate: for an operator who chooses so, or to see whether there is TLS."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
