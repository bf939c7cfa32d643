"""A body that is held until it was judged, bounded in size, time and number."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from compat_auth.errors import BackendUnavailable, BadRequest, BodyTooLarge, BodyTooSlow, Overloaded
from compat_auth.http.asgi import Message
from compat_auth.http.body import MAX_HELD_BYTES, BodyBudget, HeldBody


def part(body: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


GONE: Message = {"type": "http.disconnect"}


def held(parts: Sequence[Message], *, budget: BodyBudget | None = None, timeout_s: float = 5) -> HeldBody:
    incoming = list(parts)

    async def receive() -> Message:
        if incoming:
            return incoming.pop(0)
        stays: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await stays

    return HeldBody(receive, "192.0.2.1", budget or BodyBudget(100), timeout_s)


async def test_what_was_held_goes_on_and_then_the_connection_is_watched() -> None:
    body = held([part(b"a"), part(b""), part(b"b", more=False), GONE])

    judged = await body.hold()

    assert judged == b"ab"
    assert await body() == part(b"ab", more=False)
    assert await body() == GONE
    assert await body.hold() == b"ab"


async def test_a_body_that_nobody_holds_passes_part_by_part() -> None:
    body = held([part(b"a"), part(b"b", more=False)])

    assert [await body(), await body()] == [part(b"a"), part(b"b", more=False)]


async def test_a_small_body_that_a_page_has_read_can_still_be_judged() -> None:
    body = held([part(b"a"), part(b"b", more=False)])
    await body()
    await body()

    assert await body.hold() == b"ab"


@pytest.mark.parametrize(
    "parts", [[part(b"a"), part(b"b", more=False)], [part(b"x" * 70_000, more=False)]], ids=["in-the-middle", "large"]
)
async def test_a_body_that_has_gone_on_is_not_judged(parts: list[Message]) -> None:
    body = held(parts)
    await body()

    with pytest.raises(BackendUnavailable):
        await body.hold()


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([part(b"a" * 60), part(b"a" * 41, more=False)], BodyTooLarge),
        ([part(b"a"), GONE], BadRequest),
        ([part(b"a")], BodyTooSlow),
    ],
)
async def test_a_body_that_cannot_be_held_is_refused_and_counts_no_longer(
    parts: list[Message], error: type[Exception]
) -> None:
    budget = BodyBudget(100)
    body = held(parts, budget=budget, timeout_s=0.05)

    with pytest.raises(error):
        await body.hold()
    body.release()

    assert budget._held == {}


async def test_no_more_is_held_than_a_process_may_hold_and_no_client_fills_it() -> None:
    budget = BodyBudget(10, total=40)
    budget.take("192.0.2.1", 10)

    with pytest.raises(Overloaded):
        await held([part(b"a", more=False)], budget=budget).hold()
    for number in range(2, 5):
        budget.take(f"192.0.2.{number}", 10)
    with pytest.raises(Overloaded):
        budget.take("192.0.2.9", 1)

    budget.release("192.0.2.1", 10)
    budget.take("192.0.2.9", 10)


async def test_one_network_of_ipv6_fills_no_more_than_one_address_does() -> None:
    budget = BodyBudget(10, total=40)
    budget.take("2001:db8::1", 10)

    with pytest.raises(Overloaded):
        budget.take("2001:db8::2", 1)
    budget.take("2001:db8:0:1::1", 10)

    budget.release("2001:db8::1", 10)
    budget.take("2001:db8::2", 10)


async def test_a_process_holds_64_mebibytes_and_a_quarter_of_them_for_one_client() -> None:
    quarter = 16 * 1024 * 1024
    budget = BodyBudget(1)
    budget.take("192.0.2.1", quarter)

    with pytest.raises(Overloaded):
        budget.take("192.0.2.1", 1)
    for number in range(2, 5):
        budget.take(f"192.0.2.{number}", quarter)

    assert sum(budget._held.values()) == MAX_HELD_BYTES == 4 * quarter
    with pytest.raises(Overloaded):
        budget.take("192.0.2.9", 1)


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1])
async def test_a_body_that_a_page_has_read_is_remembered_up_to_64_kibibytes(size: int) -> None:
    body = held([part(b"x" * size, more=False)], budget=BodyBudget(100_000))
    await body()

    if size > 64 * 1024:
        with pytest.raises(BackendUnavailable):
            await body.hold()
    else:
        assert await body.hold() == b"x" * size


@pytest.mark.parametrize("last", [part(b"b", more=False), {"type": "http.request", "body": b"b"}])
async def test_a_page_may_read_empty_chunks_and_the_body_is_still_whole(last: Message) -> None:
    body = held([{"type": "http.request", "more_body": True}, part(b"a"), last])
    for _ in range(3):
        await body()

    assert await body.hold() == b"ab"


async def test_a_client_that_disconnects_does_not_end_a_body_for_a_page() -> None:
    body = held([part(b"a"), GONE])
    await body()

    assert await body() == GONE
    with pytest.raises(BackendUnavailable, match="read already"):
        await body.hold()


async def test_a_body_of_exactly_the_limit_is_held_with_chunks_that_say_little() -> None:
    body = held([{"type": "http.request", "more_body": True}, {"type": "http.request", "body": b"x" * 100}])

    assert await body.hold() == b"x" * 100


async def test_what_is_being_held_cannot_be_held_twice() -> None:
    body = held([part(b"a")], timeout_s=0.01)
    with pytest.raises(BodyTooSlow):
        await body.hold()

    with pytest.raises(BackendUnavailable, match="read already"):
        await body.hold()


async def test_the_bytes_of_a_request_that_is_over_are_released_once() -> None:
    budget = BodyBudget(100)
    first, second = (held([part(b"abc", more=False)], budget=budget) for _ in range(2))
    await first.hold()
    await second.hold()

    first.release()
    first.release()

    assert budget._held == {"192.0.2.1": 3}
