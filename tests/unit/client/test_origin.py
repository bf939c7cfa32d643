"""Where a secret may go."""

from __future__ import annotations

import pytest

from compat_auth.client.origin import make_origin, parse_server, parse_url
from compat_auth.errors import UnsafeAddress


@pytest.mark.parametrize(
    ("url", "origin", "base"),
    [
        ("https://gw.example.com", "https://gw.example.com", "https://gw.example.com"),
        ("HTTPS://GW.Example.COM:443/", "https://gw.example.com", "https://gw.example.com"),
        ("https://gw.example.com:8443/airflow/", "https://gw.example.com:8443", "https://gw.example.com:8443/airflow"),
        ("http://localhost:8088", "http://localhost:8088", "http://localhost:8088"),
        ("http://127.8.9.1", "http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:8088", "http://[::1]:8088", "http://[::1]:8088"),
    ],
)
def test_a_server_is_an_origin_and_a_base(url: str, origin: str, base: str) -> None:
    server = parse_server(url)

    assert (str(server.origin), server.base) == (origin, base)
    assert server.token_url == base + "/auth/token"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://gw.example.com", id="clear-text"),
        pytest.param("http://127.0.0.1.example.com", id="not-loopback-after-all"),
        pytest.param("http://localhost.example.com", id="not-localhost-after-all"),
        pytest.param("http://0.0.0.0", id="every-address"),
        pytest.param("http://[::ffff:203.0.113.5]", id="mapped"),
    ],
)
def test_a_credential_crosses_no_network_in_clear_text_unless_told(url: str) -> None:
    with pytest.raises(UnsafeAddress, match="https"):
        parse_server(url)

    assert parse_server(url, allow_http=True).origin.scheme == "http"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="empty"),
        pytest.param("gw.example.com", id="no-scheme"),
        pytest.param("ftp://gw.example.com", id="another-scheme"),
        pytest.param("file:///etc/passwd", id="no-server"),
        pytest.param("https://", id="no-host"),
        pytest.param("https://user@gw.example.com", id="user"),
        pytest.param("https://gw.example.com@evil.example", id="looks-like-the-host"),
        pytest.param("https://gw.example.com\\@evil.example", id="backslash"),
        pytest.param("https://gw.example.com#@evil.example", id="fragment-before-the-host"),
        pytest.param("https://gw.example.com?@evil.example", id="query-before-the-host"),
        pytest.param("https://gw.example.com:443@evil.example/", id="port-that-is-a-password"),
        pytest.param("https://{gw.example.com,evil.example}/", id="curl-glob"),
        pytest.param("https://gw.example.com/\r\nHost: evil.example", id="line-break"),
        pytest.param("https://gw.example.com/ x", id="space"),
        pytest.param("https://gw.\u0435xample.com/", id="cyrillic"),
        pytest.param("https://gw.example.com/?a=b", id="query"),
        pytest.param("https://gw.example.com/#a", id="fragment"),
    ],
)
def test_an_address_with_two_readings_is_refused(url: str) -> None:
    with pytest.raises(UnsafeAddress):
        parse_server(url, allow_http=True)


def test_what_follows_the_origin_is_kept_as_it_is() -> None:
    origin, rest = parse_url("https://gw.example.com/api/v2/dags?limit=1&order_by=-dag_id")

    assert str(origin) == "https://gw.example.com"
    assert rest == "/api/v2/dags?limit=1&order_by=-dag_id"


@pytest.mark.parametrize(
    ("scheme", "host", "port"),
    [("http", "gw", 443), ("https", "gw", 8443), ("https", "gw.", None), ("", "gw", None), ("ws", "gw", None)],
)
def test_another_scheme_host_or_port_is_another_origin(scheme: str, host: str, port: int | None) -> None:
    assert make_origin(scheme, host, port) != make_origin("https", "gw", None)
