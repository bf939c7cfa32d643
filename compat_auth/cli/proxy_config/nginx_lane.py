"""The lane in nginx: with the Lua module an answer is used for less than a second, without it each request asks."""

from __future__ import annotations

import textwrap

from compat_auth.cli.proxy_config.lane_plan import HOST, SCHEME, LanePlan
from compat_auth.cli.proxy_config.removal import pattern
from compat_auth.cli.proxy_config.site import Site

SHARED_MIB = 16
"""Memory for answers; a full one loses the oldest."""
# What Airflow's API and ordinary clients send: without Lua nginx can only list what may pass.
_PASSING = """
    Accept Accept-Charset Accept-Encoding Accept-Language Cache-Control Content-Encoding Content-Language Content-Type
    If-Match If-Modified-Since If-None-Match If-Range If-Unmodified-Since Range Origin Referer User-Agent Prefer
    Idempotency-Key Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site X-CSRFToken X-Requested-With Airflow-API-Version
    Correlation-Id X-Correlation-Id
"""
_PIECE = 100
MAX_BODY_BYTES = 1024 * 1024
"""Largest body of a request that goes straight to the upstream: it is kept in memory, to be sent again through the gateway."""

_LUA = """
    # Answers of the gateway about credentials, by a keyed digest: in memory, and in no file.
    lua_shared_dict compat_auth_lane @SHARED@m;
    lua_socket_log_errors off;
    init_by_lua_block {
        local random = assert(io.open("/dev/urandom", "rb"))
        local secret = random:read(32)
        random:close()
        -- The headers that a caller may not send.
        local REMOVED = @REMOVED@
        -- Request targets that every parser reads alike, below the paths whose requests may go straight to the upstream.
        local TARGET = [==[@TARGET@]==]
        local SCHEME = [==[@SCHEME@]==]
        local HOST = [==[@HOST@]==]
        -- true: also where a browser may have added the password by itself.
        local METHODS = { GET = true, HEAD = true, POST = false, PUT = false, PATCH = false, DELETE = false }
        local PLAIN_CONNECTION = { ["keep-alive"] = true, ["close"] = true }

        -- nginx's own clock is the time of day, which can be set back: an answer would then count for longer.
        local ffi = require("ffi")
        ffi.cdef [==[
            typedef struct { long seconds; long nanoseconds; } compat_auth_time;
            int compat_auth_clock(int clock, compat_auth_time *now) __asm__("clock_gettime");
        ]==]
        local MONOTONIC = ({ Linux = 1, BSD = 4, OSX = 6 })[jit.os] or 1
        local time = ffi.new("compat_auth_time")
        local function monotonic_s()
            if ffi.C.compat_auth_clock(MONOTONIC, time) ~= 0 then error("no monotonic clock") end
            return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
        end

        local seen, count = {}, 0
        local function is_removed(name)
            local known = seen[name]
            if known == nil then
                known = ngx.re.find(name, REMOVED, "jo") ~= nil
                -- Callers choose the names, so the cache of them is limited.
                if count < 1000 and #name <= 64 then
                    seen[name], count = known, count + 1
                end
            end
            return known
        end

        -- Whether a request is one that the gateway would forward as it is, if it knows the credential.
        local function is_usual(headers)
            local var, may_come_from_browser = ngx.var, METHODS[ngx.req.get_method()]
            if may_come_from_browser == nil then return false end
            local authorization, host = headers.authorization, headers.host
            if type(authorization) ~= "string" or type(host) ~= "string" then return false end
            if headers.upgrade or headers.trailer or @API_KEY@headers["transfer-encoding"] then return false end
            if not may_come_from_browser and (headers.origin or headers["sec-fetch-site"]) then return false end
            local connection = headers.connection
            if connection and (type(connection) ~= "string" or not PLAIN_CONNECTION[connection:lower()]) then
                return false
            end
            if (tonumber(headers["content-length"] or 0) or math.huge) > @MAX_BODY@ then return false end
            return ngx.re.find(var.request_uri, TARGET, "jo") ~= nil
                and ngx.re.find(authorization, SCHEME, "joi") ~= nil
                and ngx.re.find(host, HOST, "jo") ~= nil
        end

        -- The replicas of the gateway, and until when each is left alone because it did not answer.
        local REPLICAS, away_until_s = { @REPLICAS@ }, {}

        -- Asks one replica, which answers from memory; returns false where it does not answer.
        local function ask_one(replica, headers)
            local cookie = headers.cookie
            if type(cookie) == "table" then cookie = table.concat(cookie, "; ") end
            local lines = {
                "GET @PAGE@ HTTP/1.1", "Host: " .. headers.host, "Authorization: " .. headers.authorization,
                "X-Forwarded-For: " .. ngx.var.remote_addr,@SECRET@
            }
            if cookie then lines[#lines + 1] = "Cookie: " .. cookie end
            local socket = ngx.socket.tcp()
            socket:settimeouts(#REPLICAS > 1 and 250 or 1000, 1000, 1000)
            if not socket:connect(unpack(replica)) then return false end
            if not socket:send(table.concat(lines, "\\r\\n") .. "\\r\\n\\r\\n") then return false end
            local status = socket:receive("*l")
            local answer, lasts_ms, length = {}, 0, 0
            while true do
                local line = socket:receive("*l")
                if not line then return false end
                if line == "" then break end
                local name, value = line:match("^([^:]+):%s*(.-)%s*$")
                name = name and name:lower()
                if name == "authorization" then answer.authorization = value
                elseif name == "x-compat-auth-cookie" then answer.cookie = value
                elseif name == "x-compat-auth-lasts-ms" then lasts_ms = tonumber(value) or 0
                elseif name == "content-length" then length = tonumber(value) or -1
                end
            end
            if length == 0 then socket:setkeepalive(30000, 64) else socket:close() end
            if not status or not status:find("^HTTP/1%.1 200") or not answer.authorization then return nil end
            return answer.authorization .. "\\n" .. (answer.cookie or ""), lasts_ms / 1000
        end

        -- A failure costs a detour through the gateway, and nothing else. The digest of a credential chooses its replica, so
        -- that the questions are spread; where that one is away, the next is asked, and it is left alone for two seconds.
        local function ask(headers, key, now_s)
            local count = #REPLICAS
            local first = key:byte(1)
            for number = 0, count - 1 do
                local index = (first + number) % count + 1
                if count == 1 or now_s >= (away_until_s[index] or 0) then
                    local found, lasts_s = ask_one(REPLICAS[index], headers)
                    if found ~= false then return found, lasts_s end
                    away_until_s[index] = now_s + 2
                end
            end
        end

        compat_auth = {}

        function compat_auth.admit()
            local headers = ngx.req.get_headers(0)
            for name in pairs(headers) do
                if is_removed(name) then ngx.req.clear_header(name) end
            end
            if not is_usual(headers) then return ngx.exec("@gateway") end
            local cookie = headers.cookie
            if type(cookie) == "table" then cookie = table.concat(cookie, "; ") end
            local key = ngx.hmac_sha1(secret, #headers.authorization .. ":" .. headers.authorization .. (cookie or ""))
            local lane = ngx.shared.compat_auth_lane
            local found
            local kept, now_s = lane:get(key), monotonic_s()
            if kept then
                local ends_s, rest = kept:match("^([^\\n]+)\\n(.*)$")
                if now_s < tonumber(ends_s) then found = rest end
            end
            if not found then
                local lasts_s
                found, lasts_s = ask(headers, key, now_s)
                if not found then return ngx.exec("@gateway") end
                -- An answer counts from the moment of the question. The second only clears the memory: it must never be
                -- the time that is left, since less than a millisecond would be 0, which is for ever.
                lane:set(key, string.format("%.4f\\n", now_s + lasts_s) .. found, 1)
            end
            local authorization_end = found:find("\\n", 1, true)
            ngx.var.compat_auth_authorization = found:sub(1, authorization_end - 1)
            ngx.var.compat_auth_cookie = found:sub(authorization_end + 1)
        end
    }
"""
_LUA_LOCATION = """
        location / {
            access_by_lua_block { compat_auth.admit() }
            # The upstream may refuse a token that has ended meanwhile: the gateway renews it and sends the request again.
            proxy_intercept_errors on;
            error_page 401 403 = @gateway;
            error_page 502 504 = @unreachable;
            # nginx takes the list of the server only where a location has none.
            proxy_set_header Authorization $compat_auth_authorization;
            proxy_set_header Cookie $compat_auth_cookie;
@HEADERS@
            proxy_pass http://compat_auth_upstream;
        }
"""
_MAPS = """
    # A request goes straight to the upstream if all of these are 1, and the gateway says yes about its credential.
    map $request_uri $compat_auth_target {
        default 0;
        "~@TARGET@" 1;
    }
    map $http_authorization $compat_auth_scheme {
        default 0;
        "~*@SCHEME@" 1;
    }
    map $http_host $compat_auth_host {
        default 0;
        "~@HOST@" 1;
    }
    # A browser may have added a password by itself to a request of another site's page.
    map "$request_method $http_origin$http_sec_fetch_site" $compat_auth_method {
        default 0;
        "~^(?:GET|HEAD) " 1;
        "~^(?:POST|PUT|PATCH|DELETE) $" 1;
    }
    map "$http_upgrade$http_trailer$http_transfer_encoding@API_KEY@" $compat_auth_usual {
        default 0;
        "" 1;
    }
    map $content_length $compat_auth_length {
        default 0;
        "" 1;
        "~^[0-9]{1,6}$" 1;
    }
    map "$compat_auth_target$compat_auth_scheme$compat_auth_host$compat_auth_method$compat_auth_usual$compat_auth_length"
        $compat_auth_asks {
        default 0;
        111111 1;
    }
"""
_ASKING_LOCATION = """
        location / {
            if ($compat_auth_asks = 0) {
                return 418;
            }
            auth_request /.compat-auth-lane;
            auth_request_set $compat_auth_authorization $upstream_http_authorization;
            auth_request_set $compat_auth_cookie $upstream_http_x_compat_auth_cookie;
            # The upstream may refuse a token that has ended meanwhile: the gateway renews it and sends the request again.
            proxy_intercept_errors on;
            error_page 401 403 418 = @gateway;
            error_page 502 504 = @unreachable;
            # nginx cannot remove families of names, so it lists what passes.
            proxy_pass_request_headers off;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header Authorization $compat_auth_authorization;
            proxy_set_header Cookie $compat_auth_cookie;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Request-Id $request_id;
@PASSING@
            proxy_pass http://compat_auth_upstream;
        }

        # The question about a credential; not for clients.
        location = /.compat-auth-lane {
            internal;
            proxy_pass http://compat_auth_asked@PAGE@;
            proxy_pass_request_body off;
            proxy_pass_request_headers off;
            proxy_method GET;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header Content-Length "";
            proxy_set_header Authorization $http_authorization;
            proxy_set_header Cookie $http_cookie;
            proxy_set_header X-Forwarded-For $remote_addr;@SECRET@
            # Whatever is wrong there, the gateway answers the request in full.
            proxy_intercept_errors on;
            error_page 400 404 405 408 413 414 421 429 431 500 501 502 503 504 =401 /.compat-auth-no;
        }

        location = /.compat-auth-no {
            internal;
            return 401;
        }
"""


_AGAIN = """
    # A request that did not reach the upstream, or that changes nothing, may go through the gateway.
    map "$request_method $upstream_bytes_sent" $compat_auth_again {
        default 0;
        "~^(?:GET|HEAD) " 1;
        "~^[A-Z]+ 0(?:[, :]+0)*$" 1;
    }
"""


def lua_http(site: Site, lane: LanePlan) -> str:
    """Return the lines of the `http` block, with Lua."""
    return _filled(_LUA, site, lane) + _AGAIN


def lua_location(headers: str) -> str:
    """Return the location of all requests, with Lua.

    Args:
        headers: What to say and to remove, as lines of the server's block.
    """
    return _LUA_LOCATION.replace("@HEADERS@", textwrap.indent(headers, "    "))


def asking_http(site: Site, lane: LanePlan) -> str:
    """Return the lines of the `http` block, without Lua."""
    end = " fail_timeout=2s" if len(lane.replicas) > 1 else ""
    servers = "\n".join(f"        server {address}{end};" for address in lane.replicas)
    asked = f"    upstream compat_auth_asked {{\n{servers}\n        keepalive 64;\n    }}\n"
    return _filled(_MAPS, site, lane) + _AGAIN + asked


def asking_location(site: Site, lane: LanePlan) -> str:
    """Return the locations of all requests and of the question, without Lua."""
    return _filled(_ASKING_LOCATION, site, lane)


def _filled(text: str, site: Site, lane: LanePlan) -> str:
    in_lua = text is _LUA
    key = site.api_key
    secret = ""
    if lane.secret and in_lua:
        secret = f'\n                "X-Compat-Auth-Proxy-Secret: {lane.secret}",'
    elif lane.secret:
        secret = f'\n            proxy_set_header X-Compat-Auth-Proxy-Secret "{lane.secret}";'
    values = {
        "SHARED": str(SHARED_MIB),
        "REMOVED": _in_pieces(pattern(site.believed)),
        "TARGET": lane.target if in_lua else lane.target.replace('"', r"\x22"),
        "SCHEME": SCHEME,
        "HOST": HOST,
        "API_KEY": "" if not key else f'headers["{key}"] or ' if in_lua else f"$http_{key.replace('-', '_')}",
        "MAX_BODY": str(MAX_BODY_BYTES),
        "PAGE": lane.page,
        "SECRET": secret,
        "REPLICAS": ", ".join(
            f'{{ "{address}" }}' if address.is_socket else f'{{ "{address.host}", {address.port} }}'
            for address in lane.replicas
        ),
        "PASSING": "\n".join(
            f"            proxy_set_header {name} $http_{name.lower().replace('-', '_')};" for name in _PASSING.split()
        ),
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _in_pieces(text: str) -> str:
    """Return a Lua expression for a long text: nginx reads 4,096 bytes of a string at most."""
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    return "\n            .. ".join(f"[==[{piece}]==]" for piece in pieces)
