"""Safe redirects after login: only to a path on this host, in every reading of the path. No I/O, no Flask."""

from __future__ import annotations

import re
from urllib.parse import unquote, urljoin, urlsplit

from compat_auth.errors import InvalidPath
from compat_auth.http.paths import canonical_path, canonical_query

_MAX_LENGTH = 2048
# RFC 3986: no blank, no control character, no backslash, only ASCII.
_TARGET = re.compile(
    r"/[A-Za-z0-9_\-.~!$&'()*+,;=:@/%]*(?:\?[A-Za-z0-9_\-.~!$&'()*+,;=:@/%?]*)?(?:#[A-Za-z0-9_\-.~!$&'()*+,;=:@/%?]*)?\Z"
)
# What browsers and servers read as the start of another host.
_OTHER_HOST = re.compile(r"[/\\]\s*[/\\]")
_BASE = "https://ourselves.invalid"


def safe_next(value: str | None, fallback: str = "/") -> str:
    """Return the path, query and fragment if they lead only to this host, else the fallback.

    Args:
        value: The requested target.
        fallback: A path on this host.
    """
    if not value or len(value) > _MAX_LENGTH or not _TARGET.match(value):
        return fallback
    # A fragment stays in the browser: it names a place on the page, such as a line of a log.
    value, hash_sign, fragment = value.partition("#")
    path, question, query = value.partition("?")
    try:
        target = canonical_path(path.encode("ascii")).decode("ascii")
        if question:
            target += "?" + canonical_query(query.encode("ascii")).decode("ascii")
    except InvalidPath:
        return fallback
    # The next parser could decode first, and more than once.
    reading = unquote(unquote(path))
    if _OTHER_HOST.match(reading) or any(ord(letter) <= 0x20 or letter == "\\" for letter in reading):
        return fallback
    resolved = urlsplit(urljoin(f"{_BASE}/compat-auth/login", target))
    if f"{resolved.scheme}://{resolved.netloc}" != _BASE or resolved.path != target.partition("?")[0]:
        return fallback
    return target + hash_sign + fragment
