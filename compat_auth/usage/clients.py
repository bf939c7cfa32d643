"""The kind of client program behind a `User-Agent`, by a short vocabulary. No I/O.

The header itself is stored nowhere: anybody may write anything into it.
"""

from __future__ import annotations

import re
from typing import Final

NONE: Final = "none"
"""The request had no User-Agent."""
OTHER: Final = "other"
"""A program that the vocabulary does not know."""
UNKNOWN: Final = "unknown"
"""Nobody has said which program it was: the lane asks about a credential."""

MAX_NAME: Final = 24
MAX_FURTHER: Final = 100
"""Further names that one process takes over from requests of known users."""
_MAX_CACHED: Final = 1024
_MAX_READ: Final = 256
# By the first product (RFC 9110 section 10.1.5), in lower case.
_PRODUCTS: Final = {
    "apache-airflow-client": "apache-airflow-client",
    "apache-httpclient": "Apache-HttpClient",
    "axios": "axios",
    "compat-auth": "compat-auth",
    "curl": "curl",
    "go-http-client": "Go-http-client",
    "guzzlehttp": "GuzzleHttp",
    "insomnia": "Insomnia",
    "java": "Java",
    "java-http-client": "Java",
    "kube-probe": "kube-probe",
    "libwww-perl": "libwww-perl",
    "mozilla": "Mozilla",
    "node": "Node.js",
    "node-fetch": "Node.js",
    "okhttp": "okhttp",
    "postmanruntime": "Postman",
    "python-httpx": "python-httpx",
    "python-requests": "python-requests",
    "python-urllib": "Python-urllib",
    "python-urllib3": "urllib3",
    "reqwest": "reqwest",
    "ruby": "Ruby",
    "terraform": "Terraform",
    "undici": "Node.js",
    "wget": "Wget",
}
# What says more than the first product does.
_INSIDE: Final = (
    ("powershell", "PowerShell"),
    ("aiohttp", "aiohttp"),
    ("openapi-generator", "apache-airflow-client"),
    ("swagger-codegen", "apache-airflow-client"),
    ("terraform", "Terraform"),
)
# Letters only, and a version after it: no token looks like this.
_FURTHER = re.compile(rf"([A-Za-z][A-Za-z.-]{{1,{MAX_NAME - 1}}})/[0-9]")


def known_client(agent: str) -> str:
    """Return the name of a program of the vocabulary, NONE without a header, and "" for any other program."""
    text = agent.strip().lower()
    if not text:
        return NONE
    for needle, name in _INSIDE:
        if needle in text:
            return name
    return _PRODUCTS.get(re.split(r"[/ ;(,]", text, maxsplit=1)[0], "")


class Clients:
    """Names clients, and remembers the answers; one process. Any thread may use it."""

    def __init__(self) -> None:
        self._known: dict[bytes, str] = {}
        self._further: dict[bytes, str] = {}
        self._names: set[str] = set()

    def name_of(self, agent: bytes, *, is_trusted: bool) -> str:
        """Return the name of a client.

        Args:
            agent: Value of its User-Agent; b"" where it sends none.
            is_trusted: The request is a known user's, so that a name outside the vocabulary counts, too.
        """
        key = agent[:_MAX_READ]
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MAX_CACHED:
                self._known = {}
            found = self._known[key] = known_client(key.decode("latin-1"))
        if found:
            return found
        return self._further_name(key) if is_trusted else OTHER

    def _further_name(self, key: bytes) -> str:
        found = self._further.get(key)
        if found is None:
            match = _FURTHER.match(key.decode("latin-1").strip())
            found = OTHER if match is None else match[1]
            if found not in self._names and len(self._names) >= MAX_FURTHER:
                found = OTHER
            self._names.add(found)
            if len(self._further) >= _MAX_CACHED:
                self._further = {}
            self._further[key] = found
        return found
