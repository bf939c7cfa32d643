"""The lines for an nginx that `serve` starts: its answers are those of `serve` alone, as far as nginx can.

Other proxies in front of it may say who the caller is, and the gateway decides about that. A request of HTTP/1.0 needs no Host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from compat_auth.cli.proxy_config.site import Site

_HTTP = """
    # Requests of other proxies, [trusted_proxies]: 1, or 2 if the proxy does not say how the client came to it.
    geo $compat_auth_is_behind {
        default 0;
@NETWORKS@
    }
    map "$compat_auth_is_behind$http_x_forwarded_proto" $compat_auth_behind {
        default 0;
        1 2;
        "~^1." 1;
    }
"""
_SERVER = """        # 417 to 419 are no answers, but name the ways below.
        error_page 417 = @without_host;
        if ($http_host = "") {
            return 417;
        }
"""
_BEHIND = """        error_page 418 = @behind;
        error_page 419 = @behind_without_proto;
        if ($compat_auth_behind = 1) {
            return 418;
        }
        if ($compat_auth_behind = 2) {
            return 419;
        }
"""
_WITHOUT_HOST = """
        # A health check of HTTP/1.0, which must not become one of HTTP/1.1.
        location @without_host {
            proxy_http_version 1.0;
            proxy_pass http://compat_auth_gateway;
        }
"""
_LOCATION = """
        location @@NAME@ {
            # The headers pass as they came: the gateway believes of them what it believes without this nginx.
            proxy_set_header Host $http_host;
            proxy_set_header Connection $compat_auth_connection;
            proxy_set_header Upgrade $compat_auth_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
@PROTO@            proxy_request_buffering off;
            proxy_buffering off;
            proxy_pass http://compat_auth_gateway;
        }
"""


def private_values(site: Site) -> Mapping[str, str]:
    """Return the lines for an nginx that `serve` starts, by their place in nginx.conf; empty ones for all others."""
    if site.private is None:
        return dict.fromkeys(("PRIVATE_HTTP", "PRIVATE_SERVER", "PRIVATE_LOCATION"), "")
    if not site.private.behind:
        return {"PRIVATE_HTTP": "", "PRIVATE_SERVER": _SERVER, "PRIVATE_LOCATION": _WITHOUT_HOST}
    networks = sorted({str(ipaddress.ip_network(network, strict=False)) for network in site.private.behind})
    plain = _LOCATION.replace("@NAME@", "behind").replace("@PROTO@", "")
    scheme = "            proxy_set_header X-Forwarded-Proto $scheme;\n"
    without_proto = _LOCATION.replace("@NAME@", "behind_without_proto").replace("@PROTO@", scheme)
    return {
        "PRIVATE_HTTP": _HTTP.replace("@NETWORKS@", "\n".join(f"        {network} 1;" for network in networks)),
        "PRIVATE_SERVER": _SERVER + _BEHIND,
        "PRIVATE_LOCATION": _WITHOUT_HOST + plain + without_proto,
    }
