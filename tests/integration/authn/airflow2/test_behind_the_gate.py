"""An unmodified Airflow 2 module behind the gate: whose request it sees, which body, and which headers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import flask
import pytest

from compat_auth.authn.airflow2.backend import LegacyBackend
from support.stand_ins import http_scope, make_decider, make_parts


class Module:
    def __init__(self, behave: Callable[[Any], Any]) -> None:
        self.behave = behave

    def init_app(self, app: flask.Flask) -> None:
        pass

    def requires_authentication(self, function: Any) -> Any:
        return lambda: self.behave(function)


class Upstream:
    """Answers, and remembers the bodies that reach it, part by part."""

    def __init__(self) -> None:
        self.bodies: list[list[bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        parts: list[bytes] = []
        more = True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        self.bodies.append(parts)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


class Holder:
    """Keeps its caller in a variable, as a module may where a worker handles one request at a time."""

    name: str | None = None
    inside = 0
    most = 0

    def behave(self, function: Any) -> Any:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.name = flask.request.headers.get("X-Ticket")
        time.sleep(0.005)
        flask.g.user = self
        answer = function() if self.name else ("no", 401)
        self.inside -= 1
        return answer

    @property
    def username(self) -> str | None:
        return self.name


async def test_nobody_goes_on_as_somebody_else(upstream: Upstream) -> None:
    holder = Holder()
    one, two = (LegacyBackend(Module(holder.behave), name) for name in ("one", "two"))
    parts = [make_parts(upstream, make_decider(backend)) for backend in (one, two)]
    gates = [part.gate({}) for part in parts]
    users = [f"user{number}" for number in range(40)]

    async def as_user(number: int, user: str) -> str:
        request = gates[number % 2]._take_in(
            http_scope(headers=[(b"x-ticket", user.encode())], client=f"192.0.2.{number}")
        )
        decision: Any = await parts[number % 2].identification.decide(request)
        return str(decision.identity.username)

    seen = await asyncio.gather(*(as_user(number, user) for number, user in enumerate(users)))

    assert seen == users
    assert holder.most == 1


def test_in_a_flask_app_the_view_runs_before_the_next_request_is_in_the_module() -> None:
    holder = Holder()
    app = flask.Flask("test")
    backend = LegacyBackend(Module(holder.behave), "holder")

    @app.get("/")
    def view() -> str:
        time.sleep(0.005)
        return str(flask.g.user.username)

    app.view_functions["view"] = backend.requires_authentication(view)
    seen: dict[str, str] = {}

    def ask(user: str) -> None:
        seen[user] = app.test_client().get("/", headers={"X-Ticket": user}).text

    threads = [threading.Thread(target=ask, args=(f"user{number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(user == name for user, name in seen.items())
    assert len(seen) == 12
