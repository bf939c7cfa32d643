"""Builds the decider of requests: the chain of backends in its Flask app, and the issuer of tokens for identities."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from flask import Flask

from compat_auth.authn.chain import Chain
from compat_auth.authn.revocation_events import revocation_events_of
from compat_auth.authn.upstream_tokens import set_upstream_tokens
from compat_auth.authn.users.acting import Acting
from compat_auth.authn.users.role_accounts import RoleAccountNames
from compat_auth.composition.acting_roles import more_roles_of
from compat_auth.composition.module_upstream import serve_modules
from compat_auth.composition.tokens import build_user_lookup, issued_tokens
from compat_auth.config import Settings
from compat_auth.errors import ConfigError
from compat_auth.extension import CompatAuth
from compat_auth.gateway.decider import Decider
from compat_auth.personal_tokens.service import PersonalTokens, personal_tokens_of
from compat_auth.tokens.denylist import Denylist
from compat_auth.tokens.issued import IssuedTokens, Logout, ReadToken
from compat_auth.tokens.issuer import TokenIssuer
from compat_auth.tokens.strategies import Strategy, brings_no_password
from compat_auth.usage.recorder import UsageRecorder, set_usage
from compat_auth.web.login_completion import set_cookie_token_issuer
from compat_auth.web.site import link_docs

logger = logging.getLogger("compat_auth.app")


@dataclass(frozen=True, slots=True, repr=False)
class Core:
    """The objects with which one process decides.

    Attributes:
        decider: Decides about credentials.
        denylist: Tokens that have been revoked.
        issued: The upstream's tokens that callers get.
        personal_tokens: The personal tokens; None: there are none.
        usage: Counts who uses what; None: nobody does.
    """

    decider: Decider
    denylist: Denylist
    issued: IssuedTokens
    personal_tokens: PersonalTokens | None
    usage: UsageRecorder | None = None

    def open(self) -> None:
        """Start to listen to revocations and to check the store; called on the event loop."""
        self.decider.open()
        self.denylist.open()
        if self.personal_tokens is not None:
            self.personal_tokens.open()
        if self.usage is not None:
            self.usage.open()

    def flush(self) -> None:
        """Store the usage that is still in memory; may be slow."""
        if self.personal_tokens is not None:
            self.personal_tokens.close()
        if self.usage is not None:
            self.usage.close()


def build_core(settings: Settings, app: Flask, strategy: Strategy, *, read: ReadToken, logout: Logout | None) -> Core:
    """Return the core of one process; the app gets the backends, and pages that revoke the upstream's tokens.

    Args:
        settings: What to build.
        app: Without backends yet.
        strategy: Makes the upstream's tokens.
        read: Reads the upstream's tokens.
        logout: The upstream's own list of revoked tokens; None: it has none.

    Raises:
        ConfigError: A backend is missing or misconfigured, or the settings do not fit together.
    """
    denylist = Denylist.from_settings(settings, revocation_events_of(app, settings))
    lookup = build_user_lookup(settings, reserves=RoleAccountNames.from_settings(settings).reserves)
    issued = issued_tokens(settings, strategy, lookup, denylist, read=read, logout=logout)
    # First: a backend that makes personal tokens takes what revokes the upstream's from the app.
    set_upstream_tokens(app, issued)
    # One token of its own for each browser: what one of them logs out is nobody else's.
    set_cookie_token_issuer(app, lambda identity, credential, _yielded: issued.issue(identity, credential, "session"))
    link_docs(app)
    # First, too: a module may read and write when it starts.
    serve_modules(app, settings)
    CompatAuth(app, settings, is_behind_gate=True)
    acting = Acting.from_settings(settings, lookup, more_roles_of(settings, lookup))
    decider = build_decider(settings, app, TokenIssuer(lookup, strategy), acting)
    usage = UsageRecorder.from_settings(settings)
    set_usage(app, usage)
    return Core(decider, denylist, issued, personal_tokens_of(app), usage)


def new_flask_app() -> Flask:
    """Return a Flask app for the backends."""
    app = Flask("compat_auth")
    # Backends of Airflow 2 may sign with it; nothing of ours does, and it need not outlive the process.
    app.secret_key = os.urandom(32)
    return app


def create_flask_app(settings: Settings) -> Flask:
    """Return a Flask app with the backends, without an upstream.

    Raises:
        ConfigError: A backend is missing or misconfigured.
    """
    app = new_flask_app()
    CompatAuth(app, settings, is_behind_gate=True)
    return app


def build_decider(settings: Settings, app: Flask, issuer: TokenIssuer, acting: Acting | None = None) -> Decider:
    """Return the object that decides about credentials.

    Args:
        settings: What to build.
        app: The app of the backends.
        issuer: Makes the tokens.
        acting: Who may act for whom; None: nobody.

    Raises:
        ConfigError: The chain and the strategy do not fit together.
    """
    chain: Chain = app.extensions["compat_auth"].chain
    if settings.token.strategy == "exchange" and chain.sign_ins():
        raise ConfigError(
            f"token.strategy: exchange needs a password, and {chain.sign_ins()[0].backend.name} lets people log in "
            "without one (sign_in); set shared_secret or key_pair"
        )
    if settings.token.strategy == "exchange":
        _warn_of_passwordless(chain)
    return Decider(
        chain,
        app,
        issuer,
        threads=settings.serve.threads,
        max_waiting=settings.serve.max_waiting,
        timeout_s=settings.serve.backend_timeout_s,
        cache_entries=settings.serve.cache_entries,
        acting=acting,
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
