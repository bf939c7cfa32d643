"""Tokens that the upstream has refused."""

from __future__ import annotations

import base64
import gzip
import json
import time
import zlib
from typing import Any

import pytest

from compat_auth.tokens.upstream_refusals import (
    MAX_REFUSAL_BYTES,
    RENEWAL_PAUSE_S,
    TOKEN_REFUSED,
    YOUNG_S,
    UpstreamRefusals,
    may_have_ended,
    says_refused,
    watch_for_refusal,
)
from support.stand_ins import Clock

NOW = 1_800_000_000
REFUSED = b'{"detail":"Invalid JWT token"}'
FORBIDDEN = b'{"detail":"Forbidden"}'


def bearer(**claims: Any) -> bytes:
    parts = (b'{"alg":"HS512"}', json.dumps(claims).encode(), b"signature")
    return b"Bearer " + b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


def test_a_refused_token_is_known_and_no_other() -> None:
    refusals = UpstreamRefusals(Clock())
    before = b"Bearer t" in refusals

    noted = refusals.note(b"alice", b"Bearer t")

    assert (before, noted) == (False, True)
    assert b"Bearer t" in refusals
    assert b"Bearer u" not in refusals


def test_an_owner_has_one_token_refused_every_two_seconds() -> None:
    clock = Clock()
    refusals = UpstreamRefusals(clock)
    refusals.note(b"alice", b"Bearer t")

    soon = refusals.note(b"alice", b"Bearer u")
    other = refusals.note(b"bob", b"Bearer v")
    again = refusals.note(b"alice", b"Bearer t")
    clock.time += RENEWAL_PAUSE_S
    later = refusals.note(b"alice", b"Bearer u")

    assert (soon, other, again, later) == (False, True, True, True)
    assert RENEWAL_PAUSE_S == 2


def test_a_token_that_is_not_noted_is_not_refused() -> None:
    refusals = UpstreamRefusals(Clock())
    refusals.note(b"alice", b"Bearer t")

    refusals.note(b"alice", b"Bearer u")

    assert b"Bearer u" not in refusals


@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_a_token_that_carries_others_may_have_ended_once_it_is_not_young(name: str) -> None:
    assert may_have_ended(bearer(**{name: "x", "iat": NOW - YOUNG_S}), NOW)
    assert may_have_ended(bearer(**{name: "x"}), NOW)
    assert not may_have_ended(bearer(**{name: "x", "iat": NOW - YOUNG_S + 1}), NOW)
    assert YOUNG_S == 10


@pytest.mark.parametrize(
    "token", [bearer(iat=NOW - 100), bearer(access_token=1, iat=NOW - 100), bearer(other="x"), b"Bearer opaque", b""]
)
def test_any_other_token_has_not_ended_by_a_403_without_a_reason(token: bytes) -> None:
    assert not may_have_ended(token, NOW)


@pytest.mark.parametrize("encoding", [b"gzip", b"x-gzip", b"GZip"])
def test_a_compressed_answer_is_read(encoding: bytes) -> None:
    assert says_refused(gzip.compress(REFUSED), encoding)
    assert not says_refused(gzip.compress(FORBIDDEN), encoding)
    assert not says_refused(REFUSED, encoding)


def test_an_answer_in_clear_is_read() -> None:
    assert says_refused(REFUSED, b"")
    assert says_refused(REFUSED, b"identity")
    assert not says_refused(FORBIDDEN, b"")
    assert not says_refused(zlib.compress(REFUSED), b"deflate")


def test_only_the_beginning_of_an_answer_is_read() -> None:
    at_the_end = b" " * (MAX_REFUSAL_BYTES - len(TOKEN_REFUSED)) + TOKEN_REFUSED

    assert says_refused(at_the_end, b"")
    assert says_refused(gzip.compress(at_the_end), b"gzip")
    assert not says_refused(b" " + at_the_end, b"")
    assert not says_refused(gzip.compress(b" " + at_the_end), b"gzip")
    assert MAX_REFUSAL_BYTES == 4096


async def watched(
    status: int, *bodies: bytes, token: bytes = b"Bearer t", encoding: bytes = b"", unfinished: bool = False
) -> int:
    """Return how often a refusal was noticed in an answer, which goes on unchanged."""
    refused: list[int] = []
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    watching = watch_for_refusal(send, token, lambda: refused.append(1))
    headers = [(b"content-encoding", encoding)] if encoding else []
    messages: list[Any] = [{"type": "http.response.start", "status": status, "headers": headers}]
    for number, body in enumerate(bodies):
        is_last = number == len(bodies) - 1 and not unfinished
        messages.append({"type": "http.response.body", "body": body, "more_body": not is_last})
    for message in messages:
        await watching(message)
    assert sent == messages
    return len(refused)


async def test_a_401_is_a_refusal_of_the_token() -> None:
    assert await watched(401, b"") == 1
    assert await watched(401, REFUSED) == 1


async def test_a_403_is_one_if_it_says_so() -> None:
    assert await watched(403, REFUSED) == 1
    assert await watched(403, REFUSED[:12], REFUSED[12:], b"") == 1
    assert await watched(403, gzip.compress(REFUSED), encoding=b"gzip") == 1
    assert await watched(403, FORBIDDEN) == 0
    assert await watched(403, b"") == 0


async def test_a_403_is_one_if_the_tokens_inside_may_have_ended() -> None:
    old = bearer(access_token="x", iat=int(time.time()) - 60)

    assert await watched(403, FORBIDDEN, token=old) == 1
    assert await watched(403, b"", token=old) == 0


async def test_an_answer_that_has_not_ended_is_waited_for_up_to_a_bound() -> None:
    long = REFUSED + b" " * MAX_REFUSAL_BYTES

    assert await watched(403, REFUSED, unfinished=True) == 0
    assert await watched(403, long, unfinished=True) == 1
    assert await watched(403, long, long, unfinished=True) == 1
    assert await watched(403, b" " * MAX_REFUSAL_BYTES, REFUSED) == 0


@pytest.mark.parametrize("status", [200, 400, 404, 500])
async def test_no_other_answer_is_a_refusal(status: int) -> None:
    assert await watched(status, REFUSED) == 0


async def test_an_answer_without_a_body_is_none() -> None:
    refused: list[int] = []

    async def send(_message: Any) -> None:
        return None

    watching = watch_for_refusal(send, b"Bearer t", lambda: refused.append(1))
    await watching({"type": "http.response.start", "status": 403, "headers": []})
    await watching({"type": "http.response.body"})

    assert refused == []
