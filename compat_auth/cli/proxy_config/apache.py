"""The configuration of Apache httpd: every request goes through the gateway."""

from __future__ import annotations

import re
from collections.abc import Mapping

from compat_auth.cli.proxy_config.removal import single_names
from compat_auth.cli.proxy_config.site import Site

MODULES = "/usr/lib/apache2/modules"
"""Where Debian and Ubuntu put them."""
_LOADED = (
    "mpm_event authn_core authz_core headers rewrite proxy proxy_http proxy_balancer slotmem_shm lbmethod_byrequests"
)
_TEXT = """# Apache httpd in front of the compat_auth gateway; start it with: apache2 -f FILE
# Written by `compat-auth proxy-config apache`; write it again after a change of the gateway's settings.
#
# Every request goes through the gateway, which answers in full.
ServerName @NAME@
Listen @LISTEN@
PidFile @FOLDER@/httpd.pid
@RUNTIME@ErrorLog @LOGS@/error.log
@USER@@LOAD@
ServerTokens Prod
TraceEnable off
# Kerberos tickets make large headers; the gateway takes 60 KiB.
LimitRequestFieldSize 65536
LimitRequestLine 45056
LimitRequestBody 0
# The gateway sees each path as the client wrote it, and refuses those with more than one reading.
AllowEncodedSlashes NoDecode
MergeSlashes Off
# Log streams and long answers; the gateway ends those that stand still.
Timeout 3600
ProxyRequests Off
ProxyPreserveHost On
ProxyVia Off
# Apache itself would answer 500 to a transfer coding that it does not know, and the gateway takes no other (RFC 9112 section 6.1).
RewriteEngine On
RewriteCond "%{HTTP:Transfer-Encoding}" "!^(?:chunked)?$" [NC]
RewriteRule "^" "-" [R=400,L]
@TLS@
<Location "/">
    @REQUIRED@
</Location>

# Headers by which a caller could pretend to be somebody, a proxy, or another request.
RequestHeader unset X-Forwarded-For
RequestHeader unset X-Forwarded-Host
RequestHeader unset X-Forwarded-Proto
@REMOVED@
# What this proxy itself says about the caller; mod_proxy adds X-Forwarded-For and X-Forwarded-Host.
RequestHeader set X-Forwarded-Proto "@SCHEME@"

<Proxy "balancer://compat_auth">
@GATEWAYS@
</Proxy>
ProxyPass "/" "balancer://compat_auth/" nocanon
"""


def apache_config(site: Site) -> Mapping[str, str]:
    """Return the configuration, by the name of the file."""
    modules = _LOADED.split() + (["ssl", "socache_shmcb", "http2"] if site.tls_cert else [])
    values = {
        # Without a folder of its own, Apache's: it need not be there yet when the file is checked.
        "RUNTIME": f"DefaultRuntimeDir {site.folder}\nMutex file:{site.folder} default\n" if site.folder else "",
        "LOGS": site.folder or "/var/log/apache2",
        "FOLDER": site.folder or "/run/apache2",
        "NAME": site.server_name or "localhost",
        "LISTEN": str(site.listen) if site.listen.host else str(site.listen.port),
        "USER": f"User {site.user}\nGroup {site.user}\n" if site.user else "User www-data\nGroup www-data\n",
        "LOAD": "".join(
            f"<IfModule !{name}_module>\n    LoadModule {name}_module {MODULES}/mod_{name}.so\n</IfModule>\n"
            for name in modules
        ),
        "TLS": _tls(site),
        "REQUIRED": _required(site),
        "REMOVED": "\n".join(f"RequestHeader unset {name}" for name in single_names(site.believed)),
        "SCHEME": site.scheme,
        "GATEWAYS": "\n".join(
            f'    BalancerMember "http://{gateway}" retry=2 flushpackets=on connectiontimeout=5 ttl=60 upgrade=websocket'
            for gateway in site.gateways
        ),
    }
    text = _TEXT
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return {"httpd.conf": text}


def _required(site: Site) -> str:
    if not site.server_name:
        return "Require all granted"
    name = re.escape(site.server_name)
    return f"""Require expr "%{{HTTP_HOST}} =~ m#^{name}(?::[0-9]+)?$#i\""""


def _tls(site: Site) -> str:
    if not site.tls_cert:
        return ""
    return (
        "Protocols h2 http/1.1\nSSLEngine on\nSSLProtocol all -SSLv3 -TLSv1 -TLSv1.1\nSSLSessionCache none\n"
        f"SSLCertificateFile {site.tls_cert}\nSSLCertificateKeyFile {site.tls_key}\n"
    )
