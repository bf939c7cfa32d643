"""Our own pages, wherever the gate stands: those for browsers, the API for tokens, the doors of tokens, the description."""

from __future__ import annotations

from flask import Flask

from compat_auth.api import leak_receiver, personal_tokens
from compat_auth.api.docs import docs_pages
from compat_auth.api.flask_page import flask_page
from compat_auth.api.oauth.introspection import OAuthPages
from compat_auth.api.oauth.token_endpoint import PATHS, TokenEndpoint
from compat_auth.config import Settings
from compat_auth.gateway.health import whoami
from compat_auth.gateway.middleware import Page
from compat_auth.personal_tokens.service import personal_tokens_of
from compat_auth.web.login_completion import set_cookie_token_issuer
from compat_auth.web.logout import set_token_revoker
from compat_auth.web.page import MAX_FORM_BYTES
from compat_auth.web.site import link_docs, page_paths


def own_pages(
    settings: Settings, oauth: OAuthPages, app: Flask, *, logins_are_upstreams: bool = False
) -> dict[str, Page]:
    """Return the pages, by path below the prefix or from the root; what ends in the app takes its tokens along now.

    Args:
        settings: What is wanted.
        oauth: With the upstream's tokens.
        app: Where the backends live.
        logins_are_upstreams: See `TokenEndpoint`.
    """
    given = oauth.given
    set_token_revoker(app, given)
    link_docs(app)
    tokens = personal_tokens_of(app)
    if tokens is not None:
        tokens.revoke_upstream = lambda credential_id: given.revoke_session(tokens=(), credential_id=credential_id)
    # One of its own for each browser: what one of them logs out is nobody else's.
    set_cookie_token_issuer(app, lambda identity, credential, _yielded: given.issue(identity, credential, "session"))
    pages: dict[str, Page] = {
        "whoami": whoami,
        **docs_pages(),
        **_flask_pages(app),
        **oauth.pages(),
    }
    if settings.token_endpoint.enabled:
        door = TokenEndpoint.from_settings(settings, given.issue, logins_are_upstreams=logins_are_upstreams)
        pages |= dict.fromkeys(PATHS, door)
    return pages


def _flask_pages(app: Flask) -> dict[str, Page]:
    pages = dict.fromkeys(page_paths(app), flask_page(app, max_body_bytes=MAX_FORM_BYTES))
    if personal_tokens.BLUEPRINT in app.blueprints:
        paths = (personal_tokens.PATH, f"{personal_tokens.PATH}/")
        api = flask_page(app, max_body_bytes=personal_tokens.MAX_BODY_BYTES, is_guarded=True)
        pages.update(dict.fromkeys(paths, api))
    if leak_receiver.BLUEPRINT in app.blueprints:
        # It waits for the reporter's keys, whoever asks.
        receiver = flask_page(app, max_body_bytes=leak_receiver.MAX_BODY_BYTES, lane="outward")
        pages[leak_receiver.PATH] = receiver
    return pages
