"""Checks with Python's own TLS, which has time limits, that an LDAP server answers and that its certificate is valid.

libldap waits forever for a server that accepts the connection and is then idle in the TLS handshake: its network
timeout covers the connection only. So this module probes each new connection first, and only then libldap makes it and
checks the certificate again. This module also reports a certificate's problems; libldap does not.
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

# An extended request with the OID of StartTLS (RFC 4511 section 4.14.1), as message 1.
_START_TLS = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
_LONGEST_ANSWER = 4096
_PORTS = {"ldap": 389, "ldaps": 636}


class ProbeFailed(Exception):
    """The server cannot be used; the message says why."""


def probe(url: str, *, start_tls: bool, ca_file: str, timeout_s: float) -> bytes:
    """Check that the server answers and its certificate is valid.

    Returns:
        The server's certificate, as DER; b"" without TLS.

    Args:
        url: ldap, ldaps or ldapi; ldapi is a socket on this machine and is not probed.
        start_tls: Whether ldap:// is to be encrypted.
        ca_file: PEM file of the authority, or "" for Python's own.
        timeout_s: For each step.

    Raises:
        ProbeFailed: It does not.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        return b""
    host = parts.hostname or "localhost"
    try:
        with socket.create_connection((host, parts.port or _PORTS[parts.scheme]), timeout=timeout_s) as connection:
            if parts.scheme == "ldap" and not start_tls:
                return b""
            if parts.scheme == "ldap":
                _start_tls(connection)
            with _context(ca_file).wrap_socket(connection, server_hostname=host) as secure:
                return secure.getpeercert(binary_form=True) or b""
    except ssl.SSLCertVerificationError as exc:
        raise ProbeFailed(f"its certificate is refused: {exc.verify_message}") from exc
    except TimeoutError as exc:
        raise ProbeFailed(f"no answer within {timeout_s:g} s") from exc
    except OSError as exc:
        raise ProbeFailed(exc.strerror or type(exc).__name__) from exc


def _start_tls(connection: socket.socket) -> None:
    connection.sendall(_START_TLS)
    answer = b""
    while len(answer) < 2 or len(answer) < 2 + answer[1]:
        part = connection.recv(_LONGEST_ANSWER)
        if not part or len(answer) > _LONGEST_ANSWER:
            raise ProbeFailed("the connection ended at StartTLS")
        answer += part
    # SEQUENCE, message 1, ExtendedResponse, and in it first the result; all lengths are short for so short an answer.
    if not (answer[:1] == b"\x30" and answer[2:6] == b"\x02\x01\x01\x78" and answer[7:10] == b"\x0a\x01\x00"):
        raise ProbeFailed("the server refuses StartTLS")


def _context(ca_file: str) -> ssl.SSLContext:
    # Not create_default_context(): its strictness of Python 3.13 refuses authorities that libldap accepts.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    return context
