"""The chain in an asynchronous app of Quart, Starlette or FastAPI: `CompatAuth(app)`.

Questions to a directory or a store run on a bounded number of threads, never on the event loop.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast

import flask
from flask import Flask

from compat_auth import sessions
from compat_auth.api.token_issue import mint_of
from compat_auth.async_apps import asfquart as auth
from compat_auth.async_apps.asfquart import AuthenticationFailed, require
from compat_auth.async_apps.frameworks import answer_of, framework_of, install
from compat_auth.async_apps.guard import guard_async_view, refusal_of
from compat_auth.async_apps.middleware import Refused, Site, current_visit, request_at_hand
from compat_auth.async_apps.visit import VISIT, Visit
from compat_auth.authn.airflow2.module import CONFIG_KEY, app_settings
from compat_auth.authn.chain import Chain
from compat_auth.authn.judgement import judgement_of
from compat_auth.client_certificates import can_see_certificates
from compat_auth.composition.rules import identity_headers
from compat_auth.concurrency.lanes import Lanes
from compat_auth.config import Settings
from compat_auth.errors import CompatAuthError, ConfigError
from compat_auth.extension import CompatAuth as FlaskExtension
from compat_auth.guard import (
    FROM_VIEWS,
    View,
    admit,
    current_identity,
    plain_identity,
    render_refusal,
    send_rendered,
)
from compat_auth.http.asgi import ASGIApp
from compat_auth.http.forwarded import Peers, TrustedProxies
from compat_auth.identity import Identity, Token
from compat_auth.outcome import Accept
from compat_auth.requirements import NOTHING_REQUIRED, Requirements, requirements_of
from compat_auth.sessions import ClientSession

__all__ = ["CompatAuth", "auth", "caller", "current_identity", "require", "requires_authentication", "session"]


class CompatAuth:
    """Guards views of a Quart, Starlette or FastAPI app with the configured chain.

    A function that is set on the app as `app.token_handler` checks bearer tokens if `token_handler` is in the list.

    Args:
        app: The app, or None to call `init_app` later.
        settings: What to build, settings or a mapping like the file; None means `app.config["COMPAT_AUTH"]` where the app
            has a `config`, else the file and the environment.
        issues_tokens: See `compat_auth.extension.CompatAuth`.

    Attributes:
        chain: The backends, once `init_app` has run.
    """

    chain: Chain

    def __init__(
        self,
        app: object | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
        *,
        issues_tokens: bool = False,
    ) -> None:
        self._settings = settings
        self._issues_tokens = issues_tokens
        if app is not None:
            self.init_app(app)

    def init_app(self, app: object) -> None:
        """Load the chain, and put a middleware around the app that begins and completes each request.

        Raises:
            ConfigError: The app is of no framework that is known here, or has started; a backend is missing, misconfigured,
                or has to see the body of a request.
        """
        framework = framework_of(app)
        backends = _BackendsApp(app)
        configured = getattr(app, "config", None)
        given = self._settings
        if given is None and isinstance(configured, Mapping):
            given = cast("Mapping[str, Any]", configured).get(CONFIG_KEY)
        if given is not None:
            backends.config[CONFIG_KEY] = given
        settings = app_settings(backends)
        self._backends = backends
        extension = FlaskExtension(backends, settings, issues_tokens=self._issues_tokens)
        self.chain = extension.chain
        if self.chain.reads_bodies():
            names = ", ".join(backend.name for backend in self.chain.backends if backend.reads_body)
            raise ConfigError(
                f"auth_backends: {names}: may look at a request's body, which an asynchronous app keeps for itself; if it "
                "looks at none, name it in [airflow2_modules] ignore_body"
            )
        serve = settings.serve
        self._lanes = Lanes(serve.threads, serve.max_waiting, serve.backend_timeout_s)

        def admitted(requirements: Requirements) -> Accept | flask.Response:
            judgement = judgement_of(backends)
            return admit(
                judgement.judge,
                self.chain.challenges,
                lambda: extension.style,
                requirements=requirements,
                lead_in=extension.lead_in,
            )

        def refuse(error: Exception) -> flask.Response:
            if isinstance(error, CompatAuthError):
                return render_refusal(error, extension.style, self.chain.challenges)
            assert isinstance(error, AuthenticationFailed)  # noqa: S101  # no other class is installed
            led = None if current_identity else extension.lead_in()
            if led is not None and sessions.current_session() is None:
                return led
            return send_rendered(extension.style.render(error.errorcode, self.chain.challenges(), error.message))

        site = Site(
            backends,
            self._lanes,
            extension.style,
            settings.prefix,
            extension.paths,
            cast("ASGIApp", app),
            admitted,
            refuse,
            answer_of(framework),
            _peers_of(settings, self.chain),
            identity_headers(settings),
        )
        install(app, framework, lambda: site, (*FROM_VIEWS, AuthenticationFailed))

    async def mint_token(self, identity: Identity) -> Token:
        """Return a JWT that speaks for an identity; see `compat_auth.extension.CompatAuth.mint_token`.

        Raises:
            ConfigError, InsufficientScope, NoSuchUser, BackendUnavailable, NoActiveKey: See there.
        """
        found, mint = plain_identity(identity), mint_of(self._backends)
        request = request_at_hand()
        return await self._lanes.run("", lambda: mint.mint(found, **request))


def _peers_of(settings: Settings, chain: Chain) -> Peers | None:
    """Return the reader of the other end of the connection; None where no backend asks for it."""
    if not can_see_certificates(settings) and not any(backend.reads_peer for backend in chain.backends):
        return None
    return Peers(TrustedProxies(settings.trusted_proxies), identity_headers(settings))


class _BackendsApp(Flask):
    """The Flask app in which the backends of an asynchronous app live."""

    def __init__(self, outer: object) -> None:
        super().__init__("compat_auth")
        # Backends of Airflow 2 may sign with it; it need not outlive the process.
        self.secret_key = os.urandom(32)
        self._outer = outer

    @property
    def token_handler(self) -> object:
        """The function that is set on the app, such that a thread can call it."""
        handler = getattr(self._outer, "token_handler", None)
        if not callable(handler):
            return None

        def ask(token: str) -> object:
            visit: Visit = flask.request.environ[VISIT]
            return visit.call_handler(handler, token)

        return ask


def requires_authentication(view: View) -> View:
    """Return the view, guarded by the chain of the app that it runs in; a guarded WebSocket is refused."""
    return guard_async_view(view, NOTHING_REQUIRED)


def caller(*, all_of: str | Iterable[str] = (), any_of: str | Iterable[str] = ()) -> Callable[[], Awaitable[Identity]]:
    """Return a dependency for FastAPI that gives the caller's identity, or refuses as `require` does.

    It refuses before FastAPI checks parameters and body, which for a decorated view it does first.

    Raises:
        ConfigError: A requirement is unknown; raised at once.
    """
    requirements = requirements_of(all_of, any_of)

    async def find_caller() -> Identity:
        site, visit = current_visit()
        refusal = await refusal_of(site, visit, requirements)
        if refusal is not None:
            raise Refused(refusal)
        assert visit.identity is not None  # noqa: S101  # for the type checkers: nobody has refused
        return visit.identity

    return find_caller


class session:  # noqa: N801  # asfquart has a module of this name
    """The session of the current request: `read`, `write`, `clear`, as asfquart has them."""

    @staticmethod
    async def read(expiry_time: float = sessions.WEEK_S) -> ClientSession | None:
        """Return the caller's session, or None; see `compat_auth.sessions.read`."""
        _, visit = current_visit()
        await visit.settle()
        return await visit.run(lambda: sessions.read(expiry_time))

    @staticmethod
    def write(data: Mapping[str, Any]) -> Awaitable[None]:
        """Do what `compat_auth.sessions.write` does; who does not wait for it has the answer wait."""
        _, visit = current_visit()
        content = dict(data)
        return visit.begin(lambda: sessions.write(content))

    @staticmethod
    def clear() -> Awaitable[None]:
        """Do what `compat_auth.sessions.clear` does; who does not wait for it has the answer wait."""
        _, visit = current_visit()
        return visit.begin(sessions.clear)
