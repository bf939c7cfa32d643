"""Stages over sockets: the fast paths leave staged requests to the application, and answer all others as before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from compat_auth.config import Settings
from compat_auth.stages.enforcement import Stages
from compat_auth.stages.memory import StageMemory
from compat_auth.stages.rules import StageRule
from compat_auth.stages.stored import row_of
from compat_auth.store.migration import open_store
from compat_auth.store.tables.stage_rules import StageRuleRows
from support.fast_world import ALICE, SECRET, WAIT_S, Answer, World, get, worlds
from support.staged import NOON, PAGE, Moment, brownout, rule

TRUSTING = f'trusted_proxies = ["127.0.0.1/32"]\n[stages]\npage = "{PAGE}"'


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Moment:
    """The clock of the stages of every gateway that starts."""
    moment = Moment(NOON - 10)

    def at_that_moment(_class: type[Stages], settings: Settings, backends: tuple[object, ...]) -> Stages:
        return Stages(StageMemory.from_settings(settings), backends, page=settings.stages.page, now=moment)  # type: ignore[arg-type]  # those of a chain

    monkeypatch.setattr(Stages, "from_settings", classmethod(at_that_moment))
    return moment


@pytest_asyncio.fixture
async def world(now: Moment, tmp_path: Path) -> AsyncIterator[World]:
    del now
    async with worlds(tmp_path, TRUSTING) as found:
        yield found


@pytest.fixture
def rows(world: World, tmp_path: Path) -> Iterator[StageRuleRows]:
    """The table of the gateway with the fast paths."""
    del world
    found = StageRuleRows(open_store(f"sqlite:///{tmp_path / 'fast' / 'store.db'}"))
    yield found
    found.close()


def question(page: bytes) -> bytes:
    told = (b"X-Compat-Auth-Proxy-Secret: " + SECRET, b"X-Original-URI: /api/v2/x", b"X-Original-Method: GET")
    lines = told[:1] if page == b"lane" else told
    return get(b"/compat-auth/forward-auth/" + page, *lines, authorization=ALICE)


async def until(world: World, raw: bytes, wanted: Callable[[Answer], bool]) -> Answer:
    """Ask until the gateway has heard of the change."""
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not wanted(answer := await world.fast.ask(raw)):
        assert asyncio.get_running_loop().time() < deadline, answer
        await asyncio.sleep(0.05)
    world.fast.asked = 0
    return answer


def put(rows: StageRuleRows, given: StageRule) -> None:
    rows.set(row_of(given, now=NOON, by="test"))


def is_announced(answer: Answer) -> bool:
    return b"deprecation" in dict(answer.headers)


async def test_a_warned_request_takes_the_ordinary_way_until_the_rule_goes(world: World, rows: StageRuleRows) -> None:
    put(rows, rule("warn", "basic_auth", deprecated=NOON, sunset=NOON + 60))
    warned = await until(world, get(), is_announced)
    rows.remove("basic_auth", "", "")
    await until(world, get(), lambda answer: not is_announced(answer))
    await world.fast.ask(get())

    assert (warned.status, dict(warned.headers)[b"deprecation"]) == (200, b"@1800000000")
    assert dict(warned.headers)[b"link"].startswith(f"<{PAGE}>".encode())
    # It took the fast way again.
    assert world.fast.asked == 0


async def test_a_rule_about_others_leaves_the_fast_way_as_it_is(world: World, rows: StageRuleRows) -> None:
    put(rows, rule("off", "basic_auth", "v1"))
    put(rows, rule("off", "basic_auth", principal="bob"))
    put(rows, rule("warn", "basic_auth", "GET /api/v2/y", deprecated=NOON))
    await until(world, get(b"/api/v2/y"), is_announced)

    answer = await world.fast.ask(get())

    assert (answer.status, is_announced(answer), world.fast.asked) == (200, False, 0)


@pytest.mark.parametrize("page", [b"", b"nginx", b"lane"], ids=["proxy", "forward-auth", "lane"])
async def test_a_brownout_holds_to_the_second_on_a_kept_connection(
    page: bytes, world: World, rows: StageRuleRows, now: Moment
) -> None:
    raw = question(page) if page else get()
    put(rows, brownout(NOON, 60, "basic_auth", deprecated=NOON - 5))
    await until(world, get(), is_announced)

    statuses: list[int] = []
    async with world.fast.connected() as client:
        for second in (NOON - 0.001, NOON, NOON + 59.999, NOON + 60):
            now.second = second
            statuses.append((await client.ask(raw)).status)

    # The lane leaves such a credential to the gateway at all times, and so the window is the gateway's.
    wanted = {b"": [200, 410, 410, 200], b"nginx": [200, 401, 401, 200], b"lane": [401] * 4}
    assert statuses == wanted[page]


async def test_the_lane_answers_again_when_nothing_is_staged(world: World, rows: StageRuleRows) -> None:
    put(rows, rule("warn", "basic_auth", deprecated=NOON))
    staged = await until(world, question(b"lane"), lambda answer: answer.status == 401)
    rows.remove("basic_auth", "", "")
    again = await until(world, question(b"lane"), lambda answer: answer.status == 200)

    assert (staged.body, again.status) == (b"", 200)


async def test_a_token_made_before_a_brownout_is_refused_in_it(world: World, rows: StageRuleRows, now: Moment) -> None:
    made = await world.fast.ask(get(b"/auth/token"))
    token = made.body.split(b'"')[3]
    bearer = get(authorization=b"Authorization: Bearer " + token)
    put(rows, brownout(NOON, 60, "basic_auth", deprecated=NOON - 5))
    await until(world, get(), is_announced)

    before = await world.fast.ask(bearer)
    now.second = NOON
    refused = await world.fast.ask(bearer)
    no_token = await world.fast.ask(get(b"/auth/token"))
    now.second = NOON + 60
    after = await world.fast.ask(bearer)

    assert made.status == 201
    assert (before.status, refused.status, no_token.status, after.status) == (200, 410, 410, 200)
    assert dict(no_token.headers)[b"retry-after"] == b"60"


async def test_a_refused_use_does_not_count_as_a_wrong_password(world: World, rows: StageRuleRows) -> None:
    put(rows, rule("off", "basic_auth"))
    await until(world, get(), lambda answer: answer.status == 401)
    refused = [(await world.fast.ask(get(b"/auth/token"))).status for _ in range(25)]
    rows.remove("basic_auth", "", "")
    await until(world, get(), lambda answer: answer.status == 200)

    assert set(refused) == {401}
    assert (await world.fast.ask(get(b"/auth/token"))).status == 201
