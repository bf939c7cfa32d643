"""Browsers at the gate: led to the login page, kept logged in at the upstream's pages, logged out with the upstream.

The upstream's own login cookie holds a token of minutes, our session lives for days. While the session lives, a browser
whose cookie has ended gets a new one with the answer to whatever it asks for, so that pages and their scripts go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from cachetools import TTLCache
from flask import Flask

from compat_auth.authn.session_cookie import SessionCookie
from compat_auth.browsers.request import asked_for, comes_from_own_pages, has_ended, shows_page, target_of
from compat_auth.concurrency.lanes import retrieve_error
from compat_auth.config import Settings
from compat_auth.credentials import Absent
from compat_auth.errors import BackendUnavailable, CompatAuthError, ConfigError
from compat_auth.gateway.authorization import GateRules
from compat_auth.gateway.decider import Decider
from compat_auth.gateway.decision import Granted
from compat_auth.http.asgi import RawHeaders, Send, respond
from compat_auth.http.headers import cookie_values, without_cookies
from compat_auth.http.request import GateRequest
from compat_auth.identity import Identity, Token
from compat_auth.tokens.revoked import RevokedTokens
from compat_auth.web.login_completion import UpstreamCookie, cookie_token_issuer
from compat_auth.web.logout import log_out_sessions
from compat_auth.web.site import BLUEPRINT

# Where Airflow's pages send a browser to log in: 3.x, FabAuthManager and SimpleAuthManager, and 2.x.
# Where Airflow's own pages send a browser that has no login. The others are addresses of the auth manager's form.
_PAGES_LOGIN = b"/api/v2/auth/login"
LOGINS = frozenset((_PAGES_LOGIN, b"/auth/login", b"/auth/login/", b"/login", b"/login/"))
"""Whole paths."""
_METHODS = frozenset(("GET", "POST"))
# A page asks for many things at once; all of them get one token.
_SHARED_S = 20.0
_SHARED = 10_000
_NO_STORE = (b"cache-control", b"no-store")


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings for browsers.

    Attributes:
        login: `[session] login`.
        prefix: Where our own pages live.
        logouts: The upstream's own logout, as whole paths.
        is_airflow: The upstream is an Airflow, whose login pages are known.
        leads_in: The gate redirects a browser without a login to our login page.
    """

    login: str
    prefix: str
    logouts: frozenset[bytes]
    is_airflow: bool
    leads_in: bool


class BrowserVisits:
    """See the module; one for each process.

    Args:
        app: Where sessions and pages live.
        rules: See `Rules`.
        cookie: Our session's.
        upstream_cookie: The upstream's own login cookie.
        gate_rules: Which paths need a decision.
        decider: Identifies; its threads.
        revoked: Tokens of the upstream's that are no longer good.
    """

    def __init__(
        self,
        app: Flask,
        rules: Rules,
        cookie: SessionCookie,
        upstream_cookie: UpstreamCookie,
        gate_rules: GateRules,
        decider: Decider,
        revoked: RevokedTokens,
    ) -> None:
        self._app = app
        self._gate_rules = gate_rules
        self._decider = decider
        self._revoked = revoked
        self._rules = rules
        self._own_names = tuple(name.encode("ascii") for name in cookie.names)
        self._upstream_cookie = upstream_cookie
        self._name = upstream_cookie.name.encode("ascii")
        self._shared: TTLCache[str, Token] = TTLCache(_SHARED, _SHARED_S, timer=time.monotonic)
        self._turns: dict[str, asyncio.Task[Token | None]] = {}

    @classmethod
    def from_settings(
        cls, settings: Settings, gate_rules: GateRules, decider: Decider, revoked: RevokedTokens
    ) -> BrowserVisits | None:
        """Return the visits of browsers; None if we have no sessions.

        Raises:
            ConfigError: `[session] login` wants a login page that is not there.
        """
        app, cookie = decider.app, SessionCookie.from_settings(settings)
        if cookie is None or BLUEPRINT not in app.blueprints:
            if settings.session.login == "ours":
                raise ConfigError(
                    'session.login: "ours", but there is no login page: set session.secret; '
                    "make one with: openssl rand -base64 48"
                )
            return None
        login = settings.session.login
        challenges = decider.chain.challenges()
        # A ticket is shown in answer to a challenge, without a page.
        has_tickets = any(challenge.lower().startswith("negotiate") for challenge in challenges)
        rules = Rules(
            login,
            settings.prefix,
            settings.upstream.logouts(),
            settings.upstream.profile != "generic",
            login == "ours" or (not login and settings.mode == "strict" and not has_tickets),
        )
        return cls(app, rules, cookie, UpstreamCookie(settings), gate_rules, decider, revoked)

    def leading_in(self, request: GateRequest, send: Send) -> Send:
        """Return the `send` by which a browser that asks for a guarded page learns where to log in, in place of a 401."""
        if not self._rules.leads_in or request.intake.authorization is not None or not shows_page(request):
            return send
        if not self._gate_rules.guards(request.path) or request.path.startswith(self._rules.prefix.encode("ascii")):
            return send
        return _instead_of_401(send, self._to_login(request, target_of(request)))

    async def visit(self, request: GateRequest, send: Send) -> Send | None:
        """Do what a request for the upstream wants done for its browser; None where it is answered with that.

        Raises:
            BackendUnavailable: A logout could not be written down.
        """
        if request.path in self._rules.logouts:
            return _adding(await self.log_out(request), send)
        if self._rules.login != "ours" or not self._name:
            return send
        if self._rules.is_airflow and request.path in LOGINS and shows_page(request):
            if await self._needs_own_form(request):
                return send
            await self._log_in(request, send)
            return None
        if await self._has_living_token(request):
            return send
        return await self._renew(request, send)

    async def log_out(self, request: GateRequest) -> RawHeaders:
        """End the session of a request for the upstream's own logout, and return the cookies that the browser loses.

        Raises:
            BackendUnavailable: It could not be written down.
        """
        cookies = request.intake.cookies
        names = (*self._own_names, *((self._name,) if self._name else ()))
        if request.path not in self._rules.logouts or request.method not in _METHODS:
            return []
        if not any(cookie_values(cookies, name) for name in names) or not comes_from_own_pages(request):
            return []
        return await self._in_app(request, lambda: log_out_sessions(self._upstream_cookie))

    async def _needs_own_form(self, request: GateRequest) -> bool:
        """Return whether a browser that is logged in here comes to the form of the upstream's auth manager.

        FAB's pages for users, roles and one's password know FAB's own session alone, which only its form gives. Our login
        would lead back to the page, which would send the browser here again.
        """
        cookies = request.intake.cookies
        if request.path == _PAGES_LOGIN or not any(cookie_values(cookies, own) for own in self._own_names):
            return False
        return await self._has_living_token(request)

    async def _log_in(self, request: GateRequest, send: Send) -> None:
        """Answer a browser that the upstream's pages send to log in: with a new cookie, else with our login page."""
        target = asked_for(request)
        # A token that lives was refused by the upstream: another one would be, too, and so on without an end.
        renewed = None if await self._has_living_token(request) else await self._renewed(request)
        if renewed is None:
            await respond(send, 302, headers=[(b"location", self._to_login(request, target)), _NO_STORE])
            return
        _, headers = renewed
        await respond(send, 302, headers=[(b"location", target.encode("ascii")), _NO_STORE, *headers])

    async def _renew(self, request: GateRequest, send: Send) -> Send:
        renewed = await self._renewed(request)
        cookies = without_cookies(request.intake.cookies, frozenset((self._name,)))
        if renewed is None:
            return send
        token, headers = renewed
        if not self._gate_rules.guards(request.path):
            cookies = [*cookies, self._name + b"=" + token.value.encode("ascii")]
        # Where the path is guarded, our session decides, with all that is required there.
        request.intake = replace(request.intake, cookies=cookies)
        return _adding([*headers, _NO_STORE], send)

    async def _renewed(self, request: GateRequest) -> tuple[Token, RawHeaders] | None:
        """Return a token for the session of a request, and the cookies for its browser; None where there is none."""
        intake = request.intake
        if intake.authorization is not None or not any(cookie_values(intake.cookies, own) for own in self._own_names):
            return None
        bare = replace(
            request, intake=replace(intake, cookies=without_cookies(intake.cookies, frozenset((self._name,))))
        )
        try:
            decision = await self._decider.identify(bare.presented())
            if not isinstance(decision, Granted) or not decision.identity.credential_id.startswith("session:"):
                return None
            token = await self._token_of(bare, decision.identity)
            if token is None:
                return None
            kept = await self._in_app(bare, lambda: self._upstream_cookie.header(token))
        except BackendUnavailable:
            raise
        except CompatAuthError:
            # The upstream has no token for this user, or none without a password: its own pages say what they say.
            return None
        guarded = self._gate_rules.guards(request.path)
        return token, [*kept, *(() if guarded else decision.headers)]

    async def _token_of(self, request: GateRequest, identity: Identity) -> Token | None:
        key = identity.credential_id
        shared = self._shared.get(key)
        if shared is not None and not has_ended(shared.value):
            return shared
        turn = self._turns.get(key)
        if turn is None:
            turn = asyncio.ensure_future(self._make_token(request, identity))
            self._turns[key] = turn
            turn.add_done_callback(lambda _done: self._turns.pop(key, None))
            turn.add_done_callback(retrieve_error)
        return await asyncio.shield(turn)

    async def _make_token(self, request: GateRequest, identity: Identity) -> Token | None:
        issue = cookie_token_issuer(self._app)
        if issue is None:
            return None
        token = await self._decider.lanes.run(request.client, lambda: issue(identity, Absent(), None))
        self._shared[identity.credential_id] = token
        return token

    async def _has_living_token(self, request: GateRequest) -> bool:
        values = cookie_values(request.intake.cookies, self._name) if request.intake.cookies else []
        if all(has_ended(value.decode("latin-1")) for value in values):
            return False
        _, is_denied = await self._revoked.among([], request.intake.cookies)
        return not is_denied

    async def _in_app(self, request: GateRequest, work: Callable[[], list[str]]) -> RawHeaders:
        """Return Set-Cookie headers that some work in a context of the app yields, for the cookies of a request."""
        bare = replace(request, intake=replace(request.intake, authorization=None))

        def run() -> list[str]:
            with self._app.request_context(bare.environ(with_cookies=True)):
                return work()

        values = await self._decider.lanes.run(request.client, run)
        return [(b"set-cookie", value.encode("latin-1")) for value in values]

    def _to_login(self, request: GateRequest, target: str) -> bytes:
        return f"{request.root}{self._rules.prefix}login?next={quote(target, safe='/')}".encode("ascii")


def _adding(extra: RawHeaders, send: Send) -> Send:
    if not extra:
        return send

    async def send_with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return send_with_headers


def _instead_of_401(send: Send, location: bytes) -> Send:
    is_replaced = False

    async def send_elsewhere(message: Any) -> None:
        nonlocal is_replaced
        if message["type"] == "http.response.start" and message["status"] == 401:
            is_replaced = True
            await respond(send, 302, headers=[(b"location", location), _NO_STORE])
        elif not is_replaced:
            await send(message)

    return send_elsewhere
