"""The composition root: where the parts are joined to an ASGI application."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask

from compat_auth.airflow.v1.router import V1
from compat_auth.airflow.v1.translation import V1Translation
from compat_auth.airflow.v1.translation import public_pages as v1_public_pages
from compat_auth.airflow_api.paths import FAB_API, whole_paths
from compat_auth.airflow_api.reach import fixed_objects
from compat_auth.api.oauth.introspection import OAuthPages
from compat_auth.api.routes import own_pages
from compat_auth.audit.losses import refuse_without_log
from compat_auth.authn.chain import Chain
from compat_auth.authn.revocation_events import revocations_of
from compat_auth.authn.session_cookie import SessionCookie
from compat_auth.authn.users.lookup import Lookup
from compat_auth.browsers.visits import BrowserVisits
from compat_auth.config import Settings, load_settings
from compat_auth.credentials import Credential
from compat_auth.errors import ConfigError, InvalidToken
from compat_auth.extension import CompatAuth, style_of
from compat_auth.gateway.authorization import GateRules, PathRequirement
from compat_auth.gateway.decider import Decider, Obtain
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
from compat_auth.http.paths import AIRFLOW_RESTS, Prefixes
from compat_auth.http.root_path import RootPath
from compat_auth.identity import Identity, Token
from compat_auth.personal_tokens.service import personal_tokens_of
from compat_auth.requirements import Requirements
from compat_auth.store.readiness import StoreReadiness
from compat_auth.tokens.denylist import Denials
from compat_auth.tokens.issued import MAX_LIFETIME_S, GivenTokens, ReadToken, UpstreamLogout
from compat_auth.tokens.jose.jwk import VerifyingKey, verifying_key
from compat_auth.tokens.jose.jwt import SHARED_SECRET_KID, shared_secret_verifier, verify
from compat_auth.tokens.keys.jwks_merge import merge_jwks
from compat_auth.tokens.keys.keys import unix_now
from compat_auth.tokens.strategies import Strategy, brings_no_password, build_strategy, open_key_ring
from compat_auth.tokens.upstream_login import UpstreamLogin
from compat_auth.web.login_completion import set_hand_off
from compat_auth.web.site import own_cookie_names

logger = logging.getLogger(__name__)

# What load balancers ask an Airflow of either kind for.
HEALTH = frozenset((b"/health", b"/api/v1/health", b"/api/v2/monitor/health"))


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
        self._denials = denials = Denials.from_settings(settings, revocations_of(self._decider.app))
        given = build_given_tokens(settings, strategy, denials, reserves=self._decider.chain.reserves)
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


def create_flask_app(settings: Settings) -> Flask:
    """Return a Flask app in which the backends live.

    Raises:
        ConfigError: A backend is missing or misconfigured.
    """
    app = Flask("compat_auth")
    # Backends of Airflow 2 may sign with it; nothing of ours does, and it need not outlive the process.
    app.secret_key = os.urandom(32)
    CompatAuth(app, settings, is_behind_gate=True)
    return app


def build_decider(settings: Settings, strategy: Strategy, app: Flask | None = None) -> Decider:
    """Return what decides for one process.

    Args:
        settings: What to build.
        strategy: Makes the tokens.
        app: Where the backends live already; None: an app of their own.

    Raises:
        ConfigError: A backend is missing or misconfigured.
    """
    app = app or create_flask_app(settings)
    chain: Chain = app.extensions["compat_auth"].chain
    if settings.token.strategy == "exchange" and chain.sign_ins():
        raise ConfigError(
            f"token.strategy: exchange needs a password, and {chain.sign_ins()[0].backend.name} lets people log in "
            "without one (sign_in); set shared_secret or key_pair"
        )
    if settings.token.strategy == "exchange":
        _warn_of_passwordless(chain)
    obtain = build_obtain(settings, strategy, reserves=chain.reserves)
    set_hand_off(app, lambda identity, credential, yielded: obtain(identity, credential, yielded, False))
    return Decider(
        chain,
        app,
        obtain,
        threads=settings.serve.threads,
        max_waiting=settings.serve.max_waiting,
        timeout_s=settings.serve.backend_timeout_s,
        cache_entries=settings.serve.cache_entries,
    )


def _warn_of_passwordless(chain: Chain) -> None:
    # Not an error: an old list names kerberos beside basic_auth, which goes on working.
    for backend in chain.backends:
        if brings_no_password(backend):
            logger.warning(
                "auth_backends: %s brings no password, and token.strategy exchange needs one: what it accepts is 403; "
                "set token.strategy to shared_secret or key_pair, or remove it",
                backend.name,
            )


def build_given_tokens(
    settings: Settings,
    strategy: Strategy,
    denials: Denials,
    *,
    reserves: Callable[[Identity], bool] | None = None,
) -> GivenTokens:
    """Return what gives tokens to callers and takes them back.

    Args:
        settings: What to build.
        strategy: Makes them.
        denials: What was taken back.
        reserves: See `Lookup`.

    Raises:
        ConfigError: A key, a secret, the upstream's URL or a directory cannot work.
    """
    profile = settings.upstream.profile
    return GivenTokens(
        strategy,
        build_lookup(settings, reserves=reserves),
        denials,
        build_reader(settings),
        sub_is_username=profile == "airflow-simple" or (profile == "generic" and "sub" not in settings.token.claims),
        login=None if profile == "generic" else UpstreamLogout(UpstreamLogin.from_settings(settings), strategy),
    )


def build_reader(settings: Settings) -> ReadToken:
    """Return what reads the upstream's tokens, whoever of us two has signed them.

    Raises:
        ConfigError: A secret or a key file is missing or cannot be trusted.
    """
    keys, audience, issuer = _upstream_keys(settings), settings.token.audience, settings.token.issuer or None

    def read(token: str) -> Mapping[str, Any] | None:
        try:
            return verify(
                token, keys(), audience=audience, issuer=issuer, now=unix_now(), max_lifetime_s=MAX_LIFETIME_S
            )
        except InvalidToken:
            # It may have been signed with a key that is not there any more, and still be one that we have given.
            return None

    return read


def _upstream_keys(settings: Settings) -> Callable[[], Mapping[str, VerifyingKey]]:
    """Return what verifies the upstream's tokens; nothing where only the upstream could.

    Raises:
        ConfigError: A secret or a key file is missing or cannot be trusted.
    """
    match settings.token.strategy:
        case "shared_secret":
            secret = {SHARED_SECRET_KID: shared_secret_verifier(settings.token.secret.get_secret_value())}
            return lambda: secret
        case "key_pair":
            ring = open_key_ring(settings)
            trusted = {jwk["kid"]: verifying_key(jwk) for jwk in merge_jwks([], settings.token.trusted_jwks)}
            return lambda: {**trusted, **ring.verifying_keys()}
        case "exchange" | "in_process":
            return dict


def build_lookup(settings: Settings, *, reserves: Callable[[Identity], bool] | None = None) -> Lookup:
    """Return the look-up that completes an identity for the strategy.

    Args:
        settings: What to build.
        reserves: See `Lookup`.

    Raises:
        ConfigError: The profile needs what the settings do not give.
    """
    if settings.token.strategy == "exchange":
        return Lookup(())
    lookup = Lookup.from_settings(settings, reserves=reserves)
    if settings.upstream.profile == "airflow-fab" and not lookup.finds_keys:
        raise ConfigError(
            "token.strategy: it mints tokens for airflow-fab, which names users by their number in its database; "
            'set [airflow_db] url, add "mapping" to [lookup] directories, or set token.strategy = "exchange"'
        )
    return lookup


def build_obtain(
    settings: Settings, strategy: Strategy, *, reserves: Callable[[Identity], bool] | None = None
) -> Obtain:
    """Return what makes the token for an accepted identity.

    Args:
        settings: What to build.
        strategy: Makes it.
        reserves: See `Lookup`.

    Raises:
        ConfigError: The profile needs what the settings do not give.
    """
    mints = settings.token.strategy != "exchange"
    lookup = build_lookup(settings, reserves=reserves)

    def obtain(identity: Identity, credential: Credential, yielded: Token | None, fresh: bool) -> Token:
        if not mints and yielded is not None and not fresh:
            return yielded
        return strategy.obtain(lookup.complete(identity), credential, fresh=fresh)

    return obtain


def translates_v1(settings: Settings) -> bool:
    """Return whether `/api/v1` is answered here."""
    return settings.upstream.api_v1 and settings.upstream.profile != "generic"


def protected_paths(settings: Settings) -> list[str]:
    """Return the path prefixes that need a decision."""
    paths = [*settings.upstream.protect]
    if translates_v1(settings):
        # The old API is a door to the new one: it is never open where the new one is closed.
        paths.append(f"{V1}/")
    if settings.upstream.profile == "airflow-fab" and FAB_API not in paths:
        # Airflow 2 guarded users and roles with the same backends.
        paths.append(FAB_API)
    if settings.upstream.profile != "generic":
        # Airflow's pages read every DAG there.
        fixed = fixed_objects(rule.path.encode() for rule in settings.require)
        paths.extend(dict.fromkeys(f"{path.decode().partition('/api/')[0]}/ui/" for _, path in fixed))
    return paths


def gate_rules(settings: Settings) -> GateRules:
    """Return what the gate does with which path and cookie."""
    cookie = SessionCookie.from_settings(settings)
    is_airflow = settings.upstream.profile != "generic"
    return GateRules(
        protect=Prefixes(protected_paths(settings)),
        prefix=settings.prefix.encode("ascii"),
        identity_cookies=tuple(name.encode("ascii") for name in settings.upstream.identity_cookies),
        own_cookies=frozenset(name.encode("ascii") for name in own_cookie_names(cookie)) if cookie else frozenset(),
        style=style_of(settings),
        requirements=tuple(
            PathRequirement(
                Prefixes([rule.path]), frozenset(rule.methods), Requirements(tuple(rule.all_of), tuple(rule.any_of))
            )
            for rule in settings.require
        ),
        # A task's own token opens every secret of Airflow: whoever calls there, nobody does so as somebody of ours.
        task_api=Prefixes(["/execution/"] if is_airflow else []),
        to_login=whole_paths("passed", below="/api/") if is_airflow else frozenset(),
        logouts=settings.upstream.logouts(),
        public=whole_paths("public", below="/api/") if is_airflow else frozenset(),
        # An upstream that is not known to us may do on OPTIONS what it does on GET.
        preflights=is_airflow,
        rests=AIRFLOW_RESTS if settings.upstream.profile != "generic" else None,
        health=HEALTH if settings.upstream.profile != "generic" else frozenset(),
    )


def public_keys(settings: Settings) -> Callable[[], bytes]:
    """Return what publishes the keys that the upstream may trust: ours, and what `token.trusted_jwks` names.

    Raises:
        ConfigError: A key file is missing or cannot be trusted.
    """
    trusted = settings.token.trusted_jwks
    ring = open_key_ring(settings) if settings.token.strategy == "key_pair" else None

    def publish() -> bytes:
        own = ring.public_jwks() if ring is not None else []
        return json.dumps({"keys": merge_jwks(own, trusted)}).encode()

    publish()
    return publish
