"""The composition root: where the parts are joined to an ASGI application."""

from __future__ import annotations

import asyncio

from compat_auth.airflow.v1.translation import V1Translation
from compat_auth.airflow.v1.translation import public_pages as v1_public_pages
from compat_auth.api.oauth.introspection import OAuthPages
from compat_auth.api.routes import own_pages
from compat_auth.audit.losses import refuse_without_log
from compat_auth.authn.revocation_events import revocation_events_of
from compat_auth.browsers.visits import BrowserVisits
from compat_auth.composition.decider import build_decider
from compat_auth.composition.rules import gate_rules, translates_v1
from compat_auth.composition.tokens import build_issued_tokens, public_keys
from compat_auth.config import Settings, load_settings
from compat_auth.gateway.forward_auth import (
    FORWARD_AUTH_PAGES,
    access_of,
    forward_auth_pages,
    not_here,
    nothing_else,
    port_of,
)
from compat_auth.gateway.forward_auth_tokens import HandedOut
from compat_auth.gateway.health import JWKS_PATH, jwks_page, live, ready_page
from compat_auth.gateway.middleware import Gate, Page
from compat_auth.gateway.reverse_proxy import ReverseProxy
from compat_auth.http.asgi import ASGIApp, Receive, Scope, Send
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.root_path import RootPath
from compat_auth.personal_tokens.service import personal_tokens_of
from compat_auth.store.readiness import StoreReadiness
from compat_auth.tokens.denylist import Denylist
from compat_auth.tokens.strategies import build_strategy

__all__ = ["create_app"]


class Gateway:
    """The gate in front of a reverse proxy: `compat-auth serve`.

    Args:
        settings: What to build.

    Raises:
        ConfigError: The settings do not fit together; says what to change.
    """

    def __init__(self, settings: Settings) -> None:
        refuse_without_log(settings.audit.when_full == "refuse")
        trusted = TrustedProxies(settings.trusted_proxies)
        self._proxy = ReverseProxy(settings.upstream, trusted)
        strategy = build_strategy(settings)
        self._decider = build_decider(settings, strategy)
        self._tokens = personal_tokens_of(self._decider.app)
        translates = translates_v1(settings)
        self._denials = denials = Denylist.from_settings(settings, revocation_events_of(self._decider.app))
        given = build_issued_tokens(settings, strategy, denials, reserves=self._decider.chain.reserves)
        oauth = OAuthPages.from_settings(settings, given)
        access = access_of(settings)
        browsers = BrowserVisits.from_settings(settings, self._decider.app)
        self._forward_auth_port = port_of(settings)
        root = RootPath.from_settings(settings)
        health: dict[str, Page] = {
            "live": live,
            "ready": ready_page(self._proxy.require_reachable, StoreReadiness(denials.rows).require),
        }
        asked: dict[str, Page] = {}
        if access is not None:
            asked = forward_auth_pages(access, HandedOut(given, entries=settings.serve.cache_entries).bearer_for)
        # Front proxies have a gate of their own, on a listener that no client reaches.
        self._front_gate = Gate(
            self._proxy,
            self._decider,
            gate_rules(settings),
            trusted=trusted,
            pages={**health, **asked, "/": nothing_else},
            denials=denials,
            browsers=browsers,
            metadata_url=oauth.metadata_url,
            root=root,
            tells_origins=settings.upstream.profile != "generic",
        )
        self._gate = Gate(
            V1Translation(self._proxy, says_deprecated=settings.upstream.api_v1_deprecation)
            if translates
            else self._proxy,
            self._decider,
            gate_rules(settings),
            trusted=trusted,
            pages={
                **health,
                JWKS_PATH: jwks_page(public_keys(settings)),
                **(asked if access is not None and access.secret else dict.fromkeys(FORWARD_AUTH_PAGES, not_here)),
                **(v1_public_pages() if translates else {}),
                **own_pages(settings, oauth, self._decider.app),
            },
            denials=denials,
            metadata_url=oauth.metadata_url,
            tells_origins=settings.upstream.profile != "generic",
            upstream=self._proxy,
            max_judged_body=settings.airflow2_modules.max_body_bytes,
            browsers=browsers,
            root=root,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await (self._front_gate if self._is_for_front_proxies(scope) else self._gate)(scope, receive, send)

    def _is_for_front_proxies(self, scope: Scope) -> bool:
        """Return whether the request came to the listener of forward-auth: by the socket's own address, no header."""
        server = scope.get("server")
        return self._forward_auth_port is not None and server is not None and server[1] == self._forward_auth_port

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._proxy.open()
                self._decider.open()
                self._denials.open()
                if self._tokens is not None:
                    self._tokens.open()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self._decider.close()
                await self._proxy.close()
                if self._tokens is not None:
                    await asyncio.to_thread(self._tokens.close)
                await send({"type": "lifespan.shutdown.complete"})
                return


def create_app(settings: Settings | None = None) -> ASGIApp:
    """Return the gateway as an ASGI application; without settings, from the file and the environment.

    Raises:
        ConfigError: The settings do not fit together.
    """
    return Gateway(settings or load_settings())
