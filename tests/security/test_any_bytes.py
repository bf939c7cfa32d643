"""No byte string anywhere in a request makes an accident, and what goes on keeps its promises."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from compat_auth.app import build_decider
from compat_auth.asgi import Message, Receive, Scope, Send
from compat_auth.config import load_settings
from compat_auth.credentials import Basic, parse_authorization
from compat_auth.errors import AmbiguousCredentials, MalformedCredentials
from compat_auth.gate import Gate, GateRules
from compat_auth.headers import _FOLD, _FORWARD, _IDENTITY, _OURS
from compat_auth.paths import Prefixes, canonical_path, canonical_query
from compat_auth.refusal import RefusalStyle
from compat_auth.strategies import build_strategy
from compat_auth.trust import TrustedProxies
from security.gateway import Gateway, basic, parse_answers, write_config

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")
settings.register_profile("wire", settings.get_profile("ci"), max_examples=150)
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

_NEVER_INSIDE = frozenset((*_IDENTITY, *_FORWARD))
_INTERESTING = [b"host", b"authorization", b"cookie", b"content-length", b"transfer-encoding", b"connection"]
_INTERESTING += [b"x_remote_user", b"x.forwarded.for", b"x-compat-auth-cookie", b"x-real-ip", b"upgrade", b"te"]
names = st.one_of(st.sampled_from([*_INTERESTING, *sorted(_NEVER_INSIDE)]), st.binary(max_size=12).map(bytes.lower))
values = st.one_of(
    st.binary(max_size=24),
    st.sampled_from(
        [basic(), basic("zoë"), b"Basic YTpi", b"Bearer x", b"Digest a", b"chunked", b"a=b; _token=c", b"gateway"]
    ),
)
fragments = [
    b"/",
    b"/api/",
    b"/api/v2/x",
    b"..",
    b"%2e",
    b"%2F",
    b"%252e",
    b";",
    b"a",
    b"%",
    b"\\",
    b"%5c",
    b"%00",
    b"\xff",
    b"%C3%A9",
    b"#",
    b"?",
]
paths = st.one_of(st.binary(max_size=24), st.lists(st.sampled_from(fragments), max_size=6).map(b"".join))
plain = st.lists(st.tuples(names, values), max_size=5)


class Inside:
    """What stands behind the gate, and remembers what it was handed."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Driver:
    """The gate of the application, driven without a server."""

    def __init__(self, folder: Path) -> None:
        configured = load_settings(str(write_config(folder, "http://127.0.0.1:9")), {})
        self.loop = asyncio.new_event_loop()
        self.inside = Inside()
        rules = GateRules(
            Prefixes(["/api/"]), b"/compat-auth/", (b"_token", b"session"), frozenset((b"ours",)), RefusalStyle()
        )
        decider = build_decider(configured, build_strategy(configured))
        self.gate = Gate(self.inside, decider, rules, trusted=TrustedProxies([]), pages={})

    def ask(self, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]], method: str = "GET") -> int:
        """Return the status of the answer."""
        sent: list[Message] = []
        scope: dict[str, Any] = {"type": "http", "method": method, "raw_path": path, "query_string": query}
        scope |= {"path": path.decode("latin-1"), "headers": headers, "client": ("127.0.0.1", 1), "scheme": "http"}

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        self.inside.scopes.clear()
        self.loop.run_until_complete(self.gate(scope, receive, send))
        return int(sent[0]["status"])


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Generator[Driver]:
    driver = Driver(tmp_path_factory.mktemp("driver"))
    yield driver
    driver.gate.decider.close()
    driver.loop.close()


def _cookie_names(headers: list[tuple[bytes, bytes]]) -> set[str]:
    cookies = [value.decode("latin-1") for name, value in headers if name == b"cookie"]
    return {word.strip().partition("=")[0].strip() for cookie in cookies for word in re.split(r"[;,\s]", cookie)}


@given(path=paths, query=st.binary(max_size=16), headers=plain, proper=st.booleans())
@settings(max_examples=400, suppress_health_check=SLOW)
@example(path=b"/api/x", query=b"", headers=[(b"cookie", b"\xa0_token=a")], proper=True)
@example(path=b"/api/x", query=b"", headers=[(b"authorization", b"")], proper=True)
@example(path=b"/api/%2e%2e/x", query=b"", headers=[], proper=True)
def test_any_request_is_answered_and_what_goes_on_is_clean(
    driver: Driver, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]], proper: bool
) -> None:
    whole = [(b"host", b"gateway"), (b"authorization", basic()), *headers] if proper else headers

    status = driver.ask(path, query, whole)

    assert status in {200, 400, 401, 403, 404, 431, 501}
    for scope in driver.inside.scopes:
        raw_path, inside = scope["raw_path"], scope["headers"]
        assert canonical_path(raw_path) == raw_path
        assert canonical_query(scope["query_string"]) == scope["query_string"]
        assert [name for name, _ in inside].count(b"host") == 1
        credentials = [value for name, value in inside if name == b"authorization"]
        assert len(credentials) <= 1
        for name, _ in inside:
            folded = name.translate(_FOLD)
            assert folded not in _NEVER_INSIDE
            assert not folded.startswith(_OURS)
        assert "ours" not in _cookie_names(inside)
        if Prefixes(["/api/"]).cover(raw_path) and credentials and credentials[0].startswith(b"Bearer eyJ"):
            assert _cookie_names(inside).isdisjoint({"_token", "session"})


@given(host=st.one_of(st.binary(max_size=80), st.from_regex(rb"[A-Za-z0-9\-._~\[\]:]{1,300}", fullmatch=True)))
@settings(max_examples=200, suppress_health_check=SLOW)
@example(host=b"a" * 300)
@example(host=b"xn--a")
@example(host=b"[::1]:80")
@example(host=b"[:::]")
@example(host=b"..")
@example(host=b"a:99999")
def test_any_host_is_answered_while_a_backend_looks_at_the_request(driver: Driver, host: bytes) -> None:
    # A password that was never checked before, so that the chain runs.
    status = driver.ask(b"/api/x", b"", [(b"host", host), (b"authorization", basic("alice", os.urandom(8).hex()))])

    assert status in {400, 401}


@given(value=st.one_of(st.text(max_size=40), st.from_regex(r"(?i)(basic|bearer|negotiate) ?.{0,20}", fullmatch=True)))
@settings(max_examples=500)
@example(value="Basic YTpi, Basic YTpi")
@example(value="basic\tYTpi")
@example(value="Negotiate A")
def test_any_authorization_value_is_a_credential_or_refused_in_our_own_words(value: str) -> None:
    try:
        credential = parse_authorization(value)
    except (MalformedCredentials, AmbiguousCredentials) as error:
        credential = error

    assert "Traceback" not in str(credential)
    assert not isinstance(credential, Basic) or (credential.username and credential.password)


printable = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@given(username=printable.filter(lambda text: ":" not in text), password=printable)
@settings(max_examples=300)
def test_any_pair_of_name_and_password_survives_its_encoding(username: str, password: str) -> None:
    value = (b"BaSiC  " + basic(username, password).removeprefix(b"Basic ")).decode()

    credential = parse_authorization(value)

    assert credential == Basic(username, password)
    assert password not in repr(credential) or password in repr(username) or password in "Basic(username=)"


raw_lines = st.one_of(
    st.binary(max_size=60),
    st.tuples(names, st.sampled_from([b":", b": ", b" :", b":\t", b""]), values).map(b"".join),
)


@given(
    line=st.one_of(st.binary(max_size=40), paths.map(lambda path: b"GET " + path + b" HTTP/1.1")),
    headers=st.lists(raw_lines, max_size=5),
    end=st.sampled_from([b"\r\n", b"\n", b"\r"]),
    body=st.binary(max_size=20),
)
@settings(settings.get_profile("wire"), max_examples=150, suppress_health_check=SLOW, deadline=None)
def test_any_bytes_on_the_wire_are_answered_or_waited_for(
    gateway: Gateway, line: bytes, headers: list[bytes], end: bytes, body: bytes
) -> None:
    raw = end.join([line, b"Host: gateway", b"Authorization: " + basic(), *headers, b"Connection: close", b"", b""])

    with gateway.connect(5) as connection:
        connection.sendall(raw + body)
        # The client is done sending: whatever the server still waits for will not come.
        connection.shutdown(1)
        try:
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionResetError:
            received = b""

    statuses = [answer.status for answer in parse_answers(received)]
    assert all(status < 500 or status in {501, 502, 503, 504} for status in statuses)
