"""Removes secrets from texts: those that are known, and everything that looks like one."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import cast
from urllib.parse import quote

from pydantic import BaseModel, SecretStr

HIDDEN = "(hidden)"
_SHORTEST = 4  # a shorter one would be found in every text
_SECRETLY_NAMED = re.compile(
    r"secret|passw|passphrase|token|credential|api_?key|private|pepper|fernet|sql_alchemy|conn|dsn|signature|(^|_)(key|pwd|auth)$",
    re.IGNORECASE,
)
_NAMES_A_FILE = re.compile(r"_(file|path|url)$", re.IGNORECASE)
_TEXT_PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"\bey[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){1,3}"), HIDDEN),
    (
        re.compile(
            r"(?P<name>\b(?:proxy-)?authorization|\b(?:set-)?cookie|\bx-[a-z-]*(?:token|key|secret|auth|jwt|assertion)[a-z-]*)"
            r"(?P<gap>[\"']?\s*[:=,]\s*)[^\r\n]*",
            re.IGNORECASE,
        ),
        rf"\g<name>\g<gap>{HIDDEN}",
    ),
    (
        re.compile(r"\b(Basic|Bearer|Negotiate|Digest|NTLM|Token|DPoP)\s+[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE),
        rf"\1 {HIDDEN}",
    ),
    # To the last @: a password that is not encoded may have @ and / in it.
    (
        re.compile(r"\b([a-z][a-z0-9+.-]*://)(?:[^/\s\"'@:]*:[^\s\"']{0,1024}|[^/\s\"']{0,1024})@", re.IGNORECASE),
        rf"\1{HIDDEN}@",
    ),
    (
        re.compile(
            r"(?P<name>[\w-]*(?:secret|passw(?:or)?d|passphrase|pwd|token|api[_-]?key|access[_-]?key|credential|signature|assertion)"
            r"[\w-]*[\"']?\s*[=:]\s*)(?P<value>\"[^\"]*\"|'[^']*'|[^\s,;&]+)",
            re.IGNORECASE,
        ),
        rf"\g<name>{HIDDEN}",
    ),
    (re.compile(r"([?&](?:code|state|sig|key|session)=)[^\s&\"']+", re.IGNORECASE), rf"\1{HIDDEN}"),
)
# Long runs without a break: keys, hashes, tokens. Not a path, and not a name with dashes in it, such as a run's.
_OPAQUE = re.compile(
    r"(?<![\w+/=])(?=[\w+/=]*\d)[A-Za-z0-9+_][\w+/=]{23,}"
    r"|(?<=/)(?=\w*\d)\w{32,}(?![\w-])"
    r"|(?<![\w/-])(?=[\w-]*\d)(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{40,}"
    r"|\b[A-Za-z]+_[A-Za-z0-9]{24,}\b"
)


class Redaction:
    """Removes secrets from texts.

    Args:
        secrets: The known ones.
    """

    def __init__(self, secrets: Iterator[str]) -> None:
        known = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        self._known = sorted(known, key=len, reverse=True)
        # In one pass, so that nothing is found in a replacement.
        self._pattern = re.compile("|".join(re.escape(secret) for secret in self._known))

    def clean(self, text: str) -> str:
        """Return the text without known secrets, credentials, and passwords in URLs."""
        text = self._pattern.sub(HIDDEN, text) if self._known else text
        for pattern, replacement in _TEXT_PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def clean_data(self, value: object) -> object:
        """Return plain data, as JSON has it, with every text in it cleaned."""
        if isinstance(value, dict):
            inner = cast("dict[str, object]", value)
            return {self.clean(key): self.clean_data(one) for key, one in inner.items()}
        if isinstance(value, list):
            return [self.clean_data(one) for one in cast("list[object]", value)]
        if isinstance(value, int | float) and not isinstance(value, bool):
            # A number may be somebody's password.
            return HIDDEN if self.remains_in(str(value).encode()) else value
        return self.clean(value) if isinstance(value, str) else value

    def clean_log(self, text: str) -> str:
        """Return the text as `clean` does, and without anything that may be a key."""
        return _OPAQUE.sub(HIDDEN, self.clean(text))

    def remains_in(self, content: bytes) -> bool:
        """Return whether a known secret is still there, outside the text `HIDDEN`."""
        left = content.replace(HIDDEN.encode(), b"\0")
        return any(secret.encode("utf-8", "surrogatepass") in left for secret in self._known)


def is_secretly_named(name: str) -> bool:
    """Return whether the name of a key says that its value is secret."""
    return bool(_SECRETLY_NAMED.search(name)) and not _NAMES_A_FILE.search(name)


def masked(value: object, name: str = "") -> object:
    """Return settings as plain data, each secret replaced."""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        return _without_secrets(text) if name.endswith("url") and "://" in text else text and HIDDEN
    if isinstance(value, BaseModel):
        return {key: masked(getattr(value, key), key) for key in type(value).model_fields}
    if isinstance(value, dict):
        inner = cast("dict[object, object]", value)
        hides = name == "backends"
        return {str(key): masked_strictly(one) if hides else masked(one, str(key)) for key, one in inner.items()}
    if isinstance(value, list | tuple):
        return [masked(one, name) for one in cast("list[object]", value)]
    if isinstance(value, str):
        is_url = "://" in value
        return _without_secrets(value) if is_url else HIDDEN if value and name in ("password", "secret") else value
    return value if isinstance(value, int | float | bool) or value is None else str(value)


def masked_strictly(value: object) -> object:
    """Return data whose meaning is unknown without any text in it."""
    if isinstance(value, dict):
        return {str(key): masked_strictly(one) for key, one in cast("dict[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [masked_strictly(one) for one in cast("list[object]", value)]
    return value if isinstance(value, bool) else HIDDEN


def _without_secrets(url: str) -> str:
    """Return a URL without user, password and query, however badly it is written."""
    scheme, _, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    host, mark, _ = place.partition("?")
    return f"{scheme}://{HIDDEN + '@' if user or at else ''}{host}{mark and f'?{HIDDEN}'}"


def _forms(secret: str) -> Iterator[str]:
    """Yield the ways in which a secret may be written."""
    encoded = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield quote(secret, safe="", errors="replace")
    yield quote(secret, errors="replace")
    if len(encoded) >= 2 * _SHORTEST:
        yield base64.b64encode(encoded).decode("ascii").rstrip("=")
        yield base64.urlsafe_b64encode(encoded).decode("ascii").rstrip("=")
        yield encoded.hex()
