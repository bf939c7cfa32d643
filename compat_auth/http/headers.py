"""Raw header lists: strict intake, and what may not come from outside. No I/O, no Flask.

Names are compared as servers behind us may compare them: without case, and with `_` and `.` taken for `-`
(CVE-2025-64484, CVE-2026-54763, CVE-2026-88011).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Any

from compat_auth.errors import AmbiguousCredentials, BadRequest, HeadersTooLarge
from compat_auth.http.identity_headers import IDENTITY_NAMES, tells_identity

RawHeaders = list[tuple[bytes, bytes]]

# Large enough for a Kerberos ticket with a Windows PAC (48,000 bytes), smaller than what proxies take for an attack.
MAX_HEADER_BYTES = 60 * 1024

_FORWARD = (
    b"forwarded x-forwarded x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-forwarded-protocol "
    b"x-forwarded-scheme x-forwarded-ssl x-forwarded-prefix x-forwarded-path x-forwarded-uri x-forwarded-method "
    b"x-forwarded-server x-forwarded-by x-real-ip x-client-ip x-cluster-client-ip true-client-ip cf-connecting-ip "
    b"x-original-url x-original-uri x-original-host x-original-method x-original-forwarded-for x-rewrite-url "
    b"x-script-name x-envoy-original-path x-envoy-original-method x-envoy-external-address x-envoy-internal "
    b"proxy x-http-method x-http-method-override x-method-override front-end-https x-url-scheme"
).split()
_FRAMING = (
    b"host authorization proxy-authorization cookie content-length transfer-encoding connection upgrade te".split()
)


class _Kind(IntEnum):
    IDENTITY = 1
    FORWARD = 2
    HOST = 3
    AUTHORIZATION = 4
    COOKIE = 5
    OTHER_FRAMING = 6
    ORDINARY = 7
    OURS = 8


_KINDS: dict[bytes, int] = {
    **dict.fromkeys(IDENTITY_NAMES, _Kind.IDENTITY),
    **dict.fromkeys(_FORWARD, _Kind.FORWARD),
    **dict.fromkeys(_FRAMING, _Kind.OTHER_FRAMING),
    b"host": _Kind.HOST,
    b"authorization": _Kind.AUTHORIZATION,
    b"cookie": _Kind.COOKIE,
}
_SET_APART = frozenset((_Kind.OURS, _Kind.HOST))
_LENGTHS = frozenset((b"content-length", b"transfer-encoding"))
_KNOWN_LENGTH = 64
_OURS = b"x-compat-auth-"
_BODY = frozenset((b"content-length", b"transfer-encoding"))
_FOLD = bytes.maketrans(b"_.", b"--")
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z")
# RFC 9110 5.5: no control character but the tab.
_VALUE_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# What parts words in a cookie, in whichever parser: blanks, commas, quotes, and all beyond ASCII.
_NO_COOKIE_NAME = re.compile(rb"[^!#-+\--~]+")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")


@dataclass(slots=True)
class Intake:
    """A header section, taken in strictly.

    Attributes:
        kept: What may go on: no Authorization, no Cookie, no identity and no forward header, no Host.
        host: The one Host value, ASCII; b"" where a request may lack it.
        authorization: Authorization values, at most one.
        cookies: Cookie values.
        forward: Forward headers as they came, folded names, for a peer that is a trusted proxy.
        identity: Identity headers as they came, for a peer that is a trusted proxy; they never go on.
    """

    kept: RawHeaders = field(repr=False)
    host: bytes
    authorization: bytes | None = field(repr=False)
    cookies: list[bytes] = field(repr=False)
    forward: dict[bytes, list[bytes]] = field(repr=False)
    identity: RawHeaders = field(default_factory=list["tuple[bytes, bytes]"], repr=False)


def take_in(raw_headers: RawHeaders, *, may_lack_host: bool = False) -> Intake:
    """Return the header section, sorted into what it means.

    Args:
        raw_headers: Lower-case names, in the order of the wire, duplicates apart (as ASGI has them).
        may_lack_host: Host may be missing or empty.

    Raises:
        BadRequest: None or two Host headers, a name that another server could take for a meaningful one, two
            credentials, a control character.
        HeadersTooLarge: The section is larger than MAX_HEADER_BYTES.
    """
    intake = Intake([], b"", None, [], {})
    values = b"".join([value for _, value in raw_headers])
    # ": " and the line's end: a thousand empty headers are not free.
    size = len(values) + 4 * len(raw_headers)
    for header in raw_headers:
        name = header[0]
        size += len(name)
        kind = _KINDS.get(name)
        if kind is None:
            # A caller chooses the names: what is remembered of them is bounded in number and in size.
            kind = _known_kind(name) if len(name) <= _KNOWN_LENGTH else _kind_of(name)
        if kind == _Kind.ORDINARY:
            intake.kept.append(header)
        elif kind == _Kind.IDENTITY:
            intake.identity.append(header)
        elif kind not in _SET_APART:
            _sort(intake, kind, header)
    if _VALUE_FORBIDDEN.search(values):
        raise BadRequest("header section: a control character in a value")
    if size > MAX_HEADER_BYTES:
        raise HeadersTooLarge(f"header section: larger than {MAX_HEADER_BYTES} bytes")
    if intake.kept and len(_LENGTHS.intersection([name for name, _ in intake.kept])) > 1:
        # Where the body ends would be a matter of taste: request smuggling (RFC 9112 section 6.1).
        raise BadRequest("Content-Length and Transfer-Encoding in one request; send one")
    intake.host = _one_host(raw_headers, may_lack_host)
    return intake


def _one_host(raw_headers: RawHeaders, may_lack: bool) -> bytes:
    """Return the one Host value; b"" where it is missing or empty and may be.

    Raises:
        BadRequest: There are two, or it is none.
    """
    hosts = [value for name, value in raw_headers if name == b"host"]
    if len(hosts) > 1:
        raise BadRequest("Host: two headers; send one")
    host = hosts[0] if hosts else b""
    if not is_host(host) and (host or not may_lack):
        raise BadRequest("Host: missing or malformed; send exactly one")
    return host


def _sort(intake: Intake, kind: int, header: tuple[bytes, bytes]) -> None:
    """Put a header that means something where it belongs.

    Raises:
        BadRequest: It may stand there once, and this is the second.
    """
    name, value = header
    if kind == _Kind.AUTHORIZATION:
        if intake.authorization is not None:
            raise AmbiguousCredentials("Authorization: two headers in one request; send one")
        intake.authorization = value
    elif kind == _Kind.COOKIE:
        intake.cookies.append(value)
    elif kind == _Kind.FORWARD:
        intake.forward.setdefault(name, []).append(value)
    else:
        if name in _BODY and any(kept in _BODY for kept, _ in intake.kept):
            raise BadRequest("Content-Length, Transfer-Encoding: send one of them, once (RFC 9112 section 6.3)")
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            # A coding that we pass on unnamed would reach the upstream as another content.
            raise BadRequest("Transfer-Encoding: only 'chunked'")
        intake.kept.append(header)


def _kind_of(name: bytes) -> int:
    """Return what a name means that is not known by itself.

    Raises:
        BadRequest: It is no token, or some servers take it for a name that means something.
    """
    if b"_" in name or b"." in name:
        folded = name.translate(_FOLD)
        if folded in _KINDS or folded.startswith(_OURS):
            raise BadRequest("header section: a name with '_' or '.' that some servers take for another header")
    if not _NAME.match(name):
        raise BadRequest("header section: a name that is not a token")
    if name.startswith(_OURS):
        return _Kind.OURS
    return _Kind.IDENTITY if tells_identity(name) else _Kind.ORDINARY


_known_kind = lru_cache(maxsize=4096)(_kind_of)


def may_have_body(scope: Mapping[str, Any], headers: RawHeaders) -> bool:
    """Return whether a request with this header section has a body, or may have one.

    Args:
        scope: Of ASGI: from HTTP/2 on a body needs no header (RFC 9113 section 8.1).
        headers: Lower-case names.
    """
    for name, value in headers:
        if name in _LENGTHS:
            return name != b"content-length" or value.strip(b"0") != b""
    return not str(scope.get("http_version", "1.1")).startswith("1")


def is_host(value: bytes) -> bool:
    """Return whether this is a host with or without a port, and nothing else (RFC 9110 section 7.2)."""
    return _HOST.match(value) is not None


def is_header(name: bytes, value: bytes) -> bool:
    """Return whether this name, in lower case, and this value can be one header on the wire."""
    return _NAME.match(name) is not None and _VALUE_FORBIDDEN.search(value) is None


def without_cookies(values: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """Return the Cookie values without the named cookies; a value that is left empty is left out.

    A cookie goes as soon as any parser could find the name in it: some part cookies at blanks and commas (RFC 2965),
    some strip what Unicode calls a blank.
    """
    if not names:
        return values
    kept: list[bytes] = []
    for value in values:
        pairs = [pair for pair in value.split(b";") if names.isdisjoint(_names_in(pair))]
        if left := b";".join(pairs).strip():
            kept.append(left)
    return kept


def _names_in(pair: bytes) -> list[bytes]:
    return [word.partition(b"=")[0] for word in _NO_COOKIE_NAME.split(pair)]


def cookie_values(values: list[bytes], name: bytes) -> list[bytes]:
    """Return what any parser could take for the value of that cookie, without blanks around it."""
    pairs = (pair for value in values if name in value for pair in value.split(b";") if name in _names_in(pair))
    return [pair.partition(name + b"=")[2].strip() for pair in pairs]


def has_cookie(values: list[bytes], name: bytes) -> bool:
    """Return whether a cookie of that name is among the Cookie values."""
    return any(pair.partition(b"=")[0].strip() == name for value in values for pair in value.split(b";"))
