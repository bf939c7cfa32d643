"""What a gate does with which path and cookie, and what paths ask of an identity. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compat_auth.decision import Granted
from compat_auth.paths import Prefixes
from compat_auth.refusal import RefusalStyle
from compat_auth.request import GateRequest
from compat_auth.requirements import Requirements

_NO_PATHS = Prefixes([])


@dataclass(frozen=True, slots=True)
class PathRequirement:
    """What some paths ask of an identity.

    Attributes:
        paths: The paths.
        methods: Upper case; empty for every method.
        requirements: What must hold.
    """

    paths: Prefixes
    methods: frozenset[str]
    requirements: Requirements


@dataclass(frozen=True, slots=True)
class GateRules:
    """What a gate does with which path and cookie.

    Attributes:
        protect: Paths that need a decision.
        prefix: Where our own pages live, with both slashes.
        identity_cookies: The upstream's own; the first is the one that the upstream takes for an identity by itself.
        own_cookies: Ours; the upstream never sees them.
        style: How refusals look.
        requirements: What paths ask of an identity.
        task_api: Paths that get no identity of ours even where they are protected.
        to_login: Whole paths at which the upstream sends a browser on to its login; they need no decision.
    """

    protect: Prefixes
    prefix: bytes
    identity_cookies: tuple[bytes, ...]
    own_cookies: frozenset[bytes]
    style: RefusalStyle
    requirements: tuple[PathRequirement, ...] = ()
    task_api: Prefixes = _NO_PATHS
    to_login: frozenset[bytes] = frozenset()

    def guards(self, path: bytes) -> bool:
        """Return whether a request for this path needs a decision."""
        return self.protect.cover(path) and path not in self.to_login

    def bearer_for(self, path: bytes, granted: Granted) -> bytes | None:
        """Return the Authorization value with which an accepted request goes on, if any."""
        return None if self.task_api.cover(path) else granted.bearer

    def required_of(self, request: GateRequest) -> Iterator[Requirements]:
        """Yield what the request's path and method ask of an identity."""
        for rule in self.requirements:
            if rule.paths.cover(request.path) and (not rule.methods or request.method in rule.methods):
                yield rule.requirements
