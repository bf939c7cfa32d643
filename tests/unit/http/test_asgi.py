"""One way to answer in ASGI."""

from __future__ import annotations

from compat_auth.http.asgi import Message, respond, respond_rendered
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
