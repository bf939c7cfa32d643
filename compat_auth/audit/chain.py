"""A chain of hashes through the lines of the audit log: a line that is changed, removed or inserted breaks it.

Each process has a chain of its own. With `audit.chain_key`, the hashes are keyed (HMAC, RFC 2104): without the key nobody
can make a chain that holds. Without a key, the chain shows damage, but not a forger who computes all hashes again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

EventFormat = Literal["json", "cloudevents"]
CHAIN_FIELDS = ("chain", "seq", "prev", "hash")
_SOURCE = "/compat-auth"


@dataclass(slots=True)
class ChainOptions:
    """How the audit log of this process is written.

    Attributes:
        key: Key of the hashes; b"" for none.
        event_format: "cloudevents" wraps each event (CloudEvents 1.0, JSON event format).
    """

    key: bytes = field(default=b"", repr=False)
    event_format: EventFormat = "json"


OPTIONS = ChainOptions()
"""Those of this process."""


def hash_of(text: str, key: bytes) -> str:
    """Return the hash of an event's JSON text, as 64 hexadecimal digits."""
    data = text.encode("utf-8", "surrogatepass")
    return hmac.digest(key, data, hashlib.sha256).hex() if key else hashlib.sha256(data).hexdigest()


class Chain:
    """The chain of one process and one log; the writer of the log holds its lock.

    A line that could not be written is no part of the chain: call `advance` once it is written.

    Args:
        options: How to write.
    """

    def __init__(self, options: ChainOptions = OPTIONS) -> None:
        self._options = options
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._name = secrets.token_hex(8)
        self._written, self._last = 0, ""
        self._next = ""

    def link(self, event: str) -> str:
        """Return an event with its place in the chain.

        Args:
            event: A JSON object.
        """
        if self._pid != os.getpid():
            # A forked worker.
            self._begin()
        content: Mapping[str, Any] = json.loads(event)
        number = self._written + 1
        if self._options.event_format == "cloudevents":
            content = _cloud_event(content, f"{self._name}-{number}")
        linked = {**content, "chain": self._name, "seq": number, "prev": self._last}
        self._next = hash_of(json.dumps(linked), self._options.key)
        return json.dumps({**linked, "hash": self._next})

    def advance(self) -> None:
        """Note that the event of the last call to `link` is written."""
        self._written += 1
        self._last = self._next


def _cloud_event(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": name,
        "source": _SOURCE,
        "type": f"compat_auth.{content.get('event', 'event')}",
        "time": content.get("time", ""),
        "datacontenttype": "application/json",
        "data": content,
    }
