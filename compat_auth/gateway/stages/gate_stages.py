"""The stages at a gate: each decision about a request that its stage allows gets the headers to announce."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from flask import Flask

from compat_auth import audit
from compat_auth.authn.upstream_tokens import upstream_tokens_of
from compat_auth.credentials import Bearer
from compat_auth.errors import CompatAuthError, NotAuthenticated, StageRefusal
from compat_auth.gateway.decision import Decision, Granted, Staged, Unclaimed
from compat_auth.gateway.stages.token_origins import TokenOrigins
from compat_auth.http.headers import cookie_values
from compat_auth.http.request import GateRequest, Shown
from compat_auth.identity import Identity
from compat_auth.scopes import METHOD_OVERRIDES
from compat_auth.stages.choice import RuleSet, Use
from compat_auth.stages.enforcement import Headers, Stages
from compat_auth.stages.of_app import stages_of
from compat_auth.stages.rules import UPSTREAM, StageRule
from compat_auth.tokens.denylist import is_plain
from compat_auth.tokens.issued import IssuedTokens, TokenOrigin
from compat_auth.tokens.revoked import bearer_in

_EMPTY = (b"", b'""')
_Counted = tuple[StageRule, str]


class GateStages:
    """Applies the stages; used on one event loop.

    Args:
        stages: Enforces them.
        origins: Knows where the upstream's tokens came from.
        cookie: The cookie that alone authenticates a user to the upstream; b"" if there is none.
        open_paths: Whole paths at which a browser logs in or out, and which stay open.
    """

    def __init__(
        self, stages: Stages, origins: TokenOrigins, cookie: bytes, open_paths: frozenset[bytes] = frozenset()
    ) -> None:
        self._stages = stages
        self._origins = origins
        self._cookie = cookie
        self._open_paths = open_paths

    @classmethod
    def of(cls, app: Flask, cookie: bytes, open_paths: frozenset[bytes] = frozenset()) -> GateStages | None:
        """Return the stages of the app of the backends; None: it has none."""
        stages, issued = stages_of(app), upstream_tokens_of(app)
        if stages is None:
            return None
        find: Callable[[str], TokenOrigin | None] = _unknown
        if isinstance(issued, IssuedTokens):
            find = issued.origin_of
        return cls(stages, TokenOrigins(find), cookie, open_paths)

    async def apply(self, decision: Decision, request: GateRequest) -> Decision:
        """Return the decision with what its stage announces.

        Raises:
            StageRefusal: The stage refuses the request.
            NotAuthenticated: The upstream's cookie can be read in several ways.
            BackendUnavailable: The store could not be asked, and never was before, or must say where a token came from.
        """
        rules = await self._rules()
        if not rules.stages_anything or request.only_asked_about:
            return decision
        if isinstance(decision, Granted):
            uses = [_use_of(decision.identity, request)]
        elif isinstance(decision, Unclaimed):
            uses = await self._uses_of_tokens(request)
        else:
            return decision
        notices = self._judge(rules, uses, request, set())
        if not uses:
            return decision
        raw = tuple((name.lower().encode("ascii"), value.encode("ascii")) for name, value in notices)
        return replace(
            decision, staged=Staged(raw, lambda method, path: self._require(rules, uses, method, path, request))
        )

    async def require_open(self, request: GateRequest) -> None:
        """Raise where a request for an unprotected path has a token of the upstream whose login is refused now.

        Raises:
            StageRefusal: It has.
            NotAuthenticated: See `apply`.
            BackendUnavailable: See `apply`.
        """
        rules = await self._rules()
        if not rules.stages_anything or request.path in self._open_paths:
            return
        uses = await self._uses_of_tokens(request)
        self._judge(rules, uses, request, self._counted(rules, uses))

    async def sees(self, authorizations: list[bytes], cookies: list[bytes]) -> bool:
        """Return whether a request that needs no decision has a token whose login may be staged.

        Raises:
            BackendUnavailable: The stages were never read, and cannot be.
        """
        if not authorizations and not cookie_values(cookies, self._cookie):
            return False
        return (await self._rules()).stages_anything

    # For the fast paths, which never wait

    def leaves(self, identity: Identity, method: str, path: bytes) -> bool:
        """Return whether a request by this caller is `on`, as far as that is known without waiting."""
        rules = self._stages.memory.peek()
        if rules is None:
            return False
        if not rules.stages_anything:
            return True
        rule = self._stages.find(
            rules, Use(identity.backend, _principal(identity), (method,), path.decode("ascii"), _login(identity))
        )
        return rule is None or rule.stage == "on"

    def leaves_all(self, identity: Identity) -> bool:
        """Return whether every request by this caller is `on` from now on, as far as that is known without waiting."""
        return self._leaves_all(identity.backend, _principal(identity), _login(identity))

    def leaves_bearer(self, shown: Shown) -> bool:
        """Return whether every request with a Bearer that only the upstream checks is `on` from now on; see `leaves_all`."""
        rules = self._stages.memory.peek()
        if rules is None:
            return False
        if not rules.stages_anything:
            return True
        try:
            credential = shown.credential()
        except CompatAuthError:
            return False
        known = self._origins.recall(credential.token) if isinstance(credential, Bearer) else None
        if known is None:
            return False
        origin = known[0]
        return self._leaves_all(UPSTREAM, *(("", ()) if origin is None else (origin.username, origin.backends)))

    def _leaves_all(self, backend: str, principal: str, origins: tuple[str, ...]) -> bool:
        rules = self._stages.memory.peek()
        return rules is not None and not self._stages.may_concern(rules, backend, principal, origins)

    async def _rules(self) -> RuleSet:
        rules = self._stages.memory.peek()
        return await asyncio.to_thread(self._stages.memory.current) if rules is None else rules

    async def _uses_of_tokens(self, request: GateRequest) -> list[Use]:
        """Return one use for each token of the upstream in a request: it may believe either of them.

        Raises:
            NotAuthenticated: A cookie can be read in several ways, so nobody can say which token it is.
            BackendUnavailable: The store could not be asked.
        """
        authorization, tokens = request.intake.authorization, list[str]()
        # From the raw text: what is malformed here may still be a token to the upstream, and never hides the cookie.
        if authorization is not None and (bearer := bearer_in(authorization)) is not None:
            tokens.append(bearer)
        if self._cookie and request.intake.cookies:
            values = cookie_values(request.intake.cookies, self._cookie)
            if not all(map(_is_readable, values)):
                raise NotAuthenticated("the cookie with the token is quoted, or has characters that no token has")
            tokens.extend(value.strip(b'"').decode("ascii") for value in values)
        uses: list[Use] = []
        for token in tokens:
            origin = await self._origins.find(token, request.client)
            principal, origins = ("", ()) if origin is None else (origin.username, origin.backends)
            caller = self._origins.name_of(token).hex()
            uses.append(Use(UPSTREAM, principal, _methods(request), request.path.decode("ascii"), origins, caller))
        return uses

    def _require(self, rules: RuleSet, uses: Iterable[Use], method: str, path: bytes, request: GateRequest) -> None:
        """Raise where the same caller may not send this to the upstream, either: the old API leads to the new one."""
        counted = self._counted(rules, uses)
        self._judge(
            rules, [replace(use, methods=(method,), path=path.decode("ascii")) for use in uses], request, counted
        )

    def _counted(self, rules: RuleSet, uses: Iterable[Use]) -> set[_Counted]:
        found = ((self._stages.find(rules, use), use) for use in uses)
        return {(rule, _who(use)) for rule, use in found if rule is not None}

    def _judge(self, rules: RuleSet, uses: Iterable[Use], request: GateRequest, counted: set[_Counted]) -> Headers:
        """Return the last announcement; a rule counts a request of one user once, however many tokens it has."""
        notices: Headers = ()
        for use in uses:
            rule = self._stages.find(rules, use)
            is_counted = rule is not None and (rule, _who(use)) in counted
            notices = self._ask(rules, use, request, rule if is_counted else None) or notices
            if rule is not None:
                counted.add((rule, _who(use)))
        return notices

    def _ask(self, rules: RuleSet, use: Use, request: GateRequest, counted: StageRule | None) -> Headers:
        try:
            return self._stages.judge(rules, use, counted=counted)
        except StageRefusal as refusal:
            method, path, client = request.method, use.path, request.client
            audit.record(
                audit.AuditEvent("reject", use.backend, use.principal, f"stage: {refusal}", method, path, client)
            )
            raise


def _is_readable(value: bytes) -> bool:
    return value in _EMPTY or is_plain(value)


def _unknown(_token: str) -> None:
    return None


def _principal(identity: Identity) -> str:
    # Whose credential it is: who acts for another user uses a login of its own.
    return identity.actor or identity.username


def _who(use: Use) -> str:
    return use.principal.casefold() or use.caller


def _login(identity: Identity) -> tuple[str, ...]:
    return (identity.login,) if identity.login and identity.login != identity.backend else ()


def _use_of(identity: Identity, request: GateRequest) -> Use:
    path = request.path.decode("ascii")
    return Use(identity.backend, _principal(identity), _methods(request), path, _login(identity))


def _methods(request: GateRequest) -> tuple[str, ...]:
    """Return the method, and those that a header has in its place for an upstream that obeys it."""
    named = (value for name in METHOD_OVERRIDES for value in request.intake.forward.get(name, ()))
    return tuple(dict.fromkeys((request.method, *(value.decode("latin-1").strip().upper() for value in named))))
