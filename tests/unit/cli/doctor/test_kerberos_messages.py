"""The Kerberos messages that doctor reads and sends itself; broken ones are refused."""

from __future__ import annotations

import pytest

from compat_auth.cli.doctor.peers.kerberos_messages import KdcAnswer, as_request, key_of_token, read_answer


def tlv(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return bytes((tag, len(content))) + content


# KRB-ERROR (RFC 4120 section 5.9.1): stime, susec and error-code among its members.
ERROR = tlv(
    0x7E,
    tlv(
        0x30,
        tlv(0xA0, tlv(0x02, b"\x05")),
        tlv(0xA1, tlv(0x02, b"\x1e")),
        tlv(0xA4, tlv(0x18, b"20261130120000Z")),
        tlv(0xA5, tlv(0x02, b"\x01\xe2\x40")),
        tlv(0xA6, tlv(0x02, b"\x0e")),
        tlv(0xA9, tlv(0x1B, b"LAB.TEST")),
    ),
)


def test_an_error_has_the_time_of_the_kdc() -> None:
    found = read_answer(ERROR)

    assert found == KdcAnswer(1796040000 + 0.123456, 14, None)


def test_a_request_names_client_realm_and_service() -> None:
    request = as_request(("HTTP", "host"), "LAB.TEST", (18, -1000))

    assert request[0] == 0x6A
    assert request.count(b"LAB.TEST") == 2
    assert b"krbtgt" in request
    assert b"\x02\x02\xfc\x18" in request


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="empty"),
        pytest.param(ERROR[:40], id="cut-off"),
        pytest.param(b"\x7e\x84\xff\xff\xff\xff", id="endless"),
        pytest.param(b"\x60" + ERROR[1:], id="another"),
    ],
)
def test_a_broken_answer_is_refused(message: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        read_answer(message)


def test_a_token_of_another_mechanism_is_refused() -> None:
    with pytest.raises(ValueError, match="not a GSSAPI token"):
        key_of_token(b"\x4e\x02\x4c\x4d")
