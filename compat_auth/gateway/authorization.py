"""The gate's rules for paths and cookies, and whether scopes and requirements allow a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from compat_auth.airflow_api.permission import uncovered
from compat_auth.airflow_api.reach import MAX_BODY_BYTES, Reach, fixed_objects, names_in_body, reach_of
from compat_auth.credentials import Absent, Bearer
from compat_auth.crypto.personal_token_format import looks_like_one
from compat_auth.errors import BodyTooLarge, InsufficientScope, NotPermitted
from compat_auth.gateway.decision import Decision, Granted, Unclaimed
from compat_auth.http.asgi import Receive, read_body, replayed
from compat_auth.http.browser.preflight import is_preflight
from compat_auth.http.error_responses import ErrorStyle
from compat_auth.http.headers import has_cookie
from compat_auth.http.paths import Prefixes, Rests
from compat_auth.http.request import GateRequest
from compat_auth.requirements import Requirements

_NO_PATHS = Prefixes([])


@dataclass(frozen=True, slots=True)
class PathRequirement:
    """The requirements of some paths.

    Attributes:
        paths: The paths.
        methods: Upper case; empty for every method.
        requirements: The requirements.
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
        """Return whether the rule is about a request for this path; a rule for GET also applies to HEAD."""
        named = not self.methods or method in self.methods or (method == "HEAD" and "GET" in self.methods)
        return named and self.paths.cover(path)

    def concerns(self, reach: Reach) -> bool:
        """Return whether a request reaches an object that the rule is about, by any path."""
        if self.methods and self.methods.isdisjoint(reach.methods):
            return False
        return any(
            family == target.family and (not target.path or paths.cover(target.path.encode("ascii")))
            for family, paths in self.objects
            for target in reach.targets
        )


@dataclass(frozen=True, slots=True)
class GateRules:
    """The gate's rules for paths and cookies.

    Attributes:
        protect: Paths that need a decision.
        prefix: Where our own pages live, with both slashes.
        identity_cookies: The upstream's own; the first one alone authenticates a user to the upstream.
        own_cookies: Ours; the upstream never sees them.
        style: How refusals look.
        requirements: The requirements of paths.
        task_api: Paths that never get our identity, even if they are protected.
        to_login: Whole paths at which the upstream redirects a browser to its login; they need no decision.
        logouts: Whole paths of the upstream's own logout, the same way.
        public: Whole paths that the upstream shows to everybody; they need no decision without `Authorization`.
        preflights: CORS preflights are forwarded to the upstream without a decision.
        rests: The paths whose rest the upstream reads as data; None: there are none.
        health: Whole paths that a load balancer may ask for without a Host.
        do_as: A caller may name a user for whom it acts.
        api_key: Header that may bring a personal token, in lower case; b"": none.
        identity_headers: Names of headers, in lower case, in which a backend finds who the caller is.
        upstream_reads: Names of identity headers, in lower case, that the plugin leaves to Airflow.
        sees_certificates: A client's certificate may count, though no backend of the chain takes one for a credential.
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
    api_key: bytes = b""
    do_as: bool = False
    identity_headers: frozenset[bytes] = frozenset()
    upstream_reads: frozenset[bytes] = frozenset()
    sees_certificates: bool = False

    def guards(self, path: bytes) -> bool:
        """Return whether a request for this path needs a decision."""
        return self.protect.cover(path) and path not in self.to_login and path not in self.logouts

    def is_for_nobody(self, request: GateRequest) -> bool:
        """Return whether a request needs no decision because it is forwarded without any credential.

        A request with a credential is always checked: a wrong one is refused on every path. So is every request if a
        requirement covers a public path.
        """
        if request.intake.authorization is not None:
            return False
        if self.preflights and is_preflight(request):
            return True
        if request.path not in self.public or request.method not in ("GET", "HEAD"):
            return False
        return next(self.required_of(request), None) is None

    @property
    def upstream_cookie(self) -> bytes:
        """The cookie that alone authenticates a user to the upstream; b"" if there is none."""
        return self.identity_cookies[0] if self.identity_cookies else b""

    @property
    def dropped_cookies(self) -> frozenset[bytes]:
        """The cookies that are removed from a request that has another identity, or none."""
        return self.own_cookies | frozenset(self.identity_cookies)

    def dropped_unprotected(self, is_cookie_revoked: bool) -> frozenset[bytes]:
        """Return the cookies that are removed from a request for an unprotected path."""
        # A browser that has logged out may go to the login page.
        return self.own_cookies | set(self.identity_cookies[:1] if is_cookie_revoked else ())

    def bearer_for(self, path: bytes, granted: Granted) -> bytes | None:
        """Return the Authorization value with which an accepted request is forwarded, if any."""
        return None if self.task_api.cover(path) else granted.bearer

    def required_of(self, request: GateRequest) -> Iterator[Requirements]:
        """Yield the requirements of the request's path and method, and those of the objects that it can reach."""
        reach: Reach | None = None
        for rule in self.requirements:
            if rule.covers(request.method, request.path):
                yield rule.requirements
            elif rule.objects:
                if reach is None:
                    reach = reach_of(request.method, request.path.decode("ascii"), request.inspected)
                if rule.concerns(reach):
                    yield rule.requirements


Authorize = Callable[[str, bytes, bytes], None]
"""Checks that the caller may also send this to the upstream: a method, a canonical path, a body; or NotPermitted."""


class Authorization:
    """Whether a decided request may go on: scopes, requirements, and credentials that the upstream checks itself.

    Args:
        rules: See `GateRules`.
    """

    def __init__(self, rules: GateRules) -> None:
        self.rules = rules

    async def require_with_body(self, decision: Decision, request: GateRequest, receive: Receive) -> Receive:
        """Raise unless scopes and requirements allow the request; its body is read if the decision depends on it.

        Returns:
            The `receive` of the request from now on.

        Raises:
            InsufficientScope, NotPermitted: See `require`.
        """
        try:
            self.require(decision, request)
        except NotPermitted as refusal:
            if not names_in_body(request.method, request.path.decode("ascii")):
                raise
            try:
                if request.held is None:
                    request.inspected = await read_body(receive, MAX_BODY_BYTES)
                    receive = replayed(request.inspected, receive)
                else:
                    request.inspected = await request.held.hold()
            except BodyTooLarge:
                raise refusal from None
            if len(request.inspected) > MAX_BODY_BYTES:
                raise
            self.require(decision, request)
        return receive

    def require(self, decision: Decision, request: GateRequest, *readings: GateRequest) -> None:
        """Raise unless scopes and requirements allow the request.

        Args:
            decision: About it.
            request: As it came.
            readings: The other ways to read it: with another method.

        Raises:
            InsufficientScope: The credential is limited, and not for this method and path, nor for all it can reach.
            NotPermitted: The identity does not meet what the path requires; nor does one that only the upstream knows.
        """
        if isinstance(decision, Granted) and decision.identity.scopes is not None:
            methods = [reading.method for reading in (request, *readings)]
            needed = uncovered(decision.identity.scopes, methods, request.path.decode("ascii"), request.inspected)
            if needed is not None:
                raise InsufficientScope("the credential's scopes do not cover this request", needed)
        for reading in (request, *readings):
            self.require_met(decision, reading)

    def require_met(self, decision: Decision, request: GateRequest) -> None:
        """Raise unless the identity meets what the path requires.

        Raises:
            NotPermitted: The identity does not meet it; nor does one that only the upstream knows.
        """
        if isinstance(decision, Granted):
            if not all(required.met_by(decision.identity) for required in self.rules.required_of(request)):
                raise NotPermitted
        elif (
            isinstance(decision, Unclaimed)
            and self.is_for_upstream(decision, request)
            and next(self.rules.required_of(request), None) is not None
        ):
            # Only the upstream can tell who this is, so nobody can tell that it meets what the path requires.
            raise NotPermitted

    def authorize(self, decision: Decision, request: GateRequest) -> Authorize:
        """Return a function that raises unless the same caller may also send another request to the upstream."""

        def require(method: str, path: bytes, body: bytes) -> None:
            self.require_met(decision, replace(request, method=method, path=path, inspected=body))
            if isinstance(decision, (Granted, Unclaimed)) and decision.staged is not None:
                # The old path must not bypass a stage of the new one.
                decision.staged.require(method, path)

        return require

    def is_for_upstream(self, unclaimed: Unclaimed, request: GateRequest) -> bool:
        """Return whether the upstream checks a credential that no backend accepts: its JWT, or its cookie."""
        if isinstance(unclaimed.credential, Bearer):
            # A personal token is nobody's but ours, also where no backend takes one.
            return not looks_like_one(unclaimed.credential.token)
        return isinstance(unclaimed.credential, Absent) and any(
            has_cookie(request.intake.cookies, name) for name in self.rules.identity_cookies
        )
