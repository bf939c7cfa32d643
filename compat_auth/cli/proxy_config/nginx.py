"""The configuration of nginx."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from compat_auth.cli.proxy_config import nginx_lane
from compat_auth.cli.proxy_config.nginx_parts.private import private_values
from compat_auth.cli.proxy_config.removal import single_names
from compat_auth.cli.proxy_config.site import Site
from compat_auth.errors import ConfigError

_THROUGH = """            proxy_request_buffering off;
            proxy_buffering off;
            proxy_pass http://compat_auth_gateway;
"""
_UNREACHABLE = """
        location @unreachable {
            if ($compat_auth_again = 0) {
                return 502;
            }
@THROUGH@        }
"""
LaneKind = Literal["auto", "lua", "ask", "off"]
MODULES = "/usr/lib/nginx/modules"
"""Where Debian, Ubuntu and Alpine put dynamic modules."""
_ALL = "Everything goes through the gateway, which answers in full."
_REST = "Everything else goes through the gateway, which answers in full."
_NOTHING = '""'
# What nginx says itself, in place of the caller's own.
_OWN = {"X-Request-Id": "$request_id"}
_LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")

_TEXT = """# nginx in front of the compat_auth gateway.
# Written by `compat-auth proxy-config nginx`; write it again after a change of the gateway's settings.
#
@LANE_NOTE@
@MODULES@worker_processes auto;
@PROCESS@
events {
    worker_connections 4096;
}

http {
    server_tokens off;
@TEMPORARY@
    # Kerberos tickets make large headers; the gateway takes 60 KiB.
    large_client_header_buffers 8 64k;
    # Uploads of any size; the gateway has limits of its own where it needs them.
    client_max_body_size 0;
    client_body_buffer_size 1m;
    proxy_headers_hash_max_size 2048;
    proxy_headers_hash_bucket_size 128;
    variables_hash_max_size 2048;
    # Names with "_" or other unusual characters are dropped: some servers take them for other headers.
    underscores_in_headers off;
    ignore_invalid_headers on;

    # Only a WebSocket may change the protocol of a connection.
    map $http_upgrade $compat_auth_upgrade {
        default "";
        "~*^websocket$" websocket;
    }
    map $compat_auth_upgrade $compat_auth_connection {
        default "";
        websocket upgrade;
    }
    # A request line may name a host (RFC 9112 section 3.2.2). It chooses the server here and goes no further, so it must
    # be that of the Host header. A request without that header is the gateway's to judge.
    map "$host $http_host" $compat_auth_one_host {
        default 0;
        "~ $" 1;
        "~*^(\\S+) \\1\\.?(?::[0-9]+)?$" 1;
    }
@PRIVATE_HTTP@@LANE_HTTP@
    upstream compat_auth_gateway {
@GATEWAYS@
        keepalive 64;
    }
@UPSTREAM@@OTHERS@
    server {
@LISTEN@
        if ($compat_auth_one_host = 0) {
            return 400;
        }
@PRIVATE_SERVER@        proxy_http_version 1.1;
        proxy_redirect off;
        proxy_connect_timeout 5s;
        # Log streams and long answers; the gateway ends those that stand still.
        proxy_read_timeout 3600s;
        proxy_send_timeout 3600s;
        proxy_buffer_size 64k;
        proxy_buffers 8 64k;
        proxy_busy_buffers_size 128k;
        proxy_ignore_headers X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Charset;

        # Authorization and Cookie go to the gateway as they came, however many and even if empty: it judges them.
@HEADERS@
@VARIABLES@@LOCATION@
        # The gateway answers in full: refusals with all challenges, its own pages, and what it forwards itself.
        location @WHERE@ {
@THROUGH@        }
@UNREACHABLE@@PRIVATE_LOCATION@    }
}
"""
_HEADERS = """        proxy_set_header Host $http_host;
        proxy_set_header Connection $compat_auth_connection;
        proxy_set_header Upgrade $compat_auth_upgrade;
        # What this proxy itself says about the caller. If another proxy is in front, it needs the realip module.
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Proto $scheme;
        # Headers by which a caller could pretend to be somebody, a proxy, or another request.
@REMOVED@"""
# What the gateway says about a credential; nginx wants them to be there before.
_VARIABLES = """        set $compat_auth_authorization "";
        set $compat_auth_cookie "";
"""


def nginx_config(site: Site, lane: LaneKind, modules: str) -> str:
    """Return nginx.conf.

    Args:
        site: See `Site`.
        lane: How to use the lane; "auto": with Lua where the module is in the folder, else not at all.
        modules: Folder of nginx's modules.

    Raises:
        ConfigError: The lane is wanted and cannot be.
    """
    kind = _kind_of(site, lane, modules)
    plan = site.lane
    removed = "\n".join(
        f"        proxy_set_header {name} {_OWN.get(name, _NOTHING)};" for name in single_names(site.believed)
    )
    headers = _HEADERS.replace("@REMOVED@", removed)
    http, location = "", ""
    if plan is not None and kind == "lua":
        http, location = nginx_lane.lua_http(site, plan), nginx_lane.lua_location(headers)
    elif plan is not None and kind == "ask":
        http, location = nginx_lane.asking_http(site, plan), nginx_lane.asking_location(site, plan)
    values = {
        "LANE_NOTE": _note(site, kind),
        "MODULES": "".join(f"load_module {modules}/{name};\n" for name in _LUA_MODULES) if kind == "lua" else "",
        "PROCESS": _process(site),
        "TEMPORARY": _temporary(site),
        "LANE_HTTP": http,
        "GATEWAYS": _gateways(site),
        "UPSTREAM": _upstream(site) if kind != "off" else "",
        "OTHERS": _others(site),
        "LISTEN": _listen(site),
        "HEADERS": headers,
        "VARIABLES": "" if kind == "off" else _VARIABLES,
        "UNREACHABLE": "" if kind == "off" else _UNREACHABLE,
        **private_values(site),
        "THROUGH": _THROUGH,
        "WHERE": "/" if kind == "off" else "@gateway",
        "LOCATION": location.strip("\n"),
    }
    text = _TEXT
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _kind_of(site: Site, lane: LaneKind, modules: str) -> Literal["lua", "ask", "off"]:
    has_lua = all((Path(modules) / name).is_file() for name in _LUA_MODULES)
    if lane == "off" or (lane == "auto" and site.lane is None):
        return "off"
    if site.lane is None:
        raise ConfigError(f"--lane {lane}: {site.no_lane}; or pass --lane off")
    can_connect = not site.lane.name
    if lane == "lua" and not has_lua:
        raise ConfigError(
            f"--lane lua: {modules} does not have {' and '.join(_LUA_MODULES)}; install nginx's Lua module (Debian: "
            "libnginx-mod-http-lua), pass its folder with --nginx-modules, or pass --lane ask"
        )
    if lane == "auto":
        # To ask each time costs more than the way through the gateway, and loses the headers that no list names.
        return "lua" if has_lua and can_connect else "off"
    if lane == "lua" and not can_connect:
        raise ConfigError(
            f"--lane lua: {site.lane.name} is a name, and Lua connects to addresses; write the address into "
            "[forward_auth] bind, or pass --lane ask"
        )
    return lane


def _note(site: Site, kind: str) -> str:
    if kind == "lua":
        lines = [
            "Requests of the API go straight to the upstream once the gateway has said that their credential may pass.",
            "Its answer is used for less than a second, and is kept in memory alone, by a keyed digest of the credential.",
        ]
    elif kind == "ask":
        lines = [
            "Requests of the API go straight to the upstream if the gateway says that their credential may pass.",
            "nginx asks each time: without Lua it could keep answers only in files, with the credentials in clear.",
        ]
    else:
        lines = [
            "No request goes straight to the upstream.",
            "Some could with nginx's Lua module (Debian: libnginx-mod-http-lua), or with --lane ask.",
        ]
        if site.lane is None:
            lines = [f"No request goes straight to the upstream: {site.no_lane}."]
    return "\n".join(f"# {line}" for line in [*lines, _ALL if kind == "off" else _REST])


def _process(site: Site) -> str:
    lines = [f"user {site.user};"] if site.user else []
    if site.folder:
        # An error or a warning names the request with its query and Referer, where the code of a login may be. This log is
        # read beside that of the gateway, which names neither.
        log = f"{site.folder}/error.log warn" if site.private is None else "stderr crit"
        lines += [f"pid {site.folder}/nginx.pid;", f"error_log {log};"]
    return "\n".join(lines) + "\n" if lines else ""


def _temporary(site: Site) -> str:
    if not site.folder:
        return ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines = [f"    {kind}_temp_path {site.folder}/{kind};" for kind in kinds]
    # The gateway's audit log says who asked; it has no log of requests either.
    log = f"{site.folder}/access.log" if site.private is None else "off"
    return "\n".join([f"    access_log {log};", *lines]) + "\n"


def _gateways(site: Site) -> str:
    # nginx does not ask whether a gateway is ready: one that refuses a connection is left out for a while.
    end = " fail_timeout=2s" if len(site.gateways) > 1 else ""
    return "\n".join(f"        server {gateway}{end};" for gateway in site.gateways)


def _upstream(site: Site) -> str:
    servers = "\n".join(f"        server {address};" for address in site.upstreams)
    return (
        f"\n    upstream compat_auth_upstream {{\n{servers}\n        keepalive 64;\n"
        f"        # Shorter than the upstream keeps an idle connection: [upstream] keepalive_s.\n"
        f"        keepalive_timeout {int(site.idle_s * 1000)}ms;\n    }}\n"
    )


def _others(site: Site) -> str:
    if not site.server_name:
        return ""
    tls = " ssl http2" if site.tls_cert else ""
    handshake = "        ssl_reject_handshake on;\n" if site.tls_cert else ""
    return (
        "\n    # Other host names.\n    server {\n"
        f"        listen {_where(site)}{tls} default_server;\n{handshake}        return 404;\n    }}\n"
    )


def _where(site: Site) -> str:
    return str(site.listen) if site.listen.host else str(site.listen.port)


def _listen(site: Site) -> str:
    # As the gateway itself: every address of this machine, of either family.
    family = " ipv6only=off" if site.private is not None and site.listen.host == "[::]" else ""
    where = f"{_where(site)}{family}"
    name = f"        server_name {site.server_name};\n" if site.server_name else ""
    if not site.tls_cert:
        return (
            f"        # Plain HTTP: passwords and tokens are readable on the way here.\n        listen {where};\n{name}"
        )
    return (
        f"        listen {where} ssl http2;\n{name}"
        f"        ssl_certificate {site.tls_cert};\n        ssl_certificate_key {site.tls_key};\n"
        "        ssl_protocols TLSv1.2 TLSv1.3;\n        ssl_session_cache shared:compat_auth:4m;\n"
        "        ssl_session_timeout 1h;\n"
    )


def modules_folder() -> str:
    """Return the folder of nginx's modules on this machine, or the usual one."""
    places = (MODULES, "/usr/lib64/nginx/modules", "/usr/share/nginx/modules")
    return next((place for place in places if os.path.isdir(place)), MODULES)  # noqa: PTH112
