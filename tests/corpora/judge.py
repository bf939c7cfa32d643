"""What a case and what came of it say about a server: one verdict for each request. Standard library only."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from corpora.wire import Exchange

REFUSED, PASSED, AMBIGUOUS = "refused", "passed", "ambiguous"
LET_THROUGH, SERVER_ERROR, HANG = "let through", "server error", "hang"
VERDICTS = (REFUSED, PASSED, AMBIGUOUS, LET_THROUGH, SERVER_ERROR, HANG)
FAILURES = (LET_THROUGH, SERVER_ERROR, HANG)
# A server that does not implement something says so; the upstream, which answers 200 always, is not to blame.
_NOT_IMPLEMENTED = (501, 505)
PROTECTED = "/api/"
"""Below this path the corpora expect that the credential counts."""
UNCHANGED = "unchanged: for the upstream to judge"
_FOLD = str.maketrans("_.", "--")

Arrived = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """A case, ready to be sent.

    Attributes:
        corpus: Name of the corpus.
        id: Of the case; with the method where a case is sent with several.
        raw: The bytes.
        may_arrive: Whether the request may reach the upstream at all.
        readings: 2: two parsers could see different requests, so it should be refused.
        who: Whom the upstream may believe; "": nobody in particular.
        forged: Headers that may not arrive as they are.
        wanted: Headers that should arrive as they are.
        without_cookies: Whether no `_token` or `session` may arrive in a cookie.
        method: What should arrive; "": anything.
        targets: One of them should arrive; empty: anything.
        body: What should arrive; None: anything.
        for_upstream: Authorization value that the server may leave to the upstream to judge; "": none.
    """

    corpus: str
    id: str
    raw: bytes
    may_arrive: bool = True
    readings: int = 1
    who: str = ""
    forged: tuple[tuple[str, str], ...] = ()
    wanted: tuple[tuple[str, str], ...] = ()
    without_cookies: bool = False
    method: str = ""
    targets: tuple[str, ...] = ()
    body: bytes | None = None
    for_upstream: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a server did with a case; `target`: the one that arrived first at the upstream, "" for none."""

    corpus: str
    id: str
    verdict: str
    detail: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """What is known of the server.

    Attributes:
        base_url: Of the server.
        believes: Headers by which the upstream knows the caller, in lower case.
    """

    base_url: str
    believes: Sequence[str] = field(default=("authorization",))


def judge(request: Request, exchange: Exchange, arrived: Sequence[Arrived], site: Site) -> Verdict:
    """Return the verdict for a request.

    Args:
        request: What was sent.
        exchange: What came back.
        arrived: What the upstream got meanwhile.
        site: The server.
    """
    complete = [one for one in arrived if one["complete"]]
    verdict, detail = _judge(request, exchange, complete, site)
    return Verdict(request.corpus, request.id, verdict, detail, complete[0]["target"] if complete else "")


def _judge(request: Request, exchange: Exchange, arrived: Sequence[Arrived], site: Site) -> tuple[str, str]:
    statuses = [answer.status for answer in exchange.answers]
    if request.for_upstream and [_value(one, "authorization") for one in arrived] == [request.for_upstream]:
        return PASSED, UNCHANGED
    dangers = [*_leads_elsewhere(exchange, site), *_dangers(request, arrived, site)]
    if dangers:
        return LET_THROUGH, "; ".join(dangers)
    if any(status >= 500 and status not in _NOT_IMPLEMENTED for status in statuses):
        return SERVER_ERROR, f"{max(statuses)}"
    if not arrived:
        return _refusal(exchange)
    changes = list(_changes(request, arrived[0]))
    if request.readings > 1 or changes:
        return AMBIGUOUS, "; ".join(changes) or f"arrived as {_short(arrived[0]['target'])}"
    return PASSED, "; ".join(_lost(request, arrived[0]))


def _value(arrived: Arrived, name: str) -> str:
    return ", ".join(value for found, value in arrived["headers"] if found.lower() == name)


def _refusal(exchange: Exchange) -> tuple[str, str]:
    if exchange.is_silent:
        return HANG, "no answer, and the connection stays open"
    if not exchange.answers:
        return REFUSED, "closed"
    first = exchange.answers[0]
    return REFUSED, " to ".join([str(first.status), *(_short(place) for place in first.values("location")[:1])])


def _leads_elsewhere(exchange: Exchange, site: Site) -> Iterator[str]:
    for answer in exchange.answers:
        for place in answer.values("location") if 300 <= answer.status < 400 else []:
            if leads_elsewhere(place, site.base_url):
                yield f"leads to {_short(place)}"


def leads_elsewhere(place: str, base_url: str) -> bool:
    """Tell whether a browser at the base URL follows a Location to another host or scheme (WHATWG URL section 4.4)."""
    read = "".join(letter for letter in place if letter not in "\t\r\n").strip().replace("\\", "/")
    try:
        target, base = urlsplit(urljoin(base_url + "/", read)), urlsplit(base_url)
    except ValueError:
        return True
    # `//` in any number begins a host; urljoin knows only two.
    slashes = len(read) - len(read.lstrip("/"))
    return slashes > 1 or target.scheme not in ("http", "https") or target.hostname not in (base.hostname, None)


def _dangers(request: Request, arrived: Sequence[Arrived], site: Site) -> Iterator[str]:
    """Yield what must not be so at the upstream."""
    if arrived and not request.may_arrive:
        what = "with a token that everybody must refuse" if request.corpus == "jwt" else "without a credential"
        yield f"arrived {what}, as {_short(arrived[0]['target'])}"
    if len(arrived) > 1:
        yield f"{len(arrived)} requests arrived: " + ", ".join(_short(one["target"]) for one in arrived)
    for one in arrived[:1]:
        headers = [(str(name).lower(), str(value)) for name, value in one["headers"]]
        for name in ("host", "authorization", "content-length", "transfer-encoding"):
            if [found for found, _ in headers].count(name) > 1:
                yield f"two {name} arrived"
        if {"content-length", "transfer-encoding"} <= {name for name, _ in headers}:
            yield "a length beside chunks arrived"
        yield from _forged(request, headers)
        if request.may_arrive and request.who:
            believed = [who for name, value in headers if name in site.believes for who in [believed_in(value)]]
            if believed and set(believed) != {request.who}:
                yield f"the upstream believes {', '.join(_short(who) or 'nobody' for who in believed)}"
            # Elsewhere a credential need not count.
            if not believed and str(one["target"]).startswith(PROTECTED):
                yield "the upstream believes nobody: the identity was lost"


def _forged(request: Request, headers: Sequence[tuple[str, str]]) -> Iterator[str]:
    forged = {(name.lower().translate(_FOLD), value) for name, value in request.forged}
    for name, value in headers:
        if any(name.translate(_FOLD) == other and text in value for other, text in forged):
            yield f"arrived: {_short(name)}: {_short(value)}"
        if request.without_cookies and name == "cookie" and ("_token" in value or "session" in value):
            yield f"arrived: {_short(name)}: {_short(value)}"


def _changes(request: Request, arrived: Arrived) -> Iterator[str]:
    """Yield what arrived otherwise than the client meant it."""
    if request.method and arrived["method"] != request.method:
        yield f"the method arrived as {_short(arrived['method'])}"
    if request.targets and arrived["target"] not in request.targets:
        yield f"the target arrived as {_short(arrived['target'])}"
    if request.body is not None and str(arrived["body"]).encode("latin-1") != request.body:
        yield "the body arrived as another"


def _lost(request: Request, arrived: Arrived) -> Iterator[str]:
    headers = [(str(name).lower(), str(value)) for name, value in arrived["headers"]]
    for name, value in request.wanted:
        if (name.lower(), value) not in headers:
            yield f"did not arrive: {name}"


def believed_in(value: str) -> str:
    """Return whom a header's value names: the user of Basic, the `sub` of a JWT, else the value itself."""
    scheme, _, rest = value.partition(" ")
    try:
        if scheme.lower() == "basic":
            return base64.b64decode(rest, validate=True).decode().partition(":")[0]
        if scheme.lower() == "bearer":
            payload = rest.split(".")[1]
            return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"])
    except (binascii.Error, ValueError, IndexError, KeyError, TypeError):
        return value
    return value


def _short(text: object) -> str:
    shown = ascii(str(text))[1:-1]
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
