"""What a gate does with which path and cookie, and what paths ask of an identity. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from compat_auth.airflow_api.reach import Reach, fixed_objects, reach_of
from compat_auth.gateway.decision import Granted
from compat_auth.http.browser.preflight import is_preflight
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.http.paths import Prefixes, Rests
from compat_auth.http.request import GateRequest
from compat_auth.requirements import Requirements

_NO_PATHS = Prefixes([])


@dataclass(frozen=True, slots=True)
class PathRequirement:
    """What some paths ask of an identity.

    Attributes:
        paths: The paths.
        methods: Upper case; empty for every method.
        requirements: What must hold.
        objects: Family and own paths of the single DAGs, connections, variables and pools that the paths are about.
    """

    paths: Prefixes
    methods: frozenset[str]
    requirements: Requirements
    objects: tuple[tuple[str, Prefixes], ...] = field(init=False)

    def __post_init__(self) -> None:
        fixed = fixed_objects(self.paths.as_written)
        objects = tuple((family, Prefixes([path.decode("utf-8")])) for family, path in fixed)
        object.__setattr__(self, "objects", objects)

    def covers(self, method: str, path: bytes) -> bool:
        """Return whether the rule is about a request for this path; what is said of GET is said of HEAD."""
        named = not self.methods or method in self.methods or (method == "HEAD" and "GET" in self.methods)
        return named and self.paths.cover(path)

    def concerns(self, reach: Reach) -> bool:
        """Return whether a request reaches an object that the rule is about, by whichever path."""
        if self.methods and self.methods.isdisjoint(reach.methods):
            return False
        return any(
            family == target.family and (not target.path or paths.cover(target.path.encode("ascii")))
            for family, paths in self.objects
            for target in reach.targets
        )


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
        logouts: Whole paths of the upstream's own logout, the same way.
        public: Whole paths that the upstream shows to everybody; they need no decision without `Authorization`.
        preflights: CORS preflights go on to the upstream without a decision.
        rests: Where the upstream takes the rest of a path as data; None: nowhere.
        health: Whole paths that a load balancer may ask for without a Host.
    """

    protect: Prefixes
    prefix: bytes
    identity_cookies: tuple[bytes, ...]
    own_cookies: frozenset[bytes]
    style: ErrorStyle
    requirements: tuple[PathRequirement, ...] = ()
    task_api: Prefixes = _NO_PATHS
    to_login: frozenset[bytes] = frozenset()
    logouts: frozenset[bytes] = frozenset()
    public: frozenset[bytes] = frozenset()
    preflights: bool = False
    rests: Rests | None = None
    health: frozenset[bytes] = frozenset()

    def guards(self, path: bytes) -> bool:
        """Return whether a request for this path needs a decision."""
        return self.protect.cover(path) and path not in self.to_login and path not in self.logouts

    def is_for_nobody(self, request: GateRequest) -> bool:
        """Return whether a request needs no decision because it goes on without any credential.

        Whoever brings a credential is judged: a wrong one is refused on every path. So is everybody where a requirement
        covers a public path.
        """
        if request.intake.authorization is not None:
            return False
        if self.preflights and is_preflight(request):
            return True
        if request.path not in self.public or request.method not in ("GET", "HEAD"):
            return False
        return next(self.required_of(request), None) is None

    def bearer_for(self, path: bytes, granted: Granted) -> bytes | None:
        """Return the Authorization value with which an accepted request goes on, if any."""
        return None if self.task_api.cover(path) else granted.bearer

    def required_of(self, request: GateRequest) -> Iterator[Requirements]:
        """Yield what the request's path and method ask of an identity, and what the objects do that it can reach."""
        reach: Reach | None = None
        for rule in self.requirements:
            if rule.covers(request.method, request.path):
                yield rule.requirements
            elif rule.objects:
                if reach is None:
                    reach = reach_of(request.method, request.path.decode("ascii"), request.inspected)
                if rule.concerns(reach):
                    yield rule.requirements
