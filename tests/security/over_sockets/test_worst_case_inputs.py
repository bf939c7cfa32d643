"""No header, query, form or document that the gate lets in holds up the process: what parses it takes linear time."""

from __future__ import annotations

import contextlib
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import psutil
import pytest
from flask import Flask, request
from werkzeug.wrappers import Request

from compat_auth.api.oauth.token_request import MAX_BODY_BYTES as MAX_TOKEN_REQUEST
from compat_auth.api.oauth.token_request import parse_token_request
from compat_auth.crypto.strict_json import parse_object
from compat_auth.errors import CompatAuthError
from compat_auth.extension import CompatAuth
from compat_auth.http.headers import MAX_HEADER_BYTES, take_in
from compat_auth.http.request import GateRequest
from compat_auth.web.page import MAX_FORM_BYTES
from compat_auth_backends import basic_auth
from support.security.gateway import Gateway, running_gateway, write_config
from support.security.upstream import recording_upstream
from support.stand_ins import http_scope

# A tracer sees every line of a parser: it takes five times as long, and the CPU time below would be the tracer's.
pytestmark = pytest.mark.unmeasured
# Linear work on 60 KB takes some milliseconds; the square of it took 5 to 30 s. CPU time, so that a busy machine does
# not matter.
LIMIT_S = 1.0
SIZE = MAX_HEADER_BYTES - 512
BEGINNINGS = (b"", b"a=", b'a="', b"a;b=", b'text/html; a="', b"Digest a=", b'Digest a="', b"Basic ", b"bytes=", b'W/"')
REPEATED = (
    b" ",
    b"\t",
    b" \t",
    b'"',
    b"\\",
    b'\\"',
    b"a",
    b"a=",
    b'a="',
    b"a;",
    b"; a=",
    b'a="";',
    b"a,",
    b",",
    b", ",
    b"en-",
    b"a/a;q=0,",
    b"%2",
    b"1",
    b"0-0,",
    b"a*0*=",
    b"(",
    b"\xc3\xa9",
    b"\xff",
)
ENDS = (b"", b'"', b" a")
PARSED: dict[bytes, tuple[str, ...]] = {
    b"cookie": ("cookies",),
    b"authorization": ("authorization",),
    b"accept": ("accept_mimetypes",),
    b"accept-charset": ("accept_charsets",),
    b"accept-encoding": ("accept_encodings",),
    b"accept-language": ("accept_languages",),
    b"content-type": ("mimetype_params", "is_json"),
    b"range": ("range",),
    b"if-range": ("if_range",),
    b"if-match": ("if_match",),
    b"if-none-match": ("if_none_match",),
    b"if-modified-since": ("if_modified_since",),
    b"if-unmodified-since": ("if_unmodified_since",),
    b"cache-control": ("cache_control",),
    b"pragma": ("pragma",),
    b"date": ("date",),
    b"max-forwards": ("max_forwards",),
    b"referer": ("referrer",),
    b"origin": ("origin",),
    b"user-agent": ("user_agent",),
    b"access-control-request-headers": ("access_control_request_headers",),
}
OTHERS = (b"host", b"x-forwarded-for", b"x-forwarded-proto", b"forwarded", b"connection", b"x-request-id", b"upgrade")


def worst_cases(size: int = SIZE) -> Iterator[bytes]:
    """Yield values of that size that are hard for patterns with more than one way to match."""
    for beginning, repeated, end in product(BEGINNINGS, REPEATED, ENDS):
        yield (beginning + repeated * (size // len(repeated)))[: size - len(end)] + end


def parsing_s(environ: dict[str, Any], name: bytes) -> float:
    """Return the CPU time in seconds that Flask's properties for a header take."""
    began = time.thread_time()
    for attribute in PARSED[name]:
        with contextlib.suppress(ValueError):
            getattr(Request(environ), attribute)
    return time.thread_time() - began


@pytest.mark.parametrize("name", PARSED, ids=lambda name: name.decode())
def test_no_header_that_flask_sees_takes_long_to_parse(name: bytes) -> None:
    slow: list[tuple[float, bytes]] = []

    for value in worst_cases():
        scope = http_scope(b"/api/x", [(name, value)])
        environ = GateRequest(scope, take_in(scope["headers"]), "POST", b"/api/x", b"", "192.0.2.7").environ(True)
        environ.setdefault("CONTENT_TYPE", "")
        # A collection of garbage may fall into one parse; a slow pattern is slow in both.
        took_s = parsing_s(environ, name)
        if took_s > LIMIT_S and (took_s := min(took_s, parsing_s(environ, name))) > LIMIT_S:
            slow.append((took_s, value[:20] + b"..." + value[-5:]))

    assert slow == []


def test_what_flask_sees_of_cookies_is_bounded() -> None:
    pairs = [b"c%d=%s" % (number, b"x" * 100) for number in range(500)]
    scope = http_scope(b"/api/x", [(b"cookie", b"; ".join(pairs))])

    environ = GateRequest(scope, take_in(scope["headers"]), "GET", b"/api/x", b"", "192.0.2.7").environ(True)

    assert 30_000 < len(environ["HTTP_COOKIE"]) <= 32 * 1024


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Return a gateway with pages, sessions and personal tokens."""
    folder: Path = tmp_path_factory.mktemp("site")
    extra = f'database_url = "sqlite:///{folder / "compat_auth.db"}"'
    with recording_upstream() as upstream:
        config = write_config(
            folder, f"http://127.0.0.1:{upstream.port}", extra, '["session", "basic_auth", "personal_token"]'
        )
        with config.open("a") as file:
            file.write('[session]\nsecret = "0123456789abcdef0123456789abcdef0123456789abcdef"\n')
        with running_gateway(config, upstream) as gateway:
            yield gateway


def cpu_s(gateway: Gateway) -> float:
    """Return the CPU time that the gateway has used so far, in seconds."""
    used = psutil.Process(gateway.process.pid).cpu_times()
    return used.user + used.system


def exchange(gateway: Gateway, raw: bytes) -> bytes:
    """Send one request and return the beginning of its answer."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        connection.sendall(raw)
        return connection.recv(64)


def head(method: bytes, target: bytes, *lines: bytes) -> bytes:
    """Return the head of a request."""
    return b"\r\n".join((method + b" " + target + b" HTTP/1.1", b"Host: x", b"Connection: close", *lines, b"", b""))


@pytest.mark.parametrize("path", [b"/api/v2/x", b"/compat-auth/login", b"/static/x"], ids=["guarded", "page", "open"])
@pytest.mark.parametrize("name", [*PARSED, *OTHERS], ids=lambda name: name.decode())
def test_no_header_keeps_a_gateway_busy(site: Gateway, name: bytes, path: bytes) -> None:
    # What the server itself refuses never gets to us.
    values = [value for value in worst_cases() if value.startswith((b"a=", b"text/html", b"Digest", b"Basic", b" "))]
    before_s = cpu_s(site)

    answers = [exchange(site, head(b"GET", path, name + b": " + value)) for value in values[::9]]

    assert all(answers)
    assert (cpu_s(site) - before_s) / len(answers) < LIMIT_S / 4


@pytest.mark.parametrize("repeated", [b"X-A: 1", b"Cookie: a=1", b"Connection: a%d", b"X-%d: a", b"Accept: */*"])
def test_no_number_of_headers_keeps_a_gateway_busy(site: Gateway, repeated: bytes) -> None:
    lines = [repeated % number if b"%" in repeated else repeated for number in range(3500)]
    before_s = cpu_s(site)

    answer = exchange(site, head(b"GET", b"/static/x", *lines))

    assert answer.startswith(b"HTTP/1.1 ")
    assert cpu_s(site) - before_s < LIMIT_S


@pytest.mark.parametrize("repeated", [b"a", b"a&", b"a=1&", b"=", b"%41", b"%25", b"+", b";", b"a=%C3%A9&", b"a[]=&"])
@pytest.mark.parametrize("path", [b"/api/v2/x", b"/compat-auth/login", b"/compat-auth/tokens"])
def test_no_query_keeps_a_gateway_busy(site: Gateway, path: bytes, repeated: bytes) -> None:
    query = repeated * (32_000 // len(repeated))
    before_s = cpu_s(site)

    answer = exchange(site, head(b"GET", path + b"?" + query))

    assert answer.startswith(b"HTTP/1.1 ")
    assert cpu_s(site) - before_s < LIMIT_S


@pytest.mark.parametrize(
    "repeated", [b"/", b"/a", b"/%2", b"/%41", b"/;", b"/a;", b"/.", b"/%2e", b"/a%3b", b"/%c3%a9"]
)
def test_no_path_keeps_a_gateway_busy(site: Gateway, repeated: bytes) -> None:
    before_s = cpu_s(site)

    answer = exchange(site, head(b"GET", b"/api/v2" + repeated * (8_000 // len(repeated))))

    assert answer.startswith(b"HTTP/1.1 ")
    assert cpu_s(site) - before_s < LIMIT_S


FORM = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'


@pytest.mark.parametrize(
    ("content_type", "repeated"),
    [
        (FORM, b"a=1&"),
        (FORM, b"&"),
        (FORM, b"="),
        (FORM, b"%"),
        (FORM, b"%C3"),
        (MULTIPART, PART),
        (MULTIPART, b"\r\n"),
        (MULTIPART, b"--b\r\n"),
        (MULTIPART, b"--b\r\n\r\n"),
        (MULTIPART, b"--b\r\nA:" + b" " * 900 + b"\r\n"),
        (b"multipart/form-data; boundary=" + b"-" * 200, b"-"),
        (b"multipart/form-data; boundary=\\r", b"\r"),
        (b"application/json", b"["),
        (b"application/json", b'{"a":'),
        (b"application/json", b"1"),
        (b"application/json", b'"\\u00e9'),
    ],
)
@pytest.mark.parametrize("path", [b"/compat-auth/login", b"/auth/token", b"/compat-auth/revoke", b"/compat-auth/api/x"])
def test_no_body_keeps_a_gateway_busy(site: Gateway, path: bytes, content_type: bytes, repeated: bytes) -> None:
    size = MAX_TOKEN_REQUEST if path != b"/compat-auth/login" else MAX_FORM_BYTES
    body = repeated * (size // len(repeated))
    lines = (b"Content-Type: " + content_type, b"Content-Length: %d" % len(body))
    before_s = cpu_s(site)

    answer = exchange(site, head(b"POST", path, *lines) + body)

    assert answer.startswith(b"HTTP/1.1 4")
    assert cpu_s(site) - before_s < LIMIT_S


@pytest.mark.parametrize(
    "document",
    [
        b"[" * 60_000,
        b'{"a":' * 12_000,
        b'{"a":' + b"9" * 60_000 + b"}",
        b'{"a":1e' + b"9" * 60_000 + b"}",
        b'{"a":0.' + b"9" * 60_000 + b"}",
        b"{" + b",".join(b'"%d":1' % number for number in range(7000)) + b"}",
        b'{"a":"' + b"\\u00e9" * 10_000 + b'"}',
        b'{"a":' + b" " * 60_000 + b"x}",
    ],
)
def test_no_document_takes_long_to_parse(document: bytes) -> None:
    began = time.thread_time()

    for read in (parse_object, lambda body: parse_token_request("application/json", body)):
        with contextlib.suppress(ValueError, CompatAuthError):
            read(document)

    assert time.thread_time() - began < LIMIT_S


def test_a_worker_says_that_it_lives_while_every_thread_of_it_is_busy(site: Gateway) -> None:
    waiting = [socket.create_connection(("127.0.0.1", site.port), timeout=10) for _ in range(60)]
    for number, connection in enumerate(waiting):
        password = b"Authorization: Basic " + b64encode(b"alice:wrong%d" % number)
        connection.sendall(head(b"GET", b"/api/v2/x", password))

    began = time.monotonic()
    answer = exchange(site, head(b"GET", b"/compat-auth/live"))

    assert answer.startswith(b"HTTP/1.1 200")
    assert time.monotonic() - began < 5
    for connection in waiting:
        connection.close()


def apps_of_others(folder: Path) -> Iterator[Flask]:
    """Yield Flask apps that hold our extension, and one module of ours alone."""
    (folder / "users").write_text("", encoding="utf-8")
    for init_app in (CompatAuth, basic_auth.init_app):
        app = Flask("of others")
        app.secret_key = "theirs"
        app.config["COMPAT_AUTH"] = {
            "auth_backends": ["basic_auth"],
            "basic_auth": {"directories": ["htpasswd"]},
            "htpasswd": {"file": str(folder / "users")},
        }
        init_app(app)
        app.add_url_rule("/", "x", lambda: dict(request.cookies))
        yield app


@pytest.mark.parametrize("blank", [" ", "\t"])
def test_no_cookie_keeps_an_app_of_others_busy_that_holds_our_backends(tmp_path: Path, blank: str) -> None:
    cookie = f'a={blank * SIZE}"; b=2'
    began = time.thread_time()

    answers = [
        app.test_client(use_cookies=False).get("/", environ_overrides={"HTTP_COOKIE": cookie})
        for app in apps_of_others(tmp_path)
    ]

    assert [answer.json for answer in answers] == [{"b": "2"}] * 2
    assert time.thread_time() - began < LIMIT_S


@pytest.mark.parametrize(
    ("cookie", "seen"),
    [
        ('a=1; b="x y"; c="q\\"\\054"; d', {"a": "1", "b": "x y", "c": 'q",', "d": ""}),
        ("a=1,2; odd[name]=x", {"a": "1,2", "odd[name]": "x"}),
        ("a=\u00eb; b=\u00ff", {"a": "\u00eb", "b": "\u00ff"}),
    ],
)
def test_an_app_of_others_keeps_the_cookies_that_it_can_read(tmp_path: Path, cookie: str, seen: dict[str, str]) -> None:
    app = next(apps_of_others(tmp_path))

    answer = app.test_client(use_cookies=False).get("/", environ_overrides={"HTTP_COOKIE": cookie})

    assert answer.json == seen
