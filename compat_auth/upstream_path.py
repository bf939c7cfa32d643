"""Whether `[upstream] url` has the path that Airflow is below; asked of Airflow itself, for `compat-auth check`.

Airflow answers a path that it does not know with its page, status 200, so that nothing else shows a wrong path. The page
says where it belongs (`<base href>`, from `[api] base_url`).
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from compat_auth.config import Settings
from compat_auth.exchange import UpstreamLogin
from compat_auth.http_question import HttpPeer, NoAnswer
from compat_auth.root_path import RootPath

_LOGIN_PATH = "/auth/token"
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
    login = UpstreamLogin.from_settings(settings)
    below = login.path.removesuffix(_LOGIN_PATH)
    peer = HttpPeer(
        login.host, login.port, login.tls, login.connect_timeout_s, _PATIENCE_S, max_body_bytes=_MAX_PAGE_BYTES
    )
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
