"""Whether the store can be used, for the page `ready`."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from compat_auth.config import parse_settings
from compat_auth.errors import BackendUnavailable
from compat_auth.store_check import StoreCheck


async def test_a_store_that_answers_is_good_and_each_look_is_a_new_one() -> None:
    looks: list[int] = []
    check = StoreCheck(lambda: looks.append(1))

    await check.require()
    await check.require()

    assert len(looks) == 2


async def test_what_is_wrong_is_said_and_said_no_more_when_it_is_mended() -> None:
    wrong = [BackendUnavailable("away")]

    def look() -> None:
        if wrong:
            raise wrong[0]

    check = StoreCheck(look)

    with pytest.raises(BackendUnavailable, match="away"):
        await check.require()
    wrong.clear()
    await check.require()


async def test_a_store_that_hangs_holds_one_thread_and_no_caller_for_long() -> None:
    released, looks = threading.Event(), list[int]()

    def look() -> None:
        looks.append(1)
        released.wait(10)

    check = StoreCheck(look, answer_s=0.2)
    began = time.monotonic()

    answers = await asyncio.gather(*(check.require() for _ in range(5)), return_exceptions=True)
    took_s = time.monotonic() - began
    released.set()

    assert [type(answer) for answer in answers] == [BackendUnavailable] * 5
    assert (len(looks), took_s < 2) == (1, True)


async def test_an_sqlite_file_that_nothing_was_written_to_need_not_be_there(tmp_path: Path) -> None:
    settings = parse_settings({"database_url": f"sqlite:///{tmp_path / 'store.db'}"}, origin="test")

    await StoreCheck.from_settings(settings).require()

    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []
