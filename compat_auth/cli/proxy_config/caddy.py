"""The configuration of Caddy: every request goes through the gateway, which costs less than forward_auth and loses nothing."""

from __future__ import annotations

from collections.abc import Mapping

from compat_auth.cli.proxy_config.removal import families, single_names, spelled
from compat_auth.cli.proxy_config.site import Site

_TEXT = """# Caddy in front of the compat_auth gateway.
# Written by `compat-auth proxy-config caddy`; write it again after a change of the gateway's settings.
#
# Every request goes through the gateway. That costs less than forward_auth, and the gateway answers in full.
{
	admin off
@GLOBAL@	servers {
		max_header_size 64KB
	}
}

@ADDRESS@ {
@BIND@@TLS@	# Names with "_" or "." are dropped: some servers take them for other headers.
	request_header -*_*
	request_header -*.*
	# Headers by which a caller could pretend to be somebody, a proxy, or another request.
@REMOVED@
	# Caddy says X-Forwarded-For, -Host and -Proto itself, and drops the caller's own.
	reverse_proxy @GATEWAYS@ {
		# Log streams go on at once.
		flush_interval -1
		health_uri @HEALTH@
		health_interval 2s
		lb_policy least_conn
		lb_try_duration 2s
		transport http {
			dial_timeout 5s
			keepalive 60s
			compression off
		}
	}
	# A body that is cut into chunks wrongly is the caller's mistake, and no failure of the gateway.
	handle_errors 502 {
		@chunks expression `{err.message}.contains("chunk")`
		respond @chunks 400
	}
}
"""


def caddy_config(site: Site) -> Mapping[str, str]:
    """Return the configuration, by the name of the file."""
    has_own_certificate = not site.tls_cert and site.server_name and site.listen.port == 443
    scheme = "https" if site.tls_cert or has_own_certificate else "http"
    values = {
        "GLOBAL": "" if has_own_certificate else "\tauto_https off\n",
        "ADDRESS": f"{scheme}://{site.server_name}:{site.listen.port}",
        "BIND": f"\tbind {site.listen.host.strip('[]')}\n" if site.listen.host else "",
        "TLS": f"\ttls {site.tls_cert} {site.tls_key}\n" if site.tls_cert else "",
        "REMOVED": "\n".join(f"\trequest_header -{name}" for name in _removed(site)),
        "GATEWAYS": " ".join(map(str, site.gateways)),
        "HEALTH": site.health,
    }
    text = _TEXT
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return {"Caddyfile": text}


def _removed(site: Site) -> list[str]:
    names = [*single_names(site.believed)]
    for family in families():
        stem = spelled(family.rstrip("*?"))
        names += {"*": [f"{stem}*"], "?": [stem, f"{stem}-*"]}.get(family[-1], [stem])
    stems = tuple(name.removesuffix("*") for name in names if name.endswith("*"))
    # A name that a family drops needs no line of its own.
    return [
        name for name in dict.fromkeys(names) if not any(name.startswith(stem) and name != f"{stem}*" for stem in stems)
    ]
