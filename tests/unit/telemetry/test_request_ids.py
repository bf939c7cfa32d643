"""Which request ids are taken from a proxy, and what is made otherwise."""

from __future__ import annotations

import base64
import re

import pytest

from compat_auth.telemetry.request_ids import is_well_formed, make_id, request_id_of

MADE = re.compile(rb"[0-9a-f]{32}\Z")
WELL_FORMED = [
    b"7f0c1c3e-9b5b-4c34-8f0e-6c1f0a3a7c11",
    b"4bf92f3577b34da6a3ce929d0e0e4736",
    b"Root=1-67891233-abcdef012345678912345678",
    b"a",
    b"20261122T084011Z_10.0.0.1~42@host+a/b=c",
    b"q1Zq3Xc5T0KpYk8pYw9LZA==",
    # In base64, it would be a text with a colon.
    b"06cad49c36c036fd5fd0b2c3c6f7c8a1",
    b"x" * 128,
]
MALFORMED = {
    "empty": b"",
    "too-long": b"x" * 129,
    "blank": b"two words",
    "quote": b'a"b',
    "new-line": b"a\nb",
    "end-of-line": b"a\n",
    "comma": b"a,b",
    "not-ascii": "ü".encode(),
    "markup": b"<script>",
    "hyphen-first": b"-a",
    "personal-token": b"cat_pat_AAAA_BBBB",
    "jwt": b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
    "password": b"alice:secret",
    "password-in-base64": b"YWxpY2U6c2VjcmV0",
    "password-in-base64-without-its-end": base64.b64encode(b"alice:secret1").rstrip(b"="),
    "password-in-url-safe-base64": base64.urlsafe_b64encode("ali:>>??öö".encode()),
    "password-in-base64-of-utf-8": base64.b64encode("zoë:süß".encode()),
    "password-in-base64-of-latin-1": base64.b64encode("zoë:süß".encode("latin-1")),
    "password-in-base64-behind-a-name": b"id=YWxpY2U6c2VjcmV0",
    "personal-token-in-base64": base64.b64encode(b"cat_pat_AAAA_BBBB"),
    "jwt-in-base64": base64.b64encode(b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"),
}


@pytest.mark.parametrize("value", WELL_FORMED)
def test_a_trusted_proxy_chooses_the_id(value: bytes) -> None:
    assert request_id_of([(b"host", b"x"), (b"x-request-id", value)], is_trusted=True) == value


@pytest.mark.parametrize("value", WELL_FORMED)
def test_nobody_else_chooses_the_id(value: bytes) -> None:
    made = request_id_of([(b"x-request-id", value)], is_trusted=False)

    assert MADE.match(made)
    assert made != value


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_id_of_a_proxy_is_replaced(value: bytes) -> None:
    assert MADE.match(request_id_of([(b"x-request-id", value)], is_trusted=True))


def test_of_two_ids_none_is_taken() -> None:
    headers = [(b"x-request-id", b"one"), (b"x-request-id", b"two")]

    assert MADE.match(request_id_of(headers, is_trusted=True))


@pytest.mark.parametrize("name", [b"x_request_id", b"x.request.id", b"x-request-id-2"])
def test_an_id_in_another_header_is_not_taken(name: bytes) -> None:
    assert MADE.match(request_id_of([(name, b"one")], is_trusted=True))


def test_an_id_of_ours_is_well_formed() -> None:
    assert all(is_well_formed(make_id()) for _ in range(10_000))


def test_ids_differ() -> None:
    assert len({make_id() for _ in range(10_000)}) == 10_000
