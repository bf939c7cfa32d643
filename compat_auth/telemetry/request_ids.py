"""Request ids: from a trusted proxy if they are well formed, else made here. No I/O.

The id of a request is in each of its log lines and audit events, in the request to the upstream and in the answer.
"""

from __future__ import annotations

import base64
import os
import random
import re
from collections.abc import Iterable

from compat_auth.crypto.personal_token_format import holds_one

HEADER = b"x-request-id"
"""Name of the header, in lower case."""
# What common proxies make (UUIDs, hexadecimal, base64). No blank, quote, bracket or comma: the id goes into log lines. No
# colon: `alice:secret` is no id.
_WELL_FORMED = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._~@+/=-]{0,127}\Z")
# Some proxies forward what a client has sent: a JWT is no id, and must not reach the log.
_JWT = re.compile(rb"eyJ[A-Za-z0-9_-]+\.")
# No credential has a base64 of hexadecimal digits alone, but some such ids can be read as one.
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f-]{16,}\Z")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{8,}")
_OTHER_ALPHABET = bytes.maketrans(b"-_", b"+/")
_RANDOM = random.Random()  # noqa: S311  # an id is no secret; it must only be unique


def _seed() -> None:
    _RANDOM.seed(os.urandom(32))


_seed()
# Two workers must not make the same ids.
os.register_at_fork(after_in_child=_seed)


def make_id() -> bytes:
    """Return a new id: 32 hexadecimal digits."""
    return b"%032x" % (_RANDOM.getrandbits(128) or 1)


def request_id_of(headers: Iterable[tuple[bytes, bytes]], *, is_trusted: bool) -> bytes:
    """Return the id of a request.

    Args:
        headers: Lower-case names, in the order received.
        is_trusted: Whether the other end of the connection is a trusted proxy.
    """
    if is_trusted:
        values = [value for name, value in headers if name == HEADER]
        if len(values) == 1 and is_well_formed(values[0]):
            return values[0]
    return make_id()


def is_well_formed(value: bytes) -> bool:
    """Return whether a text can be an id.

    It has 1 to 128 letters, digits and `._~@+/=-`, and neither it nor what it says in base64 is a JWT, one of our tokens or a
    user with a password.
    """
    if _WELL_FORMED.match(value) is None or _is_secret(value):
        return False
    if _HEXADECIMAL.match(value):
        return True
    return not any(_is_secret(_decoded(text)) for text in (value, *_BASE64.findall(value)))


def _decoded(text: bytes) -> bytes:
    """Return the bytes that a text says in base64, of either alphabet, with or without its end; b"" for nothing."""
    try:
        return base64.b64decode(text.translate(_OTHER_ALPHABET).rstrip(b"=") + b"==")
    except ValueError:
        return b""


def _is_secret(text: bytes) -> bool:
    if holds_one(text) or _JWT.search(text):
        return True
    # `user:password`, as in HTTP Basic; browsers send latin-1 or UTF-8.
    return b":" in text and any(_is_printable(text, encoding) for encoding in ("utf-8", "latin-1"))


def _is_printable(text: bytes, encoding: str) -> bool:
    try:
        return text.decode(encoding).isprintable()
    except ValueError:
        return False
