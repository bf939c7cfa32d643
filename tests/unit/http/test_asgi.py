"""ASGI: bodies, answers, and clients that disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from compat_auth.errors import BadRequest, BodyTooLarge
from compat_auth.http import asgi
from compat_auth.http.asgi import (
    ClientGone,
    ClientWatch,
    Message,
    Receive,
    body_parts,
    read_body,
    replayed,
    respond,
    respond_rendered,
)
from compat_auth.http.error_responses import ErrorStyle
from support.stand_ins import Sent


async def test_an_answer_says_how_long_it_is() -> None:
    sent = Sent()

    async def send(message: Message) -> None:
        sent.messages.append(message)

    await respond(send, 200, "zoë".encode(), content_type=b"text/plain", headers=[(b"x-a", b"1")])

    assert sent.status == 200
    assert sent.headers == [(b"content-length", b"4"), (b"content-type", b"text/plain"), (b"x-a", b"1")]
    assert sent.body == "zoë".encode()


async def test_an_empty_answer_has_no_type() -> None:
    sent = Sent()

    async def send(message: Message) -> None:
        sent.messages.append(message)

    await respond(send, 204)

    assert sent.headers == [(b"content-length", b"0")]


async def test_a_refusal_is_a_problem_with_lower_case_names() -> None:
    sent = Sent()

    async def send(message: Message) -> None:
        sent.messages.append(message)

    await respond_rendered(send, ErrorStyle().render(401, ("Negotiate",)))

    assert sent.values(b"content-type") == [b"application/problem+json"]
    assert sent.values(b"www-authenticate") == [b"Negotiate"]


def part(body: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


GONE: Message = {"type": "http.disconnect"}


def receiving(messages: Sequence[Message]) -> Receive:
    incoming = list(messages)

    async def receive() -> Message:
        if not incoming:
            await asyncio.get_running_loop().create_future()
        return incoming.pop(0)

    return receive


@pytest.mark.parametrize(
    "messages",
    [[part(b"abc", False)], [part(b"a", True), part(b"bc", False)], [part(b"abc", True), {"type": "http.request"}]],
)
async def test_a_whole_body_is_read_up_to_its_limit(messages: list[Message]) -> None:
    assert await read_body(receiving([*messages, GONE]), 3) == b"abc"


async def test_a_body_over_its_limit_is_not_read_to_its_end() -> None:
    with pytest.raises(BodyTooLarge, match="larger than 3 bytes"):
        await read_body(receiving([part(b"abcd", True)]), 3)


async def test_a_body_that_ends_too_early_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="ended too early"):
        await read_body(receiving([part(b"a", True), GONE]), 3)


async def test_a_replayed_body_comes_once_and_whole_before_what_else_comes() -> None:
    receive = replayed(b"abc", receiving([GONE]))

    assert [await receive(), await receive()] == [part(b"abc", False), GONE]


async def test_the_chunks_of_a_body_come_as_they_are_and_its_end_is_noticed() -> None:
    ends: list[bool] = []
    messages = [part(b"a", True), {"type": "http.request", "more_body": True}, part(b"", True), part(b"b", False), GONE]

    chunks = [chunk async for chunk in body_parts(receiving(messages), lambda: ends.append(True))]

    assert chunks == [b"a", b"b"]
    assert ends == [True]


async def test_a_body_whose_last_message_says_nothing_has_ended() -> None:
    assert [chunk async for chunk in body_parts(receiving([part(b"a", True), {"type": "http.request"}]))] == [b"a"]


async def test_the_chunks_of_a_client_that_disconnects_have_no_end() -> None:
    ends: list[int] = []

    with pytest.raises(ClientGone):
        _ = [chunk async for chunk in body_parts(receiving([part(b"a", True), GONE]), lambda: ends.append(1))]

    assert ends == []


async def watched(receive: Receive, stopped: bool) -> ClientWatch:
    """Return the watch of a request that is ended by it, or stops it and goes on."""
    watch = ClientWatch(receive)
    watch.start()
    try:
        if stopped:
            watch.stop()
        else:
            await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        pass
    return watch


async def test_a_request_whose_client_disconnects_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "_WATCH_AFTER_S", 0)

    watch = await asyncio.create_task(watched(receiving([part(b"", False), GONE]), stopped=False))

    assert watch.gone


async def test_a_watch_that_has_ended_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "_WATCH_AFTER_S", 0)
    asked: list[bool] = []

    async def receive() -> Message:
        asked.append(True)
        return GONE

    watch = await asyncio.create_task(watched(receive, stopped=True))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert (watch.gone, asked) == (False, [])


async def test_a_watch_that_looks_is_ended_with_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "_WATCH_AFTER_S", 0)
    looked, client_is_gone = asyncio.Event(), asyncio.Event()

    async def receive() -> Message:
        looked.set()
        await client_is_gone.wait()
        return GONE

    watch = ClientWatch(receive)
    watch.start()
    await looked.wait()
    watch.stop()
    client_is_gone.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert not watch.gone


def test_a_watch_that_was_not_started_can_be_stopped() -> None:
    async def stop() -> bool:
        watch = ClientWatch(receiving([]))
        watch.stop()
        return watch.gone

    assert asyncio.run(stop()) is False
