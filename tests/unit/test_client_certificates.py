"""What proxies forward of a certificate: read in one way, or refused."""

from __future__ import annotations

import hashlib

import pytest

from compat_auth.client_certificates import read
from compat_auth.errors import InvalidToken
from support.certificates import Authority

CA = Authority()
ETL = CA.issue()
MALLORY = CA.issue("CN=mallory,O=Example")
HASH = hashlib.sha256(ETL.der).hexdigest()
URI = "spiffe://example.org/ns/etl/sa/airflow"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("nginx", ETL.escaped),
        ("haproxy", ETL.base64),
        ("traefik", ETL.base64),
        ("traefik", ETL.base64.replace("+", "%2B").replace("=", "%3D")),
        ("envoy", f'Hash={HASH};Cert="{ETL.escaped}";Subject="CN=etl"'),
        ("envoy", f'By=spiffe://example.org/x;Hash={HASH};Chain="{ETL.escaped}"'),
    ],
)
def test_a_whole_certificate_is_read(kind: str, value: str) -> None:
    assert read(kind, value).certificates == (ETL.der,)


def test_traefik_and_envoy_may_send_the_chain() -> None:
    sent = read("traefik", f"{ETL.base64},{MALLORY.base64}").certificates
    chained = read("envoy", f'Chain="{ETL.escaped}%0A{MALLORY.escaped}"').certificates

    assert sent == chained == (ETL.der, MALLORY.der)


def test_of_several_elements_only_the_last_proxys_counts() -> None:
    client = f'By=x;Hash=00;Subject="CN=admin";URI={URI}'

    said = read(
        "envoy", f'{client},By=y;Hash={HASH};Subject="CN=etl,O=\\"E\\"";URI=spiffe://example.org/a;DNS=A.example'
    )

    assert said.names is not None
    assert (said.names.subject, said.names.uri, said.names.dns) == (
        'CN=etl,O="E"',
        ("spiffe://example.org/a",),
        ("a.example",),
    )


@pytest.mark.parametrize(
    "client",
    ['Subject="', 'Subject="a";URI="', "Subject=a\\", 'URI=";', "=", "Subject", ";", "", 'Subject="a"b', 'URI="a\\"'],
)
def test_what_a_client_begins_never_swallows_what_the_proxy_appends(client: str) -> None:
    proxy = f'By=y;Hash={HASH};Subject="CN=mallory,O=Example";URI=spiffe://example.org/mallory'

    try:
        said = read("envoy", f"{client},{proxy}")
    except InvalidToken:
        return

    assert said.names is not None
    assert said.names.uri == ("spiffe://example.org/mallory",)
    assert said.names.subject == "CN=mallory,O=Example"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("nginx", ETL.pem.replace("BEGIN", "BEGAN")),
        ("nginx", f"{ETL.escaped}admin"),
        ("nginx", ETL.base64),
        ("nginx", "%"),
        ("haproxy", ETL.escaped),
        ("haproxy", f"{ETL.base64},{ETL.base64}"),
        ("haproxy", "é"),
        ("traefik", ",".join([ETL.base64] * 5)),
        ("traefik", f"{ETL.base64},"),
        ("envoy", f'Hash={HASH};Cert="{MALLORY.escaped}"'),
        ("envoy", f'Cert="{ETL.escaped}";Chain="{MALLORY.escaped}"'),
        ("envoy", f'Cert="{ETL.escaped}";Cert="{MALLORY.escaped}"'),
        ("envoy", "Subject=a;Subject=b"),
        ("envoy", f"By=a;{'URI=a;' * 20000}"),
        ("envoy", "nothing"),
    ],
)
def test_what_is_no_such_header_is_refused(kind: str, value: str) -> None:
    with pytest.raises(InvalidToken, match=r"certificate: "):
        read(kind, value)
