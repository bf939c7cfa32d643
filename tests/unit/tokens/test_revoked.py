"""Requests with a revoked Bearer are refused; a revoked cookie is told to who asks."""

from __future__ import annotations

import base64
import math
from typing import cast

import pytest

from compat_auth.errors import TokenEnded
from compat_auth.http.headers import take_in
from compat_auth.http.request import GateRequest
from compat_auth.tokens.denylist import Denylist
from compat_auth.tokens.revoked import RevokedTokens
from support.stand_ins import http_scope


class Denying:
    """A denylist that names one token, and counts how often the store was read."""

    def __init__(self, *, is_stale: bool = False) -> None:
        self.is_stale = is_stale
        self.read = 0
        self.reliable_s = 0.0 if is_stale else 0.5

    async def up_to_date(self) -> None:
        self.read += 1

    def is_revoked(self, token: str) -> bool:
        return token in ("gone", "signed.and.gone")

    def is_revoked_value(self, value: bytes) -> bool:
        return value == b"gone"


def request(*headers: tuple[bytes, bytes]) -> GateRequest:
    intake = take_in([(b"host", b"gateway.example"), *headers], may_lack_host=False)
    return GateRequest(http_scope(), intake, "GET", b"/api/x", b"", "192.0.2.1")


def revoked(denylist: Denying | None, cookie: bytes = b"_token") -> RevokedTokens:
    return RevokedTokens(cast("Denylist | None", denylist), cookie)


@pytest.mark.parametrize(
    "value", [b"Bearer gone", b"bearer  gone", b"BEARER gone \t", b" Bearer gone", b"\tBearer \tgone"]
)
async def test_a_revoked_bearer_is_refused_however_it_is_spelled(value: bytes) -> None:
    with pytest.raises(TokenEnded):
        await revoked(Denying()).require_bearer(request((b"authorization", value)))


@pytest.mark.parametrize("scheme", [b"Basic ", b"BASIC  ", b" basic "])
async def test_a_revoked_jwt_is_refused_as_a_password_too(scheme: bytes) -> None:
    pairs = [base64.b64encode(b"etl:" + token) for token in (b"signed.and.gone", b"signed.and.good")]

    judged = revoked(Denying())

    with pytest.raises(TokenEnded):
        await judged.require_bearer(request((b"authorization", scheme + pairs[0])))
    assert await judged.require_bearer(request((b"authorization", scheme + pairs[1]))) is False


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ((b"cookie", b"_token=gone"), True),
        ((b"cookie", b"_token=good; a=1"), False),
        ((b"cookie", b"other=gone"), False),
        ((b"authorization", b"Bearer good"), False),
        ((b"authorization", b"Bearer goneX"), False),
        ((b"authorization", b"Bearer Xgone"), False),
        ((b"authorization", b"Basic gone"), False),
        ((b"authorization", b"Basic Z29uZTp4.x"), False),
        ((b"authorization", b"Digest gone"), False),
        ((b"accept", b"*/*"), False),
    ],
)
async def test_it_says_whether_the_upstreams_cookie_is_revoked(header: tuple[bytes, bytes], expected: bool) -> None:
    assert await revoked(Denying()).require_bearer(request(header)) is expected


async def test_a_bearer_and_a_cookie_are_judged_each_for_itself() -> None:
    found = await revoked(Denying()).among([b"Bearer good", b"Bearer gone"], [b"_token=good"])

    assert found == (True, False)


@pytest.mark.parametrize(
    ("header", "reads"), [((b"authorization", b"Bearer x"), 1), ((b"authorization", b"Basic x"), 0)]
)
async def test_a_stale_list_is_read_before_a_token_is_judged_and_for_nothing_else(
    header: tuple[bytes, bytes], reads: int
) -> None:
    denylist = Denying(is_stale=True)

    await revoked(denylist).require_bearer(request(header))

    assert denylist.read == reads


async def test_without_a_list_nothing_is_revoked() -> None:
    both = request((b"authorization", b"Bearer gone"), (b"cookie", b"_token=gone"))

    assert await revoked(None).require_bearer(both) is False


async def test_where_the_upstream_takes_no_cookie_none_is_judged() -> None:
    assert await revoked(Denying(), b"").among([], [b"_token=gone"]) == (False, False)


@pytest.mark.parametrize(
    ("value", "good_s"),
    [(b"Bearer good", 0.5), (b"Bearer gone", 0), (b"bearer  gone", 0), (b"Basic gone", math.inf)],
)
async def test_it_says_without_the_store_for_how_long_a_value_is_good(value: bytes, good_s: float) -> None:
    denying = Denying()

    assert revoked(denying).good_s(value) == good_s
    assert denying.read == 0


async def test_a_bearer_is_good_for_no_time_while_only_the_store_could_tell() -> None:
    denying = Denying(is_stale=True)

    assert revoked(denying).good_s(b"Bearer good") == 0
    assert denying.read == 0


async def test_without_a_list_every_value_is_good() -> None:
    assert revoked(None).good_s(b"Bearer gone") == math.inf
