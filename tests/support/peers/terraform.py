"""What Terraform's provider for Airflow does to a variable, a connection or a pool, request by request.

The provider is a program of its own, in Go. It reads, compares with what is wanted, and sends the whole object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from support.peers.gateway import call

ADMIN = ("admin", "admin")


@dataclass(frozen=True, slots=True)
class Resource:
    """One object that Terraform keeps as it is wanted.

    Attributes:
        url: Of the server, with `/api/v1`.
        collection: Where such objects are made.
        identity: The field that names it.
        unread: Fields that are written and never compared, for no answer has them.
    """

    url: str
    collection: str
    identity: str
    unread: frozenset[str] = frozenset()

    def plan(self, wanted: Mapping[str, Any]) -> str:
        """Return what would have to be done: "create", the fields to be changed, or nothing."""
        answer = call("GET", self._path(wanted), auth=ADMIN)
        if answer.status_code == 404:
            return "create"
        assert answer.status_code == 200, answer.text
        found = answer.json()
        return " ".join(name for name in sorted(wanted) if name not in self.unread and found.get(name) != wanted[name])

    def apply(self, wanted: Mapping[str, Any], *, mask: tuple[str, ...] = ()) -> str:
        """Do what the plan says, and return the plan and what it says afterwards."""
        planned = self.plan(wanted)
        if planned == "create":
            done = call("POST", f"{self.url}/{self.collection}", json=dict(wanted), auth=ADMIN)
            assert done.status_code == 200, done.text
        elif planned:
            query = {"update_mask": ",".join(mask)} if mask else {}
            done = call("PATCH", self._path(wanted), params=query, json=dict(wanted), auth=ADMIN)
            assert done.status_code == 200, done.text
        return f"{planned or 'nothing'}, then {self.plan(wanted) or 'nothing'}"

    def destroy(self, wanted: Mapping[str, Any]) -> int:
        """Delete it, and return the status."""
        return call("DELETE", self._path(wanted), auth=ADMIN).status_code

    def _path(self, wanted: Mapping[str, Any]) -> str:
        return f"{self.url}/{self.collection}/{wanted[self.identity]}"
