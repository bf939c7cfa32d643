"""Counting by the minute."""

from __future__ import annotations

import pytest

from compat_auth.tally import Tally, network_of


def test_there_is_enough_after_so_many_and_then_no_more_is_counted() -> None:
    tally = Tally(2)

    counted = [tally.count("a"), tally.count("a"), tally.count("a"), tally.count("b")]

    assert counted == [True, True, False, True]
    assert 50 < tally.wait_s("a") <= 60
    assert tally.wait_s("b") == tally.wait_s("c") == 0


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_a_client_is_an_address_or_a_customers_network(client: str, network: str) -> None:
    assert network_of(client) == network
