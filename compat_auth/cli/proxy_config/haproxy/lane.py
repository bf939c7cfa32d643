"""The lane in HAProxy: an answer of the gateway is used for less than a second, from a map in memory.

Lua asks the gateway, and writes the answer into the map. HAProxy reads the map itself, because that costs a third of a call
to Lua. An entry has the time at which it ends, and HAProxy compares that with the time of day. Lua also deletes it then,
by a clock that nobody can set back.

Where the upstream refuses the token of a request, HAProxy sends the request once more, to a listener of its own. HAProxy
cannot undo its changes to a request, so that listener restores the caller's credential, and the gateway answers. The
keyed digest of the credential reaches that listener in the header of the PROXY protocol, version 2, which the upstream
never sees.
"""

from __future__ import annotations

import re

from compat_auth.cli.proxy_config.lane_plan import HOST, SCHEME, LanePlan
from compat_auth.cli.proxy_config.site import Site

MAP_FILE = "compat_auth_lane.map"
LUA_FILE = "compat_auth_lane.lua"
MAX_BODY_BYTES = 16 * 1024
"""Largest body of a request that goes straight to the upstream: HAProxy keeps it, to send it again through the gateway."""
_MAX_HEADER_BYTES = 32 * 1024
# Longer than the gateway lets an answer count: one that seems to last longer means that the clock was set back.
_LONGEST_MS = 950
# What the gateway reads in another way than HAProxy, or what has to be kept while the request is sent twice.
_UNUSUAL = ("cookie", "upgrade", "expect", "te", "trailer", "transfer-encoding")

_GLOBAL = f"""    # For the lane: names of files are relative to this file's folder.
    default-path config
    lua-load {LUA_FILE}
    # Answers are kept by a digest of the credential, with a key of this process.
    set-var proc.compat_auth_key uuid,sha2(256),base64
"""
_FRONTEND = f"""
    # A request goes straight to the upstream if it is an ordinary one, and the gateway says yes about its credential.
    acl compat_auth_target pathq -m reg '@TARGET@'
    acl compat_auth_origin_form url -m beg /
    acl compat_auth_origin_form req.ver -m str 2.0
    acl compat_auth_credential req.fhdr(authorization) -i -m reg '{SCHEME}'
    acl compat_auth_one req.fhdr_cnt(authorization) eq 1
    acl compat_auth_host req.fhdr(host) -m reg '{HOST}'
    acl compat_auth_write method POST PUT PATCH DELETE
    acl compat_auth_has_length req.hdr(content-length) -m found
    acl compat_auth_http_2 req.ver -m str 2.0
    acl compat_auth_small req.hdr_val(content-length) le {MAX_BODY_BYTES}
    acl compat_auth_small_head req.hdrs,length le {_MAX_HEADER_BYTES}
    # A browser may have added a password by itself to a request of another site's page.
    acl compat_auth_browser req.hdr(origin) -m found
    acl compat_auth_browser req.hdr(sec-fetch-site) -m found
@UNUSUAL@
    acl compat_auth_unusual req.fhdr(connection) -i -m reg '^(?!(?:keep-alive|close)$)'
    acl compat_auth_usual var(txn.compat_auth_key) -m found
    acl compat_auth_live var(txn.compat_auth_left_ms) -m int 1:{_LONGEST_MS}
    acl compat_auth_yes var(txn.compat_auth_bearer) -m found
    # Nothing is decided before the whole body is here: a credential could be revoked meanwhile. HTTP/2 tells a body without
    # a length only by its bytes.
    http-request wait-for-body time 30s if METH_GET compat_auth_http_2 compat_auth_target
    http-request wait-for-body time 30s if compat_auth_write compat_auth_has_length compat_auth_small compat_auth_small_head compat_auth_target !compat_auth_unusual
    acl compat_auth_has_body req.body_size gt 0
    http-request set-var(txn.compat_auth_key) 'req.fhdr(authorization),hmac(sha256,proc.compat_auth_key),hex' if METH_GET !compat_auth_has_length !compat_auth_has_body compat_auth_target compat_auth_origin_form compat_auth_one compat_auth_credential compat_auth_host !compat_auth_unusual
    http-request set-var(txn.compat_auth_key) 'req.fhdr(authorization),hmac(sha256,proc.compat_auth_key),hex' if compat_auth_write compat_auth_has_length compat_auth_small compat_auth_small_head !compat_auth_browser compat_auth_target compat_auth_origin_form compat_auth_one compat_auth_credential compat_auth_host !compat_auth_unusual
    http-request set-var(txn.compat_auth_now_ms) date(0,ms) if compat_auth_usual
    # "Milliseconds since the epoch:Authorization value".
    http-request set-var(txn.compat_auth_answer) 'var(txn.compat_auth_key),map_str({MAP_FILE})' if compat_auth_usual
    http-request set-var(txn.compat_auth_left_ms) 'var(txn.compat_auth_answer),field(1,:),sub(txn.compat_auth_now_ms)' if compat_auth_usual
    http-request set-var(txn.compat_auth_bearer) 'var(txn.compat_auth_answer),field(2,:)' if compat_auth_usual compat_auth_live
    http-request lua.compat_auth_ask if compat_auth_usual !compat_auth_yes
    http-request set-header Authorization %[var(txn.compat_auth_bearer)] if compat_auth_yes
    # For the listener that sends a refused request through the gateway; no header has it.
    unique-id-format %[var(txn.compat_auth_key)]
    use_backend compat_auth_upstream_writes if compat_auth_yes compat_auth_write
    use_backend compat_auth_upstream if compat_auth_yes
"""
_BACKENDS = """
# The straight way. A request whose token the upstream refuses, and one that does not reach it, goes through the gateway:
# the only server among which HAProxy chooses when it sends a request again.
backend compat_auth_upstream
    retries 1
    retry-on conn-failure empty-response 401 403
    option redispatch 1
@SERVERS@
backend compat_auth_upstream_writes
    # Sent again only where the upstream has refused the token, or was not reached; so on a new connection each time.
    retries 1
    retry-on conn-failure 401 403
    option redispatch 1
    http-reuse never
    option http-server-close
@SERVERS@
frontend compat_auth_again
    bind abns@@SOCKET@ accept-proxy
    # A request that HAProxy has not sent here itself does not have the digest.
    http-request lua.compat_auth_restore
    http-request return status 503 hdr Retry-After 1 content-type text/plain string "The upstream has refused the token of this request; send the request again.\\n" unless { var(txn.compat_auth_restored) -m bool }
    default_backend compat_auth_gateway
"""
_LUA = """-- The lane of HAProxy in front of the compat_auth gateway.
-- Written by `compat-auth proxy-config haproxy`; write it again after a change of the gateway's settings.

local MAP = "@MAP@"
local TICK_MS = 20
-- How many answers are kept, and how many questions are under way at once. Requests beyond go through the gateway.
local MAX_ANSWERS, MAX_QUESTIONS = 20000, 64
-- No answer counts for longer, whatever it says.
local LONGEST_MS = @LONGEST@
-- For how long a refused request can get its credential back.
local ORIGINAL_MS = 60000
local QUESTION_MS = 3000

-- By the keyed digest of a credential: when its question began, the tick that ends its answer, and the credential itself.
local questions, question_count = {}, 0
local ends, answer_count = {}, 0
local originals = {}
-- Digests by the tick at which their answers end.
local due = {}

local function now_ms()
    local now = core.now()
    return now.sec * 1000 + now.usec // 1000
end

local function keep(key, value, lasts_ms)
    if not ends[key] then answer_count = answer_count + 1 end
    local tick = (now_ms() + lasts_ms) // TICK_MS
    ends[key] = tick
    due[tick] = due[tick] or {}
    table.insert(due[tick], key)
    core.set_map(MAP, key, value)
end

local function forget(tick)
    for _, key in ipairs(due[tick] or {}) do
        -- A later answer has a later tick.
        if ends[key] == tick then
            core.del_map(MAP, key)
            ends[key], answer_count = nil, answer_count - 1
        end
    end
    due[tick] = nil
end

local function end_question(key)
    if questions[key] then questions[key], question_count = nil, question_count - 1 end
end

core.register_task(function()
    local done = now_ms() // TICK_MS
    while true do
        core.msleep(TICK_MS)
        local now = now_ms()
        while done < now // TICK_MS do
            forget(done)
            done = done + 1
            if done % 50 == 0 then
                for key, original in pairs(originals) do
                    if original.until_ms < now then originals[key] = nil end
                end
                -- The client of such a question has left.
                for key, began_ms in pairs(questions) do
                    if began_ms + QUESTION_MS < now then end_question(key) end
                end
            end
        end
    end
end)

-- The replicas of the gateway, and until when each is left alone because it did not answer.
local REPLICAS, away_until_ms = { @REPLICAS@ }, {}

-- Asks one replica, which answers from memory; returns false where it does not answer.
local function ask_one(replica, authorization, host, client)
    local socket = core.tcp()
    socket:settimeout(1)
    if not socket:connect(replica[1], replica[2]) then socket:close() return false end
    local lines = {
        "GET @PAGE@ HTTP/1.1", "Host: " .. host, "Authorization: " .. authorization, "X-Forwarded-For: " .. client,@SECRET@
    }
    if not socket:send(table.concat(lines, "\\r\\n") .. "\\r\\n\\r\\n") then socket:close() return false end
    local status = socket:receive("*l")
    if not status then socket:close() return false end
    local answer, lasts_ms
    while status do
        local line = socket:receive("*l")
        -- Without the end of the header section it is no answer.
        if not line then status = nil break end
        if line == "" then break end
        local name, value = line:match("^([^:]+):%s*(.-)%s*$")
        name = name and name:lower()
        if name == "authorization" then answer = value
        elseif name == "x-compat-auth-lasts-ms" then lasts_ms = tonumber(value)
        end
    end
    socket:close()
    if not status or not status:find("^HTTP/1%.1 200") or not answer or not lasts_ms then return nil end
    if answer:find(":", 1, true) then return nil end
    return answer, math.min(math.floor(lasts_ms), LONGEST_MS)
end

-- A failure costs a detour through the gateway, and nothing else. The digest of a credential chooses its replica, so that
-- the questions are spread; where that one is away, the next is asked, and it is left alone for two seconds.
local function ask(key, authorization, host, client)
    local count, first = #REPLICAS, key:byte(1) + key:byte(2)
    for number = 0, count - 1 do
        local index = (first + number) % count + 1
        if count == 1 or now_ms() >= (away_until_ms[index] or 0) then
            local answer, lasts_ms = ask_one(REPLICAS[index], authorization, host, client)
            if answer ~= false then return answer, lasts_ms end
            away_until_ms[index] = now_ms() + 2000
        end
    end
end

core.register_action("compat_auth_ask", { "http-req" }, function(txn)
    local key = txn:get_var("txn.compat_auth_key")
    -- Nobody waits for another's question.
    if questions[key] or question_count >= MAX_QUESTIONS or answer_count >= MAX_ANSWERS then return end
    local authorization, began_ms = txn.f:req_fhdr("authorization"), now_ms()
    questions[key], question_count = began_ms, question_count + 1
    local is_done, answer, lasts_ms = pcall(ask, key, authorization, txn.f:req_fhdr("host"), txn.f:src())
    -- The answer counts from the moment of the question.
    local left_ms = is_done and answer and lasts_ms - (now_ms() - began_ms) or 0
    end_question(key)
    if left_ms <= 0 then return end
    originals[key] = { authorization = authorization, until_ms = now_ms() + ORIGINAL_MS }
    keep(key, (txn:get_var("txn.compat_auth_now_ms") + lasts_ms) .. ":" .. answer, left_ms)
    txn:set_var("txn.compat_auth_bearer", answer)
end, 0)

core.register_action("compat_auth_restore", { "http-req" }, function(txn)
    local key = txn.f:fc_pp_unique_id()
    local original = key and originals[key]
    if original then
        txn.http:req_set_header("authorization", original.authorization)
        txn:set_var("txn.compat_auth_restored", true)
    end
end, 0)
"""


def lane_global() -> str:
    """Return the lines of the section `global`."""
    return _GLOBAL


def lane_frontend(site: Site, lane: LanePlan) -> str:
    """Return the lines of the frontend, for after those that remove the caller's headers."""
    names = [*_UNUSUAL, *([site.api_key] if site.api_key else [])]
    values = {
        # In single quotes, which have no way to hold one.
        "TARGET": lane.target.replace("'", r"\x27"),
        "UNUSUAL": "\n".join(f"    acl compat_auth_unusual req.hdr({name}) -m found" for name in names),
    }
    return _filled(_FRONTEND, values)


def lane_backends(site: Site) -> str:
    """Return the backends of the straight way, and the listener for refused requests."""
    socket = re.sub(r"[^A-Za-z0-9]+", "_", f"compat_auth_again_{site.listen}")
    count = len(site.upstreams)
    lines = [f"    use-server upstream{number} if {{ rand({count - number + 1}) eq 0 }}" for number in range(1, count)]
    lines.append(f"    use-server upstream{count} if TRUE")
    lines += [
        f"    server upstream{number} {address} weight 0" for number, address in enumerate(site.upstreams, start=1)
    ]
    lines.append(f"    server again abns@{socket} send-proxy-v2 proxy-v2-options unique-id")
    return _filled(_BACKENDS, {"SERVERS": "\n".join(lines) + "\n", "SOCKET": socket})


def lane_files(lane: LanePlan) -> dict[str, str]:
    """Return the other files, by name."""
    secret = f'\n        "X-Compat-Auth-Proxy-Secret: {lane.secret}",' if lane.secret else ""
    values = {
        "MAP": MAP_FILE,
        "LONGEST": str(_LONGEST_MS),
        "REPLICAS": ", ".join(f'{{ "{address.host.strip("[]")}", {address.port} }}' for address in lane.replicas),
        "PAGE": lane.page,
        "SECRET": secret,
    }
    # HAProxy needs a file for a map, although this one is only ever filled in memory.
    return {LUA_FILE: _filled(_LUA, values), MAP_FILE: "# Stays empty: answers are in memory alone.\n"}


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
