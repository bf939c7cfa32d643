"""Which request ids are taken from a proxy, and what is made otherwise."""

from __future__ import annotations

import re

import pytest

from compat_auth.telemetry.request_ids import make_id, request_id_of

MADE = re.compile(rb"[0-9a-f]{32}\Z")
WELL_FORMED = [
    b"7f0c1c3e-9b5b-4c34-8f0e-6c1f0a3a7c11",
    b"4bf92f3577b34da6a3ce929d0e0e4736",
    b"Root=1-67891233-abcdef012345678912345678",
    b"a",
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
    "password-in-base64": b"YWxpY2U6c2VjcmV0",
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


def test_ids_differ() -> None:
    assert len({make_id() for _ in range(10_000)}) == 10_000
