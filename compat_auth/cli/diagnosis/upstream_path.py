"""Whether `[upstream] url` has the path that Airflow is below; asked of Airflow itself, for `compat-auth check`.

Airflow answers a path that it does not know with its page, status 200, so that nothing else shows a wrong path. The page
says where it belongs (`<base href>`, from `[api] base_url`).
"""

from __future__ import annotations

import re
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
    """Return what is wrong with the path of `[upstream] url`, and what to set; "" where nothing is known to be.

    Args:
        settings: With an Airflow behind.

    Raises:
        ConfigError: The URL is missing or not one.
    """
    peer, below = _peer_of(settings)
    try:
        page = peer.ask("GET", f"{below}/", None, {"Accept": "text/html"})
        version = peer.ask("GET", f"{below}{_VERSION}", None, {"Accept": "application/json"})
    except NoAnswer:
        return ""  # said by who asks whether it can be reached
    base = _BASE.search(page.body)
    said = below if base is None else base[1].decode("ascii").rstrip("/")
    is_api = version.status == 200 and "json" in version.headers.get("content-type", "")
    # Airflow answers beside its path, too; what counts then is that callers find its pages where they lead to.
    if said != below and not (is_api and said == RootPath.from_settings(settings).path):
        url = urlsplit(settings.upstream.url)
        right = f"{url.scheme}://{url.netloc}{said}"
        return f"upstream.url: Airflow is below another path, by its own [api] base_url; set upstream.url = {right!r}"
    return ""


def find_way_around(settings: Settings) -> str:
    """Return where Airflow's pages send browsers past the gateway, and what to set; "" where nothing is known of it.

    Airflow makes the addresses of its login and logout from `[api] base_url`. Is that its own address, a browser that logs
    in or out leaves the gateway.

    Args:
        settings: With an Airflow behind.

    Raises:
        ConfigError: The URL is missing or not one.
    """
    session = settings.session
    if not session.secret.get_secret_value() and not session.secrets:
        return ""  # no browser is expected
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
    peer = HttpPeer(
        login.host, login.port, login.tls, login.connect_timeout_s, _PATIENCE_S, max_body_bytes=_MAX_PAGE_BYTES
    )
    return peer, login.path.removesuffix(_LOGIN_PATH)
