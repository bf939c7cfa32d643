"""The configuration of HAProxy.

Every request goes through the gateway. HAProxy could learn from its answers and send the next requests straight to the
upstream. But it cannot send a request again through the gateway where the upstream refuses a token that has ended, so its
clients would see refusals that nobody else's do.
"""

from __future__ import annotations

from collections.abc import Mapping

from compat_auth.cli.proxy_config.removal import families, single_names
from compat_auth.cli.proxy_config.site import Site

_PER_LINE = 8
_TEXT = """# HAProxy in front of the compat_auth gateway.
# Written by `compat-auth proxy-config haproxy`; write it again after a change of the gateway's settings.
#
# Every request goes through the gateway: HAProxy cannot send a request there that the upstream has refused.
global
    log stdout format raw local0 notice
    # Kerberos tickets make large headers; the gateway takes 60 KiB.
    tune.bufsize 81920
    tune.maxrewrite 8192
@GLOBAL@    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets

defaults
    mode http
    log global
    option httplog
    option dontlognull
    # Names with "_" or other unusual characters are dropped: some servers take them for other headers.
    option http-restrict-req-hdr-names delete
    timeout connect 5s
    timeout http-request 30s
    timeout http-keep-alive 60s
    # Log streams and long answers; the gateway ends those that stand still.
    timeout client 3600s
    timeout server 3600s
    timeout tunnel 3600s

frontend compat_auth
    bind @BIND@
@ACCEPTED@    # Headers by which a caller could pretend to be somebody, a proxy, or another request.
@REMOVED@
    # Only a WebSocket may change the protocol of a connection.
    http-request del-header Upgrade unless { req.hdr(Upgrade) -i -m str websocket }
    http-request del-header HTTP2-Settings
    # What this proxy itself says about the caller.
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto @SCHEME@
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    default_backend compat_auth_gateway

backend compat_auth_gateway
    balance leastconn
    option httpchk
    http-check send meth GET uri @HEALTH@ ver HTTP/1.1 hdr Host compat-auth
    http-check expect status 200
    # A request that one gateway did not accept goes to another; none is sent twice.
    option redispatch 1
    retry-on conn-failure
    default-server check inter 500ms fall 1 rise 2
@GATEWAYS@
"""


def haproxy_config(site: Site) -> Mapping[str, str]:
    """Return the configuration, by the name of the file."""
    where = f"{site.listen.host or '*'}:{site.listen.port}"
    bind = f"{where} ssl crt {site.tls_cert} alpn h2,http/1.1" if site.tls_cert else where
    values = {
        "GLOBAL": f"    user {site.user}\n" if site.user else "",
        "BIND": bind,
        "ACCEPTED": _accepted(site),
        "REMOVED": "\n".join(_removed(site)),
        "SCHEME": site.scheme,
        "HEALTH": site.health,
        "GATEWAYS": "\n".join(
            f"    server gateway{number} {gateway}" for number, gateway in enumerate(site.gateways, start=1)
        ),
    }
    text = _TEXT
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return {"haproxy.cfg": text}


def _accepted(site: Site) -> str:
    if not site.server_name:
        return ""
    name = site.server_name
    return f"    http-request deny deny_status 404 unless {{ req.hdr(host),field(1,:) -i -m str {name} }}\n"


def _removed(site: Site) -> list[str]:
    names = [name.lower() for name in (*single_names(site.believed), "X-Forwarded-For", "X-Forwarded-Host")]
    # Names of families are in `families`, all but those with no end.
    ends = {"*": "", "?": "(-|$)"}
    stems = [family.rstrip("*?") + ends.get(family[-1], "$") for family in families()]
    exact = [f"{name}$" for name in names]
    words = list(dict.fromkeys([*exact, *stems]))
    lines: list[str] = []
    for start in range(0, len(words), _PER_LINE):
        piece = "|".join(words[start : start + _PER_LINE]).replace(".", r"\.")
        lines.append(f"    http-request del-header ^({piece}) -m reg")
    return lines
