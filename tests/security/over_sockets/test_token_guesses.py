"""Guessing at personal tokens: who floods has to wait and costs no query; nobody else is shut out by it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlencode

import flask
import pytest

from compat_auth.app import Gateway
from compat_auth.authn.revocation_events import RevocationEvents
from compat_auth.config import Settings
from compat_auth.crypto.personal_token_format import make_text
from compat_auth.extension import CompatAuth, requires_authentication
from compat_auth.personal_tokens.service import PersonalTokens, no_upstream
from compat_auth.store.tables.personal_tokens import PersonalToken, PersonalTokenRows
from support.security.token_gateway import make_token, opened, settings_with_tokens
from support.security.upstream import Recorder
from support.stand_ins import Sent, basic, call, http_scope

ENOUGH = 3
ATTACKER, NEIGHBOUR, STRANGER = "192.0.2.66", "192.0.2.66", "198.51.100.1"


@pytest.fixture
def settings(tmp_path: Path, upstream: Recorder) -> Settings:
    rules = {"failures_per_minute": ENOUGH}
    return settings_with_tokens(tmp_path, upstream.port, personal_tokens=rules, trusted_proxies=["10.0.0.0/8"])


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with opened(settings) as gateway:
        yield gateway


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids about which the store was asked."""
    ids: list[str] = []
    real: Callable[[PersonalTokenRows, str], PersonalToken | None] = PersonalTokenRows.find

    def find(rows: PersonalTokenRows, token_id: str) -> PersonalToken | None:
        ids.append(token_id)
        return real(rows, token_id)

    monkeypatch.setattr(PersonalTokenRows, "find", find)
    return ids


async def show(gateway: Gateway, text: str, client: str = ATTACKER, *more: tuple[bytes, bytes]) -> Sent:
    headers = [(b"authorization", f"Bearer {text}".encode()), *more]
    return await call(gateway, http_scope(b"/api/v2/dags", headers, client=client))


async def flood(gateway: Gateway, token_id: str = "", client: str = ATTACKER, times: int = 2 * ENOUGH) -> list[int]:
    return [(await show(gateway, make_text(token_id).value, client)).status for _ in range(times)]


async def test_a_flood_from_one_address_has_to_wait_and_asks_the_store_no_more(
    gateway: Gateway, asked: list[str]
) -> None:
    statuses = await flood(gateway)
    sent = await show(gateway, make_text().value)

    assert statuses == [401] * ENOUGH + [429] * ENOUGH
    assert 50 < int(dict(sent.headers)[b"retry-after"]) <= 60
    assert len(asked) == ENOUGH


async def test_a_flood_for_one_id_has_to_wait_from_every_address_that_takes_part(
    gateway: Gateway, settings: Settings, asked: list[str]
) -> None:
    made = make_token(settings)
    clients = [f"192.0.2.{number}" for number in range(10)]

    once = [await flood(gateway, made.token.id, client, 1) for client in clients]
    again = [await flood(gateway, made.token.id, client, 1) for client in clients]

    assert once == [[401]] * 10
    assert again == [[429]] * 10
    assert asked == [made.token.id] * 10


async def test_who_knows_an_id_cannot_lock_its_owner_out(gateway: Gateway, settings: Settings) -> None:
    made = make_token(settings)
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        await flood(gateway, made.token.id, client)

    sent = await show(gateway, made.text, STRANGER)

    assert sent.status == 200


@pytest.mark.parametrize("is_bearer", [True, False])
async def test_a_token_that_has_worked_is_not_shut_out_by_a_neighbour_who_guesses(
    gateway: Gateway, settings: Settings, is_bearer: bool
) -> None:
    made = make_token(settings)
    value = f"Bearer {made.text}" if is_bearer else basic("alice", made.text)
    scope = http_scope(b"/api/v2/dags", [(b"authorization", value.encode())], client=NEIGHBOUR)
    before = (await call(gateway, scope)).status
    await flood(gateway)
    await flood(gateway, made.token.id)

    warm = (await call(gateway, scope)).status
    gateway._core.decider._verified.forget_owner("alice")
    cold = (await call(gateway, scope)).status

    assert (before, warm, cold) == (200, 200, 200)


async def test_a_token_that_is_new_to_this_process_waits_with_its_neighbour(
    gateway: Gateway, settings: Settings
) -> None:
    made = make_token(settings)
    await flood(gateway)

    sent = await show(gateway, made.text, NEIGHBOUR)

    assert sent.status == 429


async def test_other_credentials_of_the_address_do_not_wait(gateway: Gateway) -> None:
    await flood(gateway)
    password = (b"authorization", basic("alice", "wonder").encode())

    sent = await call(gateway, http_scope(b"/api/v2/dags", [password], client=NEIGHBOUR))

    assert sent.status == 200


async def test_a_text_that_cannot_be_a_token_is_no_guess(gateway: Gateway, settings: Settings) -> None:
    made = make_token(settings)

    statuses = {
        (await show(gateway, made.text[:-1] + letter)).status for letter in "abcdefgh" if letter != made.text[-1]
    }
    sent = await show(gateway, made.text)

    assert (statuses, sent.status) == ({401}, 200)


async def test_a_dead_token_waits_alone(gateway: Gateway, settings: Settings, asked: list[str]) -> None:
    dead, alive = make_token(settings, name="dead"), make_token(settings, name="alive")
    PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream).revoke(dead.token)

    statuses = [(await show(gateway, dead.text)).status for _ in range(2 * ENOUGH)]
    sent = await show(gateway, alive.text)

    assert statuses == [401] * ENOUGH + [429] * ENOUGH
    assert sent.status == 200
    assert asked.count(dead.token.id) == ENOUGH


async def test_a_token_that_has_worked_and_is_dead_now_is_no_longer_waved_through(
    gateway: Gateway, settings: Settings, asked: list[str]
) -> None:
    made = make_token(settings)
    await show(gateway, made.text)
    PersonalTokens.from_settings(settings, RevocationEvents(), revoke_upstream=no_upstream).revoke(made.token)
    gateway._core.decider._verified.forget_owner("alice")
    asked.clear()

    statuses = [(await show(gateway, made.text)).status for _ in range(2 * ENOUGH)]

    assert statuses == [401] * ENOUGH + [429] * ENOUGH
    assert len(asked) == ENOUGH


async def test_a_customer_of_ipv6_has_one_count_for_all_his_addresses(gateway: Gateway) -> None:
    own = [await flood(gateway, client=f"2001:db8:1:2::{number}", times=1) for number in range(1, 6)]
    other = await flood(gateway, client="2001:db8:1:3::1", times=1)

    assert own == [[401]] * ENOUGH + [[429]] * 2
    assert other == [401]


async def test_ipv4_seen_through_ipv6_is_not_one_client(gateway: Gateway) -> None:
    await flood(gateway, client=f"::ffff:{ATTACKER}")

    other = await flood(gateway, client=f"::ffff:{STRANGER}", times=1)

    assert other == [401]


async def test_a_forwarded_address_counts_only_from_a_trusted_proxy(gateway: Gateway) -> None:
    def told(number: int) -> tuple[bytes, bytes]:
        return (b"x-forwarded-for", b"203.0.113.%d" % number)

    forged = [(await show(gateway, make_text().value, ATTACKER, told(number))).status for number in range(6)]
    behind = [(await show(gateway, make_text().value, "10.0.0.1", told(number))).status for number in range(6)]

    assert forged == [401] * ENOUGH + [429] * ENOUGH
    assert behind == [401] * 6


async def test_no_one_learns_from_waiting_whether_there_is_such_a_token(gateway: Gateway, settings: Settings) -> None:
    made = make_token(settings)

    known = await flood(gateway, made.token.id, "192.0.2.1")
    unknown = await flood(gateway, make_text().id, "192.0.2.2")

    assert known == unknown


async def test_introspection_does_not_call_a_token_bad_that_nobody_has_looked_at(
    gateway: Gateway, settings: Settings
) -> None:
    made = make_token(settings)
    await flood(gateway)
    headers = [
        (b"authorization", basic("alice", "wonder").encode()),
        (b"content-type", b"application/x-www-form-urlencoded"),
    ]

    sent = await call(
        gateway,
        http_scope(b"/compat-auth/introspect", headers, method="POST", client=NEIGHBOUR),
        urlencode({"token": made.text}).encode(),
    )

    assert sent.status == 429
    assert json.loads(sent.body)["title"] == "Too many requests"


def test_a_view_makes_guessers_wait_too(settings: Settings) -> None:
    app = flask.Flask("site")
    CompatAuth(app, settings)
    app.add_url_rule("/", view_func=requires_authentication(lambda: "in"))
    client = app.test_client()

    answers = [client.get("/", headers={"Authorization": f"Bearer {make_text().value}"}) for _ in range(2 * ENOUGH)]

    assert [answer.status_code for answer in answers] == [401] * ENOUGH + [429] * ENOUGH
    assert int(answers[-1].headers["Retry-After"]) > 0
