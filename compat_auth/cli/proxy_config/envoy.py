"""The configuration of Envoy: every request goes through the gateway, which costs less than ext_authz and loses nothing."""

from __future__ import annotations

from collections.abc import Mapping

from compat_auth.cli.proxy_config.lane_plan import Address
from compat_auth.cli.proxy_config.removal import families, kept_names, single_names
from compat_auth.cli.proxy_config.site import Site

_TEXT = """# Envoy in front of the compat_auth gateway.
# Written by `compat-auth proxy-config envoy`; write it again after a change of the gateway's settings.
#
# Every request goes through the gateway, which answers in full.
static_resources:
  listeners:
    - name: compat_auth
      address:
@LISTEN@
      # The codec is slow to see a closed connection without it; and a client may not fill the memory.
      per_connection_buffer_limit_bytes: 1048576
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: compat_auth
                codec_type: AUTO
                # The caller's own X-Forwarded-For is not believed.
                use_remote_address: true
                xff_num_trusted_hops: 0
                skip_xff_append: true
                generate_request_id: false
                # Kerberos tickets make large headers; the gateway takes 60 KiB.
                max_request_headers_kb: 72
                # The gateway sees each path as the client wrote it, and refuses those with more than one reading.
                normalize_path: false
                merge_slashes: false
                path_with_escaped_slashes_action: KEEP_UNCHANGED
                common_http_protocol_options:
                  # Some servers take them for other headers.
                  headers_with_underscores_action: DROP_HEADER
                # Log streams and uploads; the gateway ends those that stand still.
                stream_idle_timeout: 3600s
                request_headers_timeout: 30s
                upgrade_configs:
                  - upgrade_type: websocket
                route_config:
                  name: compat_auth
                  ignore_port_in_host_matching: true
                  virtual_hosts:
                    - name: compat_auth
                      domains: [@DOMAINS@]
                      routes:
                        - match: { prefix: "/" }
                          route:
                            cluster: compat_auth_gateway
                            timeout: 0s
                          # What this proxy itself says about the caller; Envoy says X-Forwarded-Proto by itself.
                          request_headers_to_add:
                            - header: { key: X-Forwarded-For, value: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%" }
                              append_action: OVERWRITE_IF_EXISTS_OR_ADD
                            - header: { key: X-Forwarded-Host, value: "%REQ(:authority)%" }
                              append_action: OVERWRITE_IF_EXISTS_OR_ADD
                http_filters:
                  # Headers by which a caller could pretend to be somebody, a proxy, or another request.
                  - name: envoy.filters.http.lua
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
                      default_source_code:
                        inline_string: |
@LUA@
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                      suppress_envoy_headers: true
@TLS@  clusters:
    - name: compat_auth_gateway
      type: STRICT_DNS
      connect_timeout: 5s
      lb_policy: LEAST_REQUEST
      health_checks:
        - timeout: 2s
          interval: 2s
          unhealthy_threshold: 2
          healthy_threshold: 1
          http_health_check: { host: compat-auth, path: "@HEALTH@" }
      load_assignment:
        cluster_name: compat_auth_gateway
        endpoints:
          - lb_endpoints:
@GATEWAYS@
"""
_LUA = """
local NAMES = {
@NAMES@
}
-- Any end of a name, or one that begins a new word.
local STEMS = {
@STEMS@
}
local WORDS = {
@WORDS@
}
local KEPT = {
@KEPT@
}
local function is_removed(name)
  if KEPT[name] or name:sub(1, 1) == ":" then return false end
  if NAMES[name] or name:find(".", 1, true) then return true end
  for _, stem in ipairs(STEMS) do
    if name:sub(1, #stem) == stem then return true end
  end
  for _, word in ipairs(WORDS) do
    if name:sub(1, #word) == word and (#name == #word or name:sub(#word + 1, #word + 1) == "-") then return true end
  end
  return false
end
function envoy_on_request(handle)
  local headers, found = handle:headers(), {}
  -- Envoy keeps such a body back until the protocol has changed, and the gateway waits for the body.
  if headers:get("upgrade") then
    local length = headers:get("content-length") or ""
    if headers:get("transfer-encoding") or not length:match("^0*$") then
      handle:respond({ [":status"] = "400" }, "A WebSocket begins without a body.")
      return
    end
  end
  for name in pairs(headers) do
    if is_removed(name) then found[#found + 1] = name end
  end
  for _, name in ipairs(found) do headers:remove(name) end
end
"""
_INDENT = 26


def envoy_config(site: Site) -> Mapping[str, str]:
    """Return the configuration, by the name of the file."""
    values = {
        "LISTEN": _address(Address(site.listen.host or "0.0.0.0", site.listen.port), 8),  # noqa: S104  # every address
        "DOMAINS": f'"{site.server_name or "*"}"',
        "LUA": "\n".join(f"{' ' * _INDENT}{line}" if line else "" for line in _lua(site).strip().splitlines()),
        "TLS": _tls(site),
        "HEALTH": site.health,
        "GATEWAYS": "\n".join(
            f"              - endpoint:\n                  address:\n{_address(gateway, 20)}"
            for gateway in site.gateways
        ),
    }
    text = _TEXT
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return {"envoy.yaml": text}


def _address(address: Address, indent: int) -> str:
    blank = " " * indent
    host = address.host.strip("[]")
    return f'{blank}  socket_address: {{ address: "{host}", port_value: {address.port} }}'


def _lua(site: Site) -> str:
    names = [name.lower() for name in single_names(site.believed)]
    values = {
        "NAMES": "\n".join(f'  ["{name}"] = true,' for name in names),
        "STEMS": "\n".join(f'  "{family[:-1]}",' for family in families() if family.endswith("*")),
        "WORDS": "\n".join(f'  "{family[:-1]}",' for family in families() if family.endswith("?")),
        "KEPT": "\n".join(f'  ["{name}"] = true,' for name in kept_names(site.believed)),
    }
    text = _LUA
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def _tls(site: Site) -> str:
    if not site.tls_cert:
        return ""
    return f"""          transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                alpn_protocols: [h2, http/1.1]
                tls_params: {{ tls_minimum_protocol_version: TLSv1_2 }}
                tls_certificates:
                  - certificate_chain: {{ filename: {site.tls_cert} }}
                    private_key: {{ filename: {site.tls_key} }}
"""
