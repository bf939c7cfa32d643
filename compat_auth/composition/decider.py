"""What decides about a request: the chain of backends in its Flask app, with what makes a token for an identity."""

from __future__ import annotations

import logging
import os

from flask import Flask

from compat_auth.authn.chain import Chain
from compat_auth.composition.tokens import build_issuer
from compat_auth.config import Settings
from compat_auth.errors import ConfigError
from compat_auth.extension import CompatAuth
from compat_auth.gateway.decider import Decider
from compat_auth.tokens.strategies import Strategy, brings_no_password
from compat_auth.web.login_completion import set_hand_off


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


logger = logging.getLogger("compat_auth.app")


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
    issuer = build_issuer(settings, strategy, reserves=chain.reserves)
    set_hand_off(app, issuer.obtain)
    return Decider(
        chain,
        app,
        issuer,
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
