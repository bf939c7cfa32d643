"""Raw header lists: strict parsing, and removal of headers that must not come from outside. No I/O, no Flask.

Names are compared as an upstream may compare them: case-insensitively, and with `_` and `.` equal to `-`
(CVE-2025-64484, CVE-2026-54763, CVE-2026-88011).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Any

from compat_auth.credentials import authorization_with_api_key
from compat_auth.crypto.personal_token_format import PREFIX
from compat_auth.errors import AmbiguousCredentials, BadRequest, ConfigError, HeadersTooLarge
from compat_auth.http.identity_headers import IDENTITY_NAMES, tells_identity
from compat_auth.telemetry.request_ids import HEADER as REQUEST_ID

RawHeaders = list[tuple[bytes, bytes]]

# Large enough for a Kerberos ticket with a Windows PAC (48,000 bytes), smaller than what proxies treat as an attack.
MAX_HEADER_BYTES = 60 * 1024

_FORWARD = (
    b"forwarded x-forwarded x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-forwarded-protocol "
    b"x-forwarded-scheme x-forwarded-ssl x-forwarded-prefix x-forwarded-path x-forwarded-uri x-forwarded-method "
    b"x-forwarded-server x-forwarded-by x-real-ip x-client-ip x-cluster-client-ip true-client-ip cf-connecting-ip "
    b"x-original-url x-original-uri x-original-host x-original-method x-original-forwarded-for x-rewrite-url "
    b"x-script-name x-envoy-original-path x-envoy-original-method x-envoy-external-address x-envoy-internal "
    b"proxy x-http-method x-http-method-override x-method-override front-end-https x-url-scheme x-host "
    b"x-http-host-override x-originating-ip x-custom-ip-authorization cluster-client-ip"
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
    REQUEST_ID = 9


_KINDS: dict[bytes, int] = {
    **dict.fromkeys(IDENTITY_NAMES, _Kind.IDENTITY),
    **dict.fromkeys(_FORWARD, _Kind.FORWARD),
    **dict.fromkeys(_FRAMING, _Kind.OTHER_FRAMING),
    b"host": _Kind.HOST,
    b"authorization": _Kind.AUTHORIZATION,
    b"cookie": _Kind.COOKIE,
    REQUEST_ID: _Kind.REQUEST_ID,
}
# Whose id a request has is decided before; see `compat_auth.telemetry.request_ids`.
_SET_APART = frozenset((_Kind.OURS, _Kind.HOST, _Kind.REQUEST_ID))
_LENGTHS = frozenset((b"content-length", b"transfer-encoding"))
_KNOWN_LENGTH = 64
_OURS = b"x-compat-auth-"
_FOLD = bytes.maketrans(b"_.", b"--")
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z")
# RFC 9110 5.5: no control character but the tab.
_VALUE_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# Characters that some parser treats as separators in a cookie: blanks, commas, quotes, and everything beyond ASCII.
_NO_COOKIE_NAME = re.compile(rb"[^!#-+\--~]+")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")


@dataclass(slots=True)
class Intake:
    """A header section after strict parsing.

    Attributes:
        kept: Headers to forward: no Authorization, Cookie, identity headers, forward headers, request id or Host.
        host: The Host value, ASCII; b"" where a request may lack it.
        authorization: Authorization values, at most one.
        cookies: Cookie values.
        forward: Forward headers as received, with folded names; only for use when the peer is a trusted proxy.
        acts_for: Name of the user for whom the caller wants to act; "" where it acts for itself.
        identity: Identity headers as received; only for use when the peer is a trusted proxy, and never forwarded.
    """

    kept: RawHeaders = field(repr=False)
    host: bytes
    authorization: bytes | None = field(repr=False)
    cookies: list[bytes] = field(repr=False)
    forward: dict[bytes, list[bytes]] = field(repr=False)
    identity: RawHeaders = field(default_factory=list["tuple[bytes, bytes]"], repr=False)
    acts_for: str = ""


def take_in(
    raw_headers: RawHeaders,
    *,
    may_lack_host: bool = False,
    api_key: bytes = b"",
    named: frozenset[bytes] = frozenset(),
) -> Intake:
    """Return the header section, sorted by meaning.

    Args:
        raw_headers: Lower-case names, in the order received, duplicates separate (as in ASGI).
        may_lack_host: Host may be missing or empty.
        api_key: See `api_key_name`.
        named: Names, in lower case and with `-`, that count as identity headers besides those that always do.

    Raises:
        BadRequest: Host is missing or repeated, a name could count as another header at some server, there are two
            credentials, or a value has a control character.
        MalformedCredentials: A value with a personal token has more in it.
        HeadersTooLarge: The section is larger than MAX_HEADER_BYTES.
    """
    intake = Intake([], b"", None, [], {})
    values = b"".join([value for _, value in raw_headers])
    # Count ": " and the line's end, so that a thousand empty headers are not free.
    size = len(values) + 4 * len(raw_headers)
    for header in raw_headers:
        name = header[0]
        size += len(name)
        kind = _KINDS.get(name)
        if kind is None:
            # The caller chooses the names, so the cache of them is limited in number and size.
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
    intake.host = _one_host(raw_headers, may_lack_host)
    _set_apart(intake, named)
    if api_key:
        _take_api_key(intake, api_key)
    return intake


def _take_api_key(intake: Intake, api_key: bytes) -> None:
    """Make the personal token in the header for it the request's credential, and keep the header from the upstream.

    Raises:
        BadRequest: A personal token is in a header that some servers take for this one, or beside another credential.
        MalformedCredentials: A value with a personal token has more in it.
    """
    size = len(api_key)
    found = [header for header in intake.kept if len(header[0]) == size and header[0].translate(_FOLD) == api_key]
    if not found:
        return
    authorization = authorization_with_api_key(intake.authorization, [value for _, value in found])
    if any(name != api_key and PREFIX.encode("ascii") in value.lower() for name, value in found):
        raise BadRequest("header section: a name with '_' or '.' that some servers take for the header of an API key")
    if authorization is not intake.authorization:
        intake.authorization = authorization
        intake.kept = [header for header in intake.kept if header not in found]


def api_key_name(name: str) -> bytes:
    """Return the header that may bring a personal token, in lower case; b"" for none.

    Args:
        name: `[personal_tokens] header`.

    Raises:
        ConfigError: The header has another meaning, or browsers send it by themselves.
    """
    lower = name.lower()
    own = lower.startswith("x-") or "key" in lower or "token" in lower
    if lower and (not own or lower.startswith("sec-") or _kind_of(lower.encode("ascii")) != _Kind.ORDINARY):
        raise ConfigError(
            f"[personal_tokens] header: {name!r} has another meaning; set it to a header for keys alone, such as X-API-Key"
        )
    return lower.encode("ascii")


def _set_apart(intake: Intake, named: frozenset[bytes]) -> None:
    """Put the named headers among the identity headers.

    Raises:
        BadRequest: One is in another spelling, which other servers take for the name.
    """
    if not named:
        return
    for name, _ in (*intake.kept, *intake.identity):
        if name not in named and name.translate(_FOLD) in named:
            raise BadRequest("header section: a name with '_' or '.' that some servers take for another header")
    intake.identity.extend(header for header in intake.kept if header[0] in named)
    intake.kept[:] = [header for header in intake.kept if header[0] not in named]


def _one_host(raw_headers: RawHeaders, may_lack: bool) -> bytes:
    """Return the Host value; b"" where it is missing or empty and may be.

    Raises:
        BadRequest: There are two, or it is malformed.
    """
    hosts = [value for name, value in raw_headers if name == b"host"]
    if len(hosts) > 1:
        raise BadRequest("Host: two headers; send one")
    host = hosts[0] if hosts else b""
    if not is_host(host) and (host or not may_lack):
        raise BadRequest("Host: missing or malformed; send exactly one")
    return host


def _sort(intake: Intake, kind: int, header: tuple[bytes, bytes]) -> None:
    """Sort a header that has a meaning here.

    Raises:
        BadRequest: A second value of a header that may occur once.
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
        if name in _LENGTHS and any(kept in _LENGTHS for kept, _ in intake.kept):
            # Parsers disagree about where such a body ends: request smuggling (RFC 9112 section 6.1).
            raise BadRequest("Content-Length, Transfer-Encoding: send one of them, once (RFC 9112 section 6.3)")
        if name == b"transfer-encoding" and value.lower() != b"chunked":
            # A coding that is forwarded unnamed would change the content for the upstream.
            raise BadRequest("Transfer-Encoding: only 'chunked'")
        intake.kept.append(header)


def _kind_of(name: bytes) -> int:
    """Return the meaning of a name that is not in the table.

    Raises:
        BadRequest: The name is not a token, or some servers read it as the name of another header.
    """
    if b"_" in name or b"." in name:
        folded = name.translate(_FOLD)
        if folded == REQUEST_ID:
            return _Kind.REQUEST_ID
        if folded in _KINDS or folded.startswith(_OURS):
            raise BadRequest("header section: a name with '_' or '.' that some servers take for another header")
    if not _NAME.match(name):
        raise BadRequest("header section: a name that is not a token")
    if name.startswith(_OURS):
        return _Kind.OURS
    return _Kind.IDENTITY if tells_identity(name) else _Kind.ORDINARY


_known_kind = lru_cache(maxsize=4096)(_kind_of)


def fold_name(name: bytes) -> bytes:
    """Return a lower-case name with `_` and `.` as `-`, as some servers read it."""
    return name.translate(_FOLD)


def names_caller(folded: bytes) -> bool:
    """Return whether a header is one that `take_in` never forwards, because it says who the caller is.

    Args:
        folded: As `fold_name` returns it.
    """
    return _names_caller(folded) if len(folded) > _KNOWN_LENGTH else _known_names_caller(folded)


def _names_caller(folded: bytes) -> bool:
    kind = _KINDS.get(folded)
    if kind is not None:
        return kind == _Kind.IDENTITY
    return folded.startswith(_OURS) or tells_identity(folded)


_known_names_caller = lru_cache(maxsize=4096)(_names_caller)


def removed_names() -> tuple[str, ...]:
    """Return the names that never come on from a caller: identity, forwarding and method overrides; lower case, sorted.

    Besides these there are families of names: see `identity_families`, and `X-Compat-Auth-*`.
    """
    names = (*IDENTITY_NAMES, *_FORWARD, b"proxy-authorization", b"proxy-connection")
    return tuple(sorted({name.decode("ascii") for name in names}))


def may_have_body(scope: Mapping[str, Any], headers: RawHeaders) -> bool:
    """Return whether a request with this header section has, or may have, a body.

    Args:
        scope: ASGI scope: from HTTP/2 on a body needs no header (RFC 9113 section 8.1).
        headers: Lower-case names.
    """
    for name, value in headers:
        if name in _LENGTHS:
            return name != b"content-length" or value.strip(b"0") != b""
    return not str(scope.get("http_version", "1.1")).startswith("1")


def is_host(value: bytes) -> bool:
    """Return whether this is a host, with or without a port, and nothing else (RFC 9110 section 7.2)."""
    return _HOST.match(value) is not None


def is_header(name: bytes, value: bytes) -> bool:
    """Return whether this lower-case name and this value can be one header on the wire."""
    return _NAME.match(name) is not None and _VALUE_FORBIDDEN.search(value) is None


def without_cookies(values: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """Return the Cookie values without the named cookies; a value that becomes empty is removed.

    A cookie is removed if any parser could find the name in it: some split cookies at blanks and commas (RFC 2965),
    some strip Unicode blanks.
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
    """Return every value that some parser could read for that cookie, without blanks around it."""
    pairs = (pair for value in values if name in value for pair in value.split(b";") if name in _names_in(pair))
    return [pair.partition(name + b"=")[2].strip() for pair in pairs]


def has_cookie(values: list[bytes], name: bytes) -> bool:
    """Return whether a cookie with that name is among the Cookie values."""
    return any(pair.partition(b"=")[0].strip() == name for value in values for pair in value.split(b";"))
