"""Whose word about the caller's address is believed."""

from __future__ import annotations

import pytest

from compat_auth.http.forwarded import Peers, TrustedProxies
from compat_auth.peer import FROM_SOCKET, Peer

FORGED = {b"x-forwarded-for": [b"203.0.113.9"]}
OUR_SOCKET = {"client": ("unix:", 0), "extensions": {FROM_SOCKET: True}}


def scope(address: str | None) -> dict[str, object]:
    return {"client": None if address is None else (address, 1)}


def test_nobody_is_believed_by_default() -> None:
    trusted = TrustedProxies([])

    assert not trusted
    assert trusted.client(scope("127.0.0.1"), FORGED) == "127.0.0.1"


def test_a_stranger_cannot_name_another_address() -> None:
    trusted = TrustedProxies(["10.0.0.0/8"])

    assert trusted
    assert trusted.client(scope("192.0.2.1"), FORGED) == "192.0.2.1"


def test_a_trusted_proxy_names_the_caller() -> None:
    trusted = TrustedProxies(["10.0.0.0/8"])

    assert trusted.client(scope("10.0.0.1"), FORGED) == "203.0.113.9"


@pytest.mark.parametrize(
    ("values", "client"),
    [
        pytest.param([b"1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9", id="the-last-untrusted-hop"),
        pytest.param([b"1.1.1.1", b"203.0.113.9"], "203.0.113.9", id="two-headers"),
        pytest.param([b"1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2", id="a-hop-that-is-no-address"),
        pytest.param([b"10.0.0.3, 10.0.0.2"], "10.0.0.3", id="only-proxies"),
        pytest.param([b" , "], "10.0.0.1", id="empty"),
        pytest.param([], "10.0.0.1", id="none"),
        pytest.param([b"2001:db8::7"], "2001:db8::7", id="ipv6"),
        pytest.param([b"203.0.113.9:4711"], "10.0.0.1", id="with-a-port"),
    ],
)
def test_the_caller_is_the_last_hop_that_no_trusted_proxy_vouches_further_for(values: list[bytes], client: str) -> None:
    trusted = TrustedProxies(["10.0.0.0/8"])

    assert trusted.client(scope("10.0.0.1"), {b"x-forwarded-for": values}) == client


def test_an_ipv4_peer_on_an_ipv6_socket_is_the_same_peer() -> None:
    assert TrustedProxies(["10.0.0.0/8"]).covers("::ffff:10.0.0.1")


@pytest.mark.parametrize("address", ["", "unix", "localhost", "192.0.2.1"])
def test_what_is_no_address_of_a_proxy_is_not_covered(address: str) -> None:
    assert not TrustedProxies(["10.0.0.0/8"]).covers(address)


@pytest.mark.parametrize("networks", [[], ["10.0.0.0/8"]])
def test_no_header_names_our_own_socket(networks: list[str]) -> None:
    trusted = TrustedProxies(networks)
    named = {b"x-forwarded-for": [b"192.0.2.1, unix:"]}

    assert trusted.client(OUR_SOCKET, named) == "unix:"
    assert trusted.names_hop_beyond_client(named)


@pytest.mark.parametrize("networks", [[], ["10.0.0.0/8"]])
@pytest.mark.parametrize("extensions", [{}, {"extensions": None}, {"extensions": {FROM_SOCKET: False}}])
def test_only_our_own_server_knows_our_own_socket(networks: list[str], extensions: dict[str, object]) -> None:
    trusted = TrustedProxies(networks)
    claimed = {**scope("unix:"), **extensions}
    forward = {b"x-forwarded-for": [b"unix:, 203.0.113.9"], b"x-forwarded-proto": [b"https"]}

    assert (trusted.peer(claimed), trusted.client(claimed, forward), trusted.scheme(claimed, forward)) == (
        "",
        "",
        "http",
    )
    assert Peers(trusted, NAMED).of(claimed, IDENTITY, forward) == Peer()
    assert Peers(trusted, NAMED).of(claimed, IDENTITY, {}) == Peer()
    assert (trusted.peer(OUR_SOCKET), trusted.client(OUR_SOCKET, forward)) == ("unix:", "203.0.113.9")


def test_our_own_socket_is_in_no_network() -> None:
    assert TrustedProxies(["10.0.0.0/8"]).names_trusted("10.0.0.1")
    assert not TrustedProxies(["0.0.0.0/1"]).names_trusted("unix:")


def test_a_connection_without_an_address_has_none() -> None:
    assert TrustedProxies(["10.0.0.0/8"]).client(scope(None), FORGED) == ""


PROXY = TrustedProxies(["192.0.2.0/24"])


@pytest.mark.parametrize(
    ("peer", "values", "scheme"),
    [
        pytest.param("192.0.2.1", [b"https"], "https", id="a-trusted-proxy"),
        pytest.param("192.0.2.1", [b" HTTPS "], "https", id="in-its-own-spelling"),
        pytest.param("192.0.2.1", [b"http"], "http", id="plain"),
        pytest.param("192.0.2.1", [b"https", b"http"], "http", id="two-headers"),
        pytest.param("192.0.2.1", [b"https, http"], "http", id="two-words"),
        pytest.param("198.51.100.1", [b"https"], "http", id="anybody-else"),
    ],
)
def test_only_a_trusted_proxy_says_that_the_caller_came_by_https(peer: str, values: list[bytes], scheme: str) -> None:
    scope = {"client": (peer, 1), "scheme": "http"}

    assert PROXY.scheme(scope, {b"x-forwarded-proto": values}) == scheme


def test_tls_that_ends_here_is_https() -> None:
    assert PROXY.scheme({"client": ("198.51.100.1", 1), "scheme": "https"}, {}) == "https"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([], False, id="none"),
        pytest.param([b"203.0.113.9"], False, id="the-caller-alone"),
        pytest.param([b"203.0.113.9, 192.0.2.2"], False, id="the-caller-and-a-trusted-proxy"),
        pytest.param([b"203.0.113.9", b"192.0.2.2"], False, id="a-trusted-proxy-in-a-header-of-its-own"),
        pytest.param([b"1.1.1.1, 203.0.113.9"], True, id="a-hop-before-the-caller"),
        pytest.param([b"1.1.1.1", b"203.0.113.9"], True, id="in-a-header-of-its-own"),
        pytest.param([b"1.1.1.1, 203.0.113.9, 192.0.2.2"], True, id="behind-a-trusted-proxy"),
        pytest.param([b"192.0.2.3, 203.0.113.9"], True, id="a-trusted-address-that-the-caller-names"),
        pytest.param([b"192.0.2.3, 192.0.2.2"], False, id="only-trusted-proxies"),
    ],
)
def test_a_hop_beyond_the_caller_is_one_that_no_trusted_proxy_vouches_for(values: list[bytes], expected: bool) -> None:
    assert PROXY.names_hop_beyond_client({b"x-forwarded-for": values}) is expected


def test_without_a_trusted_proxy_any_two_hops_are_one_too_many() -> None:
    nobody = TrustedProxies([])

    assert nobody.names_hop_beyond_client({b"x-forwarded-for": [b"1.1.1.1, 203.0.113.9"]}) is True
    assert nobody.covers("192.0.2.1") is False
    assert bool(nobody) is False


def test_bits_beyond_the_prefix_of_a_network_do_not_count() -> None:
    assert TrustedProxies(["10.1.2.3/8"]).covers("10.9.9.9") is True


NAMED = frozenset((b"x-user",))
IDENTITY = [(b"x-user", b"zo\xeb"), (b"x-other", b"1"), (b"x-user", b"2")]


def seen(client: str | None, forward: dict[bytes, list[bytes]] | None = None, **extensions: object) -> Peer:
    """Return the other end of a connection, as it is seen behind a proxy in 10.0.0.0/8."""
    scope = {"client": None if client is None else (client, 5), "extensions": extensions}
    return Peers(TrustedProxies(["10.0.0.0/8"]), NAMED).of(scope, IDENTITY, forward or {})


def test_a_trusted_proxy_says_who_the_caller_is_in_the_named_headers_alone() -> None:
    assert seen("10.0.0.1") == Peer("10.0.0.1", (("x-user", "zoë"), ("x-user", "2")))


def test_nobody_else_says_who_the_caller_is() -> None:
    assert seen("192.0.2.1") == Peer("192.0.2.1")
    assert seen(None) == Peer("")


@pytest.mark.parametrize(
    "name", ["x-forwarded-for", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip"]
)
@pytest.mark.parametrize("value", ["10.0.0.1", "192.0.2.1, 10.0.0.1", "10.0.0.1:80"])
def test_an_address_that_a_header_could_have_set_is_nobodys(name: str, value: str) -> None:
    forward = {name.encode(): [b"192.0.2.9", value.encode()]}

    assert seen("10.0.0.1", forward) == Peer()
    assert seen("10.0.0.2", forward).address == "10.0.0.2"
    assert seen("10.0.0.1", forward, **{FROM_SOCKET: True}).address == "10.0.0.1"


@pytest.mark.parametrize("value", ["for=10.0.0.1", 'proto=https; For="10.0.0.1:80"', "for=192.0.2.1,\tfor=10.0.0.1"])
def test_an_address_in_the_standard_header_is_nobodys_either(value: str) -> None:
    assert seen("10.0.0.1", {b"forwarded": [value.encode()]}) == Peer()
    assert seen("10.0.0.1", {b"forwarded": [value.replace("or=", "rom=").encode()]}).address == "10.0.0.1"


def test_networks_that_are_none_cover_nobody_and_are_false() -> None:
    assert not TrustedProxies([])
    assert TrustedProxies(["10.0.0.0/8"])
    assert not TrustedProxies([]).covers("10.0.0.1")
