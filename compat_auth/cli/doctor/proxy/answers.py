"""Reads answers: who the gateway says the caller is, and who has answered, the gateway, the proxy, or the upstream."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import cast

from compat_auth.cli.doctor.proxy.attacks import CANARY_HOST
from compat_auth.net.http_call import HttpAnswer

_PROBLEM = "application/problem+json"
REFUSED_INPUT = frozenset((400, 413, 414, 421, 431, 501))
"""Statuses of a request that is refused for any caller."""
Mark = tuple[int, str, str, str]
"""Status, media type, challenge, and user of an answer."""
Send = Callable[[Mapping[str, str]], HttpAnswer | None]
"""Sends a request with headers; None: the connection was closed."""


def mark(answer: HttpAnswer) -> Mark:
    """Return the parts of an answer that an identity changes."""
    headers = answer.headers
    who = username_in(answer) if answer.status == 200 else ""
    return answer.status, _kind(answer), headers.get("www-authenticate", ""), who


def has_effect(before: Mark, answer: HttpAnswer) -> bool:
    """Return whether another identity was seen; a refusal by the proxy itself, of whatever kind, is none."""
    after = mark(answer)
    if after == before or answer.status in REFUSED_INPUT:
        return False
    if answer.status == 200:
        return username_in(answer) != "" and after[3] != before[3]
    return answer.status in (401, 403) and after[1] == before[1]


def _kind(answer: HttpAnswer) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_page(answer: HttpAnswer) -> bool:
    """Return whether the answer is a page for people."""
    return _kind(answer) == "text/html"


def is_ours(answer: HttpAnswer) -> bool:
    """Return whether the gateway has refused the request (RFC 9457)."""
    return answer.status >= 400 and _kind(answer) == _PROBLEM


def is_past_us(answer: HttpAnswer) -> bool:
    """Return whether the upstream has answered a caller without a credential, with content or its own refusal."""
    return not is_ours(answer) and (is_content(answer) or _is_upstreams_refusal(answer))


def is_like(answer: HttpAnswer, other: HttpAnswer | None, *, body: bool) -> bool:
    """Return whether two answers have the same status and type, and the same body if that counts."""
    if other is None or (answer.status, _kind(answer)) != (other.status, _kind(other)):
        return False
    return not body or answer.body == other.body


def is_content(answer: HttpAnswer) -> bool:
    """Return whether the answer has data of an API in it."""
    return 200 <= answer.status < 300 and not is_page(answer) and bool(answer.body)


def _is_upstreams_refusal(answer: HttpAnswer) -> bool:
    """Return whether the upstream itself asks for a login: the request went around the gateway."""
    return answer.status in (401, 403) and _kind(answer) == "application/json"


def names_canary(answer: HttpAnswer) -> bool:
    """Return whether the answer sends the client to the host of the probe."""
    said = " ".join(value for name, value in answer.headers.items() if name in ("location", "www-authenticate", "link"))
    return CANARY_HOST in said or CANARY_HOST.encode() in answer.body


def username_in(answer: HttpAnswer) -> str:
    """Return the user in an answer of `whoami`; "" if there is none."""
    try:
        content: object = json.loads(answer.body)
    except ValueError:
        return ""
    found = cast("dict[str, object]", content).get("username", "") if isinstance(content, dict) else ""
    return found[:64] if isinstance(found, str) and found.isprintable() else ""
