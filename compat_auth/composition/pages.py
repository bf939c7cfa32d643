"""Our own pages at a gate: those for browsers, the API for tokens, the OAuth endpoints, the description."""

from __future__ import annotations

from compat_auth.api import leak_receiver, personal_tokens
from compat_auth.api.docs import docs_pages
from compat_auth.api.flask_page import flask_page
from compat_auth.api.oauth.introspection import TokenPages
from compat_auth.api.oauth.metadata import MetadataPages
from compat_auth.api.oauth.token_endpoint import PATHS, TokenEndpoint
from compat_auth.api.swagger_ui import Site
from compat_auth.composition.gate import GateParts
from compat_auth.config import Settings
from compat_auth.gateway.health import whoami_page
from compat_auth.gateway.middleware import Page
from compat_auth.requirements import Requirements
from compat_auth.tokens.issued import IssuedTokens
from compat_auth.web.page import MAX_FORM_BYTES
from compat_auth.web.site import page_paths
from compat_auth.web.throttling import TokenAttempts


def own_pages(
    settings: Settings,
    parts: GateParts,
    issued: IssuedTokens,
    metadata: MetadataPages,
    site: Site,
    *,
    logins_are_upstreams: bool = False,
) -> dict[str, Page]:
    """Return the pages, by path below the prefix or from the root.

    Args:
        settings: The settings.
        parts: Of the gate.
        issued: The upstream's tokens.
        metadata: The OAuth metadata.
        site: All pages of the gate.
        logins_are_upstreams: See `TokenEndpoint`.

    Raises:
        ConfigError: A requirement is unknown.
    """
    pages: dict[str, Page] = {
        "whoami": whoami_page(parts.identification, parts.refusals),
        **docs_pages(site),
        **_flask_pages(parts),
        **_token_pages(settings, parts, issued).pages(),
        **metadata.pages(),
    }
    if settings.token_endpoint.enabled:
        endpoint = TokenEndpoint.from_settings(
            settings, parts.endpoint(), issued.issue, logins_are_upstreams=logins_are_upstreams
        )
        pages |= dict.fromkeys(PATHS, endpoint)
    return pages


def _token_pages(settings: Settings, parts: GateParts, issued: IssuedTokens) -> TokenPages:
    section = settings.token_endpoint
    return TokenPages(
        issued,
        TokenAttempts(section.failures_per_minute, section.tokens_per_minute, settings.serve.workers),
        Requirements(any_of=tuple(section.introspect_any_of)) if section.introspect_any_of else None,
        decider=parts.decider,
        identification=parts.identification,
        authorization=parts.authorization,
        refusals=parts.refusals,
    )


def _flask_pages(parts: GateParts) -> dict[str, Page]:
    app, lanes, refusals = parts.decider.app, parts.decider.lanes, parts.refusals
    pages = dict.fromkeys(page_paths(app), flask_page(app, lanes, refusals, max_body_bytes=MAX_FORM_BYTES))
    if personal_tokens.BLUEPRINT in app.blueprints:
        api = flask_page(
            app,
            lanes,
            refusals,
            max_body_bytes=personal_tokens.MAX_BODY_BYTES,
            identification=parts.identification,
        )
        pages.update(dict.fromkeys((personal_tokens.PATH, f"{personal_tokens.PATH}/"), api))
    if leak_receiver.BLUEPRINT in app.blueprints:
        # Any caller can make it wait for the reporter's keys.
        pages[leak_receiver.PATH] = flask_page(
            app, lanes, refusals, max_body_bytes=leak_receiver.MAX_BODY_BYTES, lane="outward"
        )
    return pages
