"""The requests of each corpus, rendered for one server. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from corpora.cases import Case, cases, fill, load, published_keys, to_bytes, to_headers, values_for
from corpora.jose import Facts, make_token
from corpora.judge import Request

_BYPASS_METHODS = ("GET", "HEAD", "OPTIONS", "POST")
_FORGED_KINDS = ("identity", "identity-of-forwarding", "alias", "forward", "override")


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server is asked.

    Attributes:
        host: Value of `Host`.
        credential: Authorization value of the user.
        other: Authorization value of another user.
        user: Whom the upstream should believe; "": not judged.
        path: A path that takes the credential, for headers and tokens.
        login: Page that takes `?next=`; "": there is none.
        issuer: Of the tokens of the corpus `jwt`.
        audience: Of these tokens.
        has_judging_upstream: Whether a token that the server does not know may go on to the upstream, which judges it.
        column: Of the corpus `legacy`.
        legacy_path: For that corpus.
    """

    host: str
    credential: str
    other: str
    user: str
    path: str = "/api/v2/x"
    login: str = ""
    issuer: str = "us"
    audience: str = "api"
    has_judging_upstream: bool = False
    column: str = "basic"
    legacy_path: str = "/api/v1/pools"

    @property
    def values(self) -> Mapping[str, str]:
        """What the placeholders of the corpora stand for."""
        return values_for(self.host, self.credential, self.other)

    def raw(self, target: str, *headers: tuple[bytes, bytes], method: str = "GET") -> bytes:
        """Return a request that is plain but for its target and these headers, and that ends its connection."""
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        # Without a body to read, the server does not wait for one.
        length = b"Content-Length: 0\r\n" if method in ("POST", "PUT", "PATCH") else b""
        # `Connection` is what some cases are about; they end by themselves.
        close = b"" if any(name.lower() == b"connection" for name, _ in headers) else b"Connection: close\r\n"
        start = b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method.encode(), target.encode("latin-1"), self.host.encode())
        return start + lines + length + close + b"\r\n"

    @property
    def authorization(self) -> tuple[bytes, bytes]:
        return b"Authorization", self.credential.encode()


def baseline(settings: Settings) -> Request:
    """Return the request that everything else is compared with: it must pass."""
    raw = settings.raw(settings.path, settings.authorization)
    return Request("baseline", "plain", raw, who=settings.user, method="GET", targets=(settings.path,))


def requests_of(corpus: str, settings: Settings) -> Iterator[Request]:
    """Yield the requests of a corpus; corpora that are not sent have none."""
    yield from _MAKERS[corpus](settings)


def _framing(settings: Settings) -> Iterator[Request]:
    for case in cases("framing"):
        raw, is_clear = to_bytes(case["raw"], settings.values), case["reading"] == "one"
        yield Request(
            "framing",
            case["id"],
            raw,
            readings=1 if is_clear else 2,
            who=settings.user,
            method=case["method"] if is_clear else "",
            targets=(case["target"],) if is_clear else (),
            body=to_bytes(case["body"], settings.values) if is_clear else None,
        )


def _headers(settings: Settings) -> Iterator[Request]:
    for case in cases("headers"):
        is_bypass = case["kind"] == "bypass"
        for method in _BYPASS_METHODS if is_bypass else (case.get("method", "GET"),):
            yield _header_request(case, method, settings, f"{case['id']}-{method}" if is_bypass else case["id"])


def _header_request(case: Case, method: str, settings: Settings, name: str) -> Request:
    headers = to_headers(case, settings.values)
    sent = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    own = [settings.authorization] if case["credential"] == "good" else []
    is_arriving = case["credential"] != "none"
    return Request(
        "headers",
        name,
        settings.raw(settings.path, *own, *headers, method=method),
        may_arrive=is_arriving,
        readings=2 if case["kind"] == "two-credentials" else 1,
        who=settings.user if is_arriving else "",
        forged=sent if case["kind"] in _FORGED_KINDS else (),
        wanted=sent if case["kind"] == "application" else (),
        without_cookies=case["kind"] == "cookie",
        method=method,
        targets=(settings.path,),
    )


def _paths(settings: Settings) -> Iterator[Request]:
    for case in cases("paths"):
        canonical = case["canonical"]
        # On the wire the first is a query, and some servers skip a second blank in a request line.
        if case["path"].startswith(" ") or "?" in case["path"]:
            continue
        yield Request(
            "paths",
            case["id"],
            settings.raw(case["path"], settings.authorization),
            readings=1 if canonical is not None else 2,
            targets=(case["path"], canonical) if canonical is not None else (),
        )
    for number, target in enumerate(load("paths")["fence"], 1):
        yield Request("paths", f"fence-{number}", settings.raw(target), may_arrive=False)


def _jwt(settings: Settings) -> Iterator[Request]:
    facts = Facts(int(time.time()), settings.issuer, settings.audience, settings.user or "1")
    for case in cases("jwt"):
        token = make_token(case, published_keys(), facts)
        # A line end or a letter beyond ASCII in a header is a case of `framing`.
        if token.isascii() and token.isprintable():
            yield Request(
                "jwt",
                case["id"],
                settings.raw(settings.path, (b"Authorization", f"Bearer {token}".encode())),
                may_arrive=case["verdict"] != "must",
                for_upstream=f"Bearer {token}" if settings.has_judging_upstream else "",
                readings=2 if case["verdict"] == "careful" else 1,
            )


def _redirects(settings: Settings) -> Iterator[Request]:
    for case in cases("redirects") if settings.login else []:
        mark = "&" if "?" in settings.login else "?"
        text = case["next"].encode("utf-8", "surrogatepass")
        yield Request("redirects", case["id"], settings.raw(f"{settings.login}{mark}next={quote(text, safe='')}"))


def _legacy(settings: Settings) -> Iterator[Request]:
    for case in cases("legacy"):
        headers = [(name.encode(), fill(value, settings.values).encode()) for name, value in case["headers"]]
        # A ticket and a session are made by what issues them, not here.
        if any(b"{" in value for _, value in headers):
            continue
        lets_in = case["airflow2"][settings.column]["status"] == 200 and settings.column not in case["hole"]
        # The upstream's own Bearer is the upstream's to judge.
        may_arrive = lets_in or case["ours"] == "upstream"
        raw = settings.raw(settings.legacy_path, *headers)
        yield Request("legacy", case["id"], raw, may_arrive=may_arrive, method="GET" if lets_in else "")


_MAKERS: dict[str, Callable[[Settings], Iterator[Request]]] = {
    "framing": _framing,
    "headers": _headers,
    "paths": _paths,
    "jwt": _jwt,
    "redirects": _redirects,
    "legacy": _legacy,
}
SENT = tuple(_MAKERS)
"""The corpora that can be sent. `jwk` is for a library that reads keys."""
