"""Who may ask for a decision."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from compat_auth.config import parse_settings
from compat_auth.errors import ConfigError, NotPermitted
from compat_auth.gateway.forward_auth import access
from compat_auth.gateway.forward_auth.access import MIN_SECRET, Access, access_of, hint, port_of
from compat_auth.http.asgi import RawHeaders
from compat_auth.http.forwarded import TrustedProxies
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest
from support.stand_ins import Clock

SECRET = b"s" * MIN_SECRET
TRUSTED = TrustedProxies(["10.0.0.0/8"])
HOST = (b"host", b"gateway.example")


def shown(*values: bytes) -> RawHeaders:
    return [(b"x-compat-auth-proxy-secret", value) for value in values]


def fault(headers: RawHeaders = [], *, peer: str = "10.0.0.1", secret: bytes = b"", hops: str = "") -> str:  # noqa: B006  # read alone
    forward = {b"x-forwarded-for": [hops.encode()]} if hops else {}
    return Access(secret).find_fault(TRUSTED, peer, headers, forward)


def test_a_trusted_proxy_that_names_its_client_alone_may_ask() -> None:
    assert fault() == ""
    assert fault(hops="192.0.2.1") == ""
    assert fault(hops="192.0.2.1, 10.0.0.2") == ""


def test_a_peer_that_is_no_trusted_proxy_may_not_ask() -> None:
    assert "not in trusted_proxies" in fault(peer="192.0.2.1")
    assert "not in trusted_proxies" in fault(shown(SECRET), peer="192.0.2.1", secret=SECRET)


def test_a_client_that_asks_through_the_proxy_may_not() -> None:
    assert "names a hop beyond the proxy" in fault(hops="192.0.2.1, 192.0.2.2")
    assert "names a hop beyond the proxy" in fault(shown(SECRET), secret=SECRET, hops="10.0.0.1, 192.0.2.2")


def test_where_there_is_a_secret_the_proxy_shows_it_once() -> None:
    assert fault(shown(SECRET), secret=SECRET) == ""
    for values in ((), (b"wrong",), (b"",), (SECRET, SECRET), (SECRET, b"wrong"), (SECRET + b"s",)):
        assert "is not [forward_auth] secret" in fault(shown(*values), secret=SECRET)


def test_a_refusal_says_nothing_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_HINTED", {})
    headers = [HOST, *shown(b"wrong")]
    request = GateRequest({"client": ("10.0.0.1", 5), "headers": headers}, take_in(headers), "GET", b"/", b"", "")

    with caplog.at_level(logging.WARNING), pytest.raises(NotPermitted, match="only for the front proxy"):
        Access(SECRET).require(TRUSTED, request)

    assert "X-Compat-Auth-Proxy-Secret is not [forward_auth] secret" in caplog.text
    assert SECRET.decode() not in caplog.text


def test_the_front_proxy_itself_is_not_refused() -> None:
    headers = [HOST, *shown(SECRET)]
    request = GateRequest({"client": ("10.0.0.1", 5), "headers": headers}, take_in(headers), "GET", b"/", b"", "")

    Access(SECRET).require(TRUSTED, request)

    assert SECRET.decode() not in repr(Access(SECRET))


def test_the_same_hint_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(access, "_HINTED", {})
    monkeypatch.setattr(access, "time", SimpleNamespace(monotonic=clock))

    with caplog.at_level(logging.WARNING):
        for moment in (1000.0, 1000.0, 1059.9, 1060.0):
            clock.time = moment
            hint("do this")
        hint("do that")

    assert [record.getMessage() for record in caplog.records] == ["do this", "do this", "do that"]


def configured(*, trusted: tuple[str, ...] = ("10.0.0.0/8",), **section: Any) -> Any:
    settings = {"trusted_proxies": list(trusted), "forward_auth": section, "serve": {"bind": "127.0.0.1:8088"}}
    return parse_settings(settings, origin="test")


def test_without_a_listener_and_a_secret_it_is_off() -> None:
    assert access_of(configured()) is None
    assert port_of(configured()) is None


@pytest.mark.parametrize("bind", ["127.0.0.1:9188", "127.1.2.3:9188", "[::1]:9188", "localhost:9188", "127.0.0.1:0"])
def test_a_listener_on_this_machine_needs_no_secret(bind: str) -> None:
    assert access_of(configured(bind=bind)) == Access(b"")
    assert port_of(configured(bind=bind)) == int(bind.rpartition(":")[2])


def test_a_secret_of_the_least_length_is_enough_without_a_listener() -> None:
    assert access_of(configured(secret="s" * 32)) == Access(b"s" * 32)
    assert port_of(configured(secret="s" * 32)) is None


@pytest.mark.parametrize("bind", ["0.0.0.0:9188", "192.0.2.1:9188", "[::]:9188", "gateway.example:9188"])
def test_a_listener_that_others_reach_needs_a_secret(bind: str) -> None:
    with pytest.raises(ConfigError, match="others than this machine reach it"):
        access_of(configured(bind=bind))

    assert access_of(configured(bind=bind, secret="s" * 32)) == Access(b"s" * 32)


@pytest.mark.parametrize(
    "secret", ["s" * 31, "s" * 31 + " ", "s" * 32 + "\t", "s" * 32 + "é", "s" * 16 + " " + "s" * 16]
)
def test_a_secret_that_is_short_or_no_header_value_is_refused(secret: str) -> None:
    with pytest.raises(ConfigError, match="at least 32 printable ASCII characters"):
        access_of(configured(secret=secret))


@pytest.mark.parametrize("section", [{"bind": "127.0.0.1:9188"}, {"secret": "s" * 32}])
def test_forward_auth_that_nobody_could_ask_is_refused(section: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies is empty"):
        access_of(configured(trusted=(), **section))


def test_its_listener_has_a_port_of_its_own() -> None:
    with pytest.raises(ConfigError, match=r"the port of serve\.bind"):
        access_of(configured(bind="127.0.0.1:8088"))
    with pytest.raises(ConfigError, match=r"the port of serve\.bind"):
        access_of(configured(bind="127.0.0.2:8088", secret="s" * 32))
