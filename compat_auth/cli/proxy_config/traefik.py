"""The configuration of Traefik: every request goes through the gateway, which costs less than forwardAuth and loses nothing.

forwardAuth cannot rename a header, so the caller's cookies of another login would reach the upstream.
"""

from __future__ import annotations

from collections.abc import Mapping

from compat_auth.cli.proxy_config.removal import single_names
from compat_auth.cli.proxy_config.site import Site

_STATIC = """# Traefik in front of the compat_auth gateway: what it reads once; start it with: traefik --configFile=FILE
# Written by `compat-auth proxy-config traefik`; write it again after a change of the gateway's settings.
global:
  checkNewVersion: false
  sendAnonymousUsage: false
log:
  level: WARN
entryPoints:
  compat-auth:
    address: "@LISTEN@"
    http:
      # The gateway sees each path as the client wrote it, and refuses those with more than one reading.
      sanitizePath: false
      encodedCharacters:
        allowEncodedSlash: true
        allowEncodedBackSlash: true
        allowEncodedNullCharacter: true
        allowEncodedSemicolon: true
        allowEncodedPercent: true
        allowEncodedQuestionMark: true
        allowEncodedHash: true
      # Kerberos tickets make large headers; the gateway takes 60 KiB.
      maxHeaderBytes: 65536
    # The caller's own X-Forwarded-* are not believed.
    forwardedHeaders: { insecure: false }
    transport:
      respondingTimeouts:
        # Log streams and uploads; the gateway ends those that stand still.
        readTimeout: 0s
        writeTimeout: 0s
providers:
  file:
    filename: @FOLDER@/compat_auth.yml
    watch: true
"""
_DYNAMIC = """# Traefik in front of the compat_auth gateway: what it reads again when this file changes.
# Written by `compat-auth proxy-config traefik`; write it again after a change of the gateway's settings.
#
# Every request goes through the gateway, which answers in full.
http:
  routers:
    compat-auth:
      entryPoints: [compat-auth]
      rule: @RULE@
      middlewares: [no-identity-of-the-caller]
      service: compat-auth
@TLS_ROUTER@  middlewares:
    no-identity-of-the-caller:
      headers:
        # Headers by which a caller could pretend to be somebody, a proxy, or another request. Traefik sets
        # X-Forwarded-For, -Host and -Proto itself. The gateway drops families of such names, which Traefik cannot.
        customRequestHeaders:
@REMOVED@
  services:
    compat-auth:
      loadBalancer:
        passHostHeader: true
        responseForwarding: { flushInterval: -1ms }
        healthCheck:
          path: @HEALTH@
          interval: 2s
          timeout: 2s
        servers:
@GATEWAYS@
@TLS@"""


def traefik_config(site: Site) -> Mapping[str, str]:
    """Return the configuration, by the name of the file."""
    # Traefik says these itself, and drops the caller's own.
    own = ("X-Forwarded-Port", "X-Forwarded-Server", "X-Real-Ip")
    names = [name for name in single_names(site.believed) if name not in own]
    values = {
        "LISTEN": str(site.listen),
        "FOLDER": site.folder or "/etc/traefik",
        "RULE": f"Host(`{site.server_name}`)" if site.server_name else "PathPrefix(`/`)",
        "TLS_ROUTER": "      tls: {}\n" if site.tls_cert else "",
        "REMOVED": "\n".join(f'          {name}: ""' for name in names),
        "HEALTH": site.health,
        "GATEWAYS": "\n".join(f'          - url: "http://{gateway}"' for gateway in site.gateways),
        "TLS": _tls(site),
    }
    files = {"traefik.yml": _STATIC, "compat_auth.yml": _DYNAMIC}
    for file, text in files.items():
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)  # noqa: PLW2901  # filled step by step
        files[file] = text
    return files


def _tls(site: Site) -> str:
    if not site.tls_cert:
        return ""
    return f"tls:\n  certificates:\n    - certFile: {site.tls_cert}\n      keyFile: {site.tls_key}\n"
