"""Short names of clients and networks."""

from __future__ import annotations

import pytest

from compat_auth.web.lists.clients import Client, client_name, network_range, read_browser

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
AGENTS = {
    f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/140.0.0.0 Safari/537.36": ("Chrome", "Linux"),
    f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/140.0 Safari/537.36": ("Chrome", "ChromeOS"),
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/140.0 Safari/537.36 Edg/140.0": ("Edge", "Windows"),
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0": ("Firefox", "Windows"),
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1 Version/18 Safari/605.1": ("Safari", "macOS"),
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 CriOS/140 Safari/604": ("Chrome", "iOS"),
    f"Mozilla/5.0 (Linux; Android 15) {WEBKIT} SamsungBrowser/28 Chrome/130 Safari/537": (
        "Samsung Internet",
        "Android",
    ),
    f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/140.0 Safari/537.36": ("Chrome", "Linux"),
    "curl/8.5.0": ("", ""),
    "": ("", ""),
    "<script>alert(1)</script>": ("", ""),
}


@pytest.mark.parametrize(("agent", "expected"), AGENTS.items(), ids=[str(number) for number in range(len(AGENTS))])
def test_a_browser_and_its_system_come_from_a_fixed_list(agent: str, expected: tuple[str, str]) -> None:
    assert read_browser(agent) == Client(*expected)


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("curl/8.5.0", "curl"),
        ("python-requests/2.32.3", "python-requests"),
        ("Go-http-client/1.1", "Go-http-client"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox"),
        ("a" * 33, ""),
        ("a" * 32, "a" * 32),
        ("<b>x</b>", ""),
        ("alice@example.com/1", ""),
        ("", ""),
    ],
    ids=["curl", "requests", "go", "firefox", "too-long", "long", "markup", "mail", "none"],
)
def test_a_program_is_named_by_its_first_product(agent: str, name: str) -> None:
    assert client_name(agent) == name


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24 (IPv4)"),
        ("2001:db8:1:2::77", "2001:db8:1::/48 (IPv6)"),
        ("::ffff:192.0.2.77", "192.0.2.0/24 (IPv4)"),
        ("fe80::1%eth0", "fe80::/48 (IPv6)"),
        ("::1", "::/48 (IPv6)"),
        ("unix:", ""),
        ("<b>", ""),
        ("", ""),
    ],
)
def test_an_address_is_shown_as_its_network_and_family(address: str, network: str) -> None:
    assert network_range(address) == network
