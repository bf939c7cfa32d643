"""Clients and address ranges are counted by a short vocabulary."""

from __future__ import annotations

import pytest

from compat_auth.usage.clients import MAX_FURTHER, Clients
from compat_auth.usage.networks import Networks


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (b"curl/8.5.0", "curl"),
        (b"python-requests/2.32.3", "python-requests"),
        (b"Python/3.11 aiohttp/3.9.5", "aiohttp"),
        (b"OpenAPI-Generator/2.9.0/python", "apache-airflow-client"),
        (b"Go-http-client/1.1", "Go-http-client"),
        (b"Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0", "Mozilla"),
        (b"Mozilla/5.0 (Windows NT; Windows NT 10.0; de-DE) WindowsPowerShell/5.1", "PowerShell"),
        (b"", "none"),
        (b"Acme-Loader/3", "Acme-Loader"),
        (b"Acme-Loader", "other"),
        (b"hunter2", "other"),
        (b"ca_pat_AAAAAAAAAAAA/1", "other"),
        (b"=cmd()/1", "other"),
        (b"<script>/1", "other"),
        (b"\xff\xfe/1", "other"),
    ],
)
def test_a_known_users_client_has_a_short_name(agent: bytes, name: str) -> None:
    assert Clients().name_of(agent, is_trusted=True) == name


def test_an_unknown_callers_client_is_of_the_vocabulary() -> None:
    clients = Clients()

    names = {clients.name_of(agent, is_trusted=False) for agent in (b"Acme-Loader/3", b"x/1", b"curl/8", b"")}

    assert names == {"other", "curl", "none"}


def test_the_number_of_further_names_is_bounded() -> None:
    clients = Clients()
    letters = "abcdefghijklmnopqrst"

    names = {clients.name_of(f"x{a}{b}/1".encode(), is_trusted=True) for a in letters for b in letters}

    assert len(names) <= MAX_FURTHER + 1
    assert "other" in names


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.1.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:10.1.2.3", "10.1.2.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", ""),
        ("unix", ""),
    ],
)
def test_an_address_is_kept_as_its_range(address: str, network: str) -> None:
    assert Networks().name_of(address) == network
