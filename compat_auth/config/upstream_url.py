"""Parse `[upstream] url`, and explain what is wrong with it."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from compat_auth.errors import ConfigError

_EXAMPLE = "such as http://127.0.0.1:8080"
# RFC 3986 2: no blank, no control character, only ASCII.
_FOREIGN = re.compile(r"[\x00-\x20\x7f-\U0010ffff]")
_HOST_AND_PORT = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?\Z")
_API_PATH = re.compile(r"/(api/v[12]|auth/token|api|ui|home|login)\Z")


def read_address(text: str) -> SplitResult:
    """Return the parts of an upstream's base URL.

    Raises:
        ConfigError: The text is not such a URL; the message repeats nothing that may hold a password.
    """
    if not text:
        raise ConfigError(f"upstream.url: not set; name the API behind the gateway, {_EXAMPLE}")
    if "://" not in text:
        if _HOST_AND_PORT.match(text):
            raise ConfigError(f"upstream.url: {text!r} has no scheme; write http://{text} or https://{text}")
        raise ConfigError(f"upstream.url: not a URL, because it has no scheme; write one, {_EXAMPLE}")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ConfigError(f"upstream.url: host or port are malformed; correct them, {_EXAMPLE}") from None
    if url.scheme not in ("http", "https"):
        raise ConfigError(f"upstream.url: scheme {url.scheme!r} is not supported; write http:// or https://")
    if not url.hostname or port == 0:
        raise ConfigError(f"upstream.url: no host, or port 0; write one, {_EXAMPLE}")
    if url.username is not None or "?" in text or "#" in text or _FOREIGN.search(text):
        raise ConfigError(
            "upstream.url: may have a scheme, an ASCII host, a port and a path; remove user, password, query, "
            f"fragment and blanks, so that it is {_EXAMPLE.removeprefix('such as ')}"
        )
    return url


def api_path_in(url: SplitResult) -> str:
    """Return the path of Airflow's own API or pages at the end of the base URL, or ""."""
    found = _API_PATH.search(url.path.rstrip("/"))
    return found.group() if found else ""
