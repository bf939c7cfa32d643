"""How a personal token is spelled: `cat_pat_`, a public id, a secret, a checksum. No I/O, no Flask.

A scanner that finds one in a repository or a log can recognise it without asking us: the prefix leads to it, and the
checksum rules out text that merely looks like one.
"""

from __future__ import annotations

import base64
import contextlib
import re
import secrets
import zlib
from dataclasses import dataclass, field

PREFIX = "cat_pat_"
PATTERN = r"\bcat_pat_[0-9A-Za-z]{50}\b"
"""For secret scanners; the last six characters are the CRC-32 of all before them, base62, zero padded."""
ID_LENGTH = 12
_PREFIX = PREFIX.encode("ascii")
_SECRET_LENGTH = 32  # 190 bits
_CHECK_LENGTH = 6
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM = re.compile(
    rf"{PREFIX}(?P<id>[0-9A-Za-z]{{{ID_LENGTH}}})[0-9A-Za-z]{{{_SECRET_LENGTH}}}[0-9A-Za-z]{{{_CHECK_LENGTH}}}\Z"
)
_IN_TEXT = re.compile(rf"({PREFIX}[0-9A-Za-z]{{{ID_LENGTH}}})[0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class TokenText:
    """A personal token in full.

    Attributes:
        id: Its public id: names it in lists and logs, and authenticates nobody.
        value: The whole text.
    """

    id: str
    value: str = field(repr=False)


def make_text(token_id: str = "") -> TokenText:
    """Return a token with a new secret, and with a new id unless one is given."""
    token_id = token_id or _random(ID_LENGTH)
    body = f"{PREFIX}{token_id}{_random(_SECRET_LENGTH)}"
    return TokenText(token_id, body + checksum(body))


def looks_like_one(text: str) -> bool:
    """Return whether a text begins like a personal token; it may still be none."""
    return text.startswith(PREFIX)


def without_secrets(text: str) -> str:
    """Return a text with every personal token in it cut to its public id, wherever the text comes from."""
    return _IN_TEXT.sub(r"\1…", text) if PREFIX in text else text


def holds_one(authorization: bytes) -> bool:
    """Return whether an Authorization value holds a personal token: as plain text, or in the base64 of HTTP Basic."""
    if _PREFIX in authorization:
        return True
    # However malformed: who reads it next may be less strict than we are.
    with contextlib.suppress(ValueError):
        return _PREFIX in base64.b64decode(authorization.partition(b" ")[2] + b"==")
    return False


def parse_text(text: str) -> TokenText | None:
    """Return the token in a text; None if form or checksum are wrong, so that no store need be asked."""
    match = _FORM.match(text)
    if match is None or checksum(text[:-_CHECK_LENGTH]) != text[-_CHECK_LENGTH:]:
        return None
    return TokenText(match["id"], text)


def checksum(body: str) -> str:
    """Return the CRC-32 (as in zlib) of the text before it, base62, zero padded to six characters."""
    number, digits = zlib.crc32(body.encode("ascii")), ""
    while number:
        number, digit = divmod(number, len(_LETTERS))
        digits = _LETTERS[digit] + digits
    return digits.rjust(_CHECK_LENGTH, "0")


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
