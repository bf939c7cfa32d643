"""The configuration of HAProxy.

Every request goes through the gateway, or those of the API go straight to the upstream once the gateway has said that
their credential may pass; see `lane`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from compat_auth.cli.proxy_config.haproxy import lane
from compat_auth.cli.proxy_config.removal import SAID_BY_PROXY, families, kept_names, single_names
from compat_auth.cli.proxy_config.site import Site
from compat_auth.errors import ConfigError

HaproxyLane = Literal["auto", "lua", "ask", "off"]
_PER_LINE = 8
_TEXT = """# HAProxy in front of the compat_auth gateway.
# Written by `compat-auth proxy-config haproxy`; write it again after a change of the gateway's settings.
#
@NOTE@
global
    log stdout format raw local0 notice
    # Kerberos tickets make large headers; the gateway takes 60 KiB.
    tune.bufsize 81920
    tune.maxrewrite 8192
@LANE_GLOBAL@@GLOBAL@    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets

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
@LANE@    default_backend compat_auth_gateway

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
@LANE_BACKENDS@"""
_LANE_NOTE = (
    "Requests of the API go straight to the upstream once the gateway has said that their credential may pass.",
    "Its answer is used for less than a second, and is kept in memory alone, by a keyed digest of the credential.",
    "Everything else goes through the gateway, which answers in full.",
)


def haproxy_config(site: Site, kind: HaproxyLane) -> Mapping[str, str]:
    """Return the configuration, by the name of the file.

    Args:
        site: See `Site`.
        kind: How to use the lane: "lua", or not at all.

    Raises:
        ConfigError: The lane is wanted and cannot be.
    """
    plan = site.lane if kind == "lua" else None
    _require_possible(site, kind)
    where = f"{site.listen.host or '*'}:{site.listen.port}"
    bind = f"{where} ssl crt {site.tls_cert} alpn h2,http/1.1" if site.tls_cert else where
    values = {
        "NOTE": "\n".join(f"# {line}" for line in (_note(site) if plan is None else _LANE_NOTE)),
        "LANE_GLOBAL": "" if plan is None else lane.lane_global(),
        "LANE": "" if plan is None else lane.lane_frontend(site, plan),
        "LANE_BACKENDS": "" if plan is None else lane.lane_backends(site),
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
    return {"haproxy.cfg": text, **({} if plan is None else lane.lane_files(plan))}


def _require_possible(site: Site, kind: HaproxyLane) -> None:
    if kind == "ask":
        raise ConfigError("--lane ask: HAProxy has no such lane; pass --lane lua or --lane off")
    if kind != "lua":
        return
    if site.lane is None:
        raise ConfigError(f"--lane lua: {site.no_lane}; or pass --lane off")
    if site.lane.name:
        raise ConfigError(
            f"--lane lua: {site.lane.name} is a name, and Lua connects to addresses; write the address into "
            "[forward_auth] bind, or pass --lane off"
        )


def _note(site: Site) -> list[str]:
    if site.lane is None:
        return [f"Every request goes through the gateway: {site.no_lane}."]
    return [
        "Every request goes through the gateway. With --lane lua most requests of the API go straight to the upstream."
    ]


def _accepted(site: Site) -> str:
    if not site.server_name:
        return ""
    name = site.server_name
    return f"    http-request deny deny_status 404 unless {{ req.hdr(host),field(1,:) -i -m str {name} }}\n"


def _removed(site: Site) -> list[str]:
    names = [name.lower() for name in (*single_names(site.believed), "X-Forwarded-For", "X-Forwarded-Host")]
    kept = frozenset(kept_names(site.believed)) - {*SAID_BY_PROXY}
    # Names of families are in `families`, all but those with no end.
    exact = [f"{name}$" for name in names]
    words = list(dict.fromkeys([*exact, *(_of_family(family, kept) for family in families())]))
    lines: list[str] = []
    for start in range(0, len(words), _PER_LINE):
        piece = "|".join(words[start : start + _PER_LINE])
        lines.append(f"    http-request del-header ^({piece}) -m reg")
    return lines


def _of_family(family: str, kept: frozenset[str]) -> str:
    """Return an expression for the names of a family, except those that stay."""
    stem = family.rstrip("*?")
    word = stem.replace(".", r"\.")
    if family[-1] not in "*?":
        return f"{word}$"
    begin = stem if family[-1] == "*" else f"{stem}-"
    rests = _all_but({name.removeprefix(begin) for name in kept if name.startswith(begin)})
    if family[-1] == "*":
        return f"{word}{rests}"
    return f"{word}($|-{rests})" if rests else f"{word}(-|$)"


def _all_but(words: set[str]) -> str:
    """Return an expression for the rest of a name that is none of the words; not every HAProxy's expressions can look ahead."""
    if not words:
        return ""
    letters = sorted({word[0] for word in words if word})
    ways = [] if "" in words else ["$"]
    # A "-" sorts before the letters, so that it is no range.
    ways.append(f"[^{''.join(letters)}]" if letters else ".")
    ways += [letter + _all_but({word[1:] for word in words if word.startswith(letter)}) for letter in letters]
    return f"({'|'.join(ways)})"
