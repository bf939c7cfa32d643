"""Checks whether `[upstream] url` has Airflow's own base path, for `compat-auth check`.

Airflow answers an unknown path with its start page and status 200, so that nothing else shows a wrong path. The page
names its own path (`<base href>`, from `[api] base_url`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

from compat_auth.config import Settings
from compat_auth.http.root_path import RootPath
from compat_auth.net.http_call import HttpPeer, NoAnswer
from compat_auth.tokens.upstream_login import UpstreamLogin

_LOGIN_PATH = "/auth/token"
_PAGES_LOGIN = "/api/v2/auth/login"
_VERSION = "/api/v2/version"
_BASE = re.compile(rb"<base href=\"(?:https?://[^/\"]*)?(/[A-Za-z0-9._~/-]*)\"")
_PATIENCE_S = 10.0
_MAX_PAGE_BYTES = 256 * 1024


def find_path_fault(settings: Settings) -> str:
    """Return the problem of the path of `[upstream] url`, and the setting that solves it; "" if no problem is known.

    Args:
        settings: With Airflow as the upstream.

    Raises:
        ConfigError: The URL is missing or invalid.
    """
    peer, below = _peer_of(settings)
    try:
        page = peer.ask("GET", f"{below}/", None, {"Accept": "text/html"})
        version = peer.ask("GET", f"{below}{_VERSION}", None, {"Accept": "application/json"})
    except NoAnswer:
        return ""  # the check of the connection reports it
    base = _BASE.search(page.body)
    said = below if base is None else base[1].decode("ascii").rstrip("/")
    is_api = version.status == 200 and "json" in version.headers.get("content-type", "")
    # Airflow also answers outside of its path; then it matters only that clients find its pages where the links point.
    if said != below and not (is_api and said == RootPath.from_settings(settings).path):
        url = urlsplit(settings.upstream.url)
        right = f"{url.scheme}://{url.netloc}{said}"
        return f"upstream.url: Airflow has another base path ([api] base_url); set upstream.url = {right!r}"
    return ""


def find_way_around(settings: Settings) -> str:
    """Return where Airflow's pages send browsers past the gateway, and what to set; "" if no such place is known.

    Airflow builds the addresses of its login and logout from `[api] base_url`. If that is Airflow's own address, a
    browser that logs in or out leaves the gateway.

    Args:
        settings: With Airflow as the upstream.

    Raises:
        ConfigError: The URL is missing or invalid.
    """
    session = settings.session
    if not session.secret.get_secret_value() and not session.secrets:
        return ""  # no browsers use this gateway
    peer, below = _peer_of(settings)
    try:
        answer = peer.ask("GET", f"{below}{_PAGES_LOGIN}", None, {"Accept": "text/html"})
        leads = urlsplit(answer.headers.get("location", ""))
        port = leads.port or (443 if leads.scheme == "https" else 80)
    except (NoAnswer, ValueError):
        return ""
    if (leads.hostname, port) != (peer.host, peer.port):
        return ""
    return (
        f"Airflow sends browsers that log in or out to its own address, {leads.scheme}://{leads.netloc}, past the gateway; "
        "set [api] base_url of Airflow to the address at which browsers reach the gateway"
    )


def _peer_of(settings: Settings) -> tuple[HttpPeer, str]:
    login = UpstreamLogin.from_settings(settings)
    peer = replace(login.peer, answer_timeout_s=_PATIENCE_S, max_body_bytes=_MAX_PAGE_BYTES)
    return peer, login.path.removesuffix(_LOGIN_PATH)
