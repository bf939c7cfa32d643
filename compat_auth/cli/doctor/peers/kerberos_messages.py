"""The few Kerberos messages that `doctor` reads and sends itself, in DER (RFC 4120 section 5, ITU-T X.690).

GSSAPI shows neither a KDC's time nor the number of a ticket's key.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

_SEQUENCE, _INTEGER, _TIME, _STRING, _BITS = 0x30, 0x02, 0x18, 0x1B, 0x03
_AS_REQ, _AS_REP, _AP_REQ, _KRB_ERROR, _TICKET = 0x6A, 0x6B, 0x6E, 0x7E, 0x61
_GSS = 0x60  # RFC 2743 section 3.1
_SRV_INST = 2
_LONGEST = 64 * 1024
_NONCE = 0x646F6331


@dataclass(frozen=True, slots=True)
class KeyNumber:
    """The key with which something is encrypted.

    Attributes:
        kvno: Number of the key version; None if the message does not say.
        encryption_type: Number of the encryption type (RFC 3961 section 8).
    """

    kvno: int | None
    encryption_type: int


@dataclass(frozen=True, slots=True)
class KdcAnswer:
    """The answer of a KDC.

    Attributes:
        time: Its clock, in seconds since the epoch; None if the answer does not say.
        error: Its error code (RFC 4120 section 7.5.9); None for a ticket.
        key: The client's key that it used; None for an error.
    """

    time: float | None
    error: int | None
    key: KeyNumber | None


def as_request(components: tuple[str, ...], realm: str, encryption_types: tuple[int, ...]) -> bytes:
    """Return a request for a ticket-granting ticket without pre-authentication, which proves nothing and needs no key."""
    body = (
        _tagged(0, _tlv(_BITS, bytes(5)))
        + _tagged(1, _name(components))
        + _tagged(2, _text(realm))
        + _tagged(3, _name(("krbtgt", realm)))
        + _tagged(5, _tlv(_TIME, b"20370913024805Z"))
        + _tagged(7, _number(_NONCE))
        + _tagged(8, _tlv(_SEQUENCE, b"".join(map(_number, encryption_types))))
    )
    request = _tagged(1, _number(5)) + _tagged(2, _number(10)) + _tagged(4, _tlv(_SEQUENCE, body))
    return _tlv(_AS_REQ, _tlv(_SEQUENCE, request))


def read_answer(message: bytes) -> KdcAnswer:
    """Return the content of a KDC's answer to `as_request`.

    Raises:
        ValueError: It is another message.
    """
    tag, content, _ = _read(message)
    fields = _fields(content)
    if tag == _KRB_ERROR:
        seconds = _time_in(fields[4]) + _number_in(fields[5]) / 1e6
        return KdcAnswer(seconds, _number_in(fields[6]), None)
    if tag == _AS_REP:
        return KdcAnswer(None, None, _key_of(fields[6]))
    raise ValueError("not an answer of a KDC")


def key_of_token(token: bytes) -> KeyNumber:
    """Return the key with which the ticket in a client's first GSSAPI token is encrypted (RFC 4121 section 4.1).

    Raises:
        ValueError: It is another token.
    """
    tag, content, _ = _read(token)
    if tag != _GSS:
        raise ValueError("not a GSSAPI token")
    _, _, rest = _read(content)  # the mechanism
    tag, request, _ = _read(rest[2:])
    if tag != _AP_REQ:
        raise ValueError("not an AP-REQ")
    tag, ticket, _ = _read(_fields(request)[3])
    if tag != _TICKET:
        raise ValueError("no ticket")
    return _key_of(_fields(ticket)[3])


def _key_of(encrypted: bytes) -> KeyNumber:
    fields = _fields(encrypted)
    return KeyNumber(_number_in(fields[1]) if 1 in fields else None, _number_in(fields[0]))


def _fields(content: bytes) -> dict[int, bytes]:
    """Return the context-tagged members of a sequence, by number."""
    tag, rest, _ = _read(content)
    if tag != _SEQUENCE:
        raise ValueError("not a sequence")
    found: dict[int, bytes] = {}
    while rest:
        tag, value, rest = _read(rest)
        found[tag & 0x1F] = value
    return found


def _read(content: bytes) -> tuple[int, bytes, bytes]:
    """Return tag, content and the rest."""
    if len(content) < 2 or len(content) > _LONGEST:
        raise ValueError("cut off, or too long")
    size, start = content[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(content[2:start], "big")
    if size > len(content) - start:
        raise ValueError("cut off")
    return content[0], content[start : start + size], content[start + size :]


def _number_in(content: bytes) -> int:
    tag, value, _ = _read(content)
    if tag != _INTEGER:
        raise ValueError("not a number")
    return int.from_bytes(value, "big", signed=True)


def _time_in(content: bytes) -> float:
    _, value, _ = _read(content)
    return dt.datetime.strptime(value.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC).timestamp()


def _name(components: tuple[str, ...]) -> bytes:
    texts = _tlv(_SEQUENCE, b"".join(map(_text, components)))
    return _tlv(_SEQUENCE, _tagged(0, _number(_SRV_INST)) + _tagged(1, texts))


def _text(text: str) -> bytes:
    return _tlv(_STRING, text.encode("utf-8"))


def _number(value: int) -> bytes:
    return _tlv(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _tagged(number: int, content: bytes) -> bytes:
    return _tlv(0xA0 | number, content)


def _tlv(tag: int, content: bytes) -> bytes:
    if len(content) < 0x80:
        return bytes((tag, len(content))) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + content
