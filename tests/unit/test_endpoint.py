"""Which URLs of an identity provider may be asked, and how."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compat_auth.endpoint import Endpoint
from compat_auth.errors import BackendUnavailable, ConfigError
from stub_issuer import Answer, StubIssuer, running_issuer


@pytest.fixture
def issuer() -> Iterator[StubIssuer]:
    with running_issuer() as stub:
        yield stub


@pytest.mark.parametrize(
    "url",
    [
        "",
        "login.example.org",
        "http://login.example.org/jwks",
        "http://127.0.0.1.example.org/",
        "http://[::ffff:8.8.8.8]/",
        "ftp://127.0.0.1/",
        "https://",
        "https://user@login.example.org/",
        "https://login.example.org/#x",
        "https://login.example.org:x/",
        "https://login.example.org/a b",
        "https://login.example.org/\r\nHost: x",
        "https://löwe.example.org/",
        "file:///etc/passwd",
    ],
)
def test_a_url_that_is_not_safe_to_ask_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match="here"):
        Endpoint.parse(url, where="here")


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("https://login.example.org", ("https", "login.example.org", 443), "/"),
        ("https://login.example.org:8443/a?b=c", ("https", "login.example.org", 8443), "/a?b=c"),
        ("http://127.0.0.1:8080/x", ("http", "127.0.0.1", 8080), "/x"),
        ("http://localhost", ("http", "localhost", 80), "/"),
        ("http://[::1]:1/", ("http", "::1", 1), "/"),
    ],
)
def test_https_and_loopback_may_be_asked(url: str, origin: tuple[str, str, int], target: str) -> None:
    endpoint = Endpoint.parse(url, where="here")

    assert (endpoint.origin, endpoint.target) == (origin, target)


def test_a_missing_ca_file_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="no CA file"):
        Endpoint.parse("https://login.example.org", where="here", ca_file="/nowhere/ca.pem")


def test_a_form_is_posted_and_its_answer_is_whole(issuer: StubIssuer) -> None:
    issuer.says["/form"] = Answer(b"yes", status=201, headers={"X-Header": "x"})

    answer = Endpoint.parse(f"{issuer.url}/form", where="here").post_form({"a": "b c&d", "ä": "ß"})

    assert (answer.status, answer.headers["x-header"], answer.body) == (201, "x", b"yes")
    assert issuer.received == [{"a": "b c&d", "ä": "ß", "authorization": ""}]


def test_a_proxy_of_the_environment_is_not_used(issuer: StubIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer.says["/x"] = Answer(b"direct")
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert Endpoint.parse(f"{issuer.url}/x", where="here").get().body == b"direct"


def test_nobody_listening_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable, match="ConnectionRefusedError"):
        Endpoint.parse("http://127.0.0.1:9/", where="here").get()
