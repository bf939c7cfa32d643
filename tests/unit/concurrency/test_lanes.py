"""Work whose caller has gone: it ends, and what it raises reaches no log."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable

import pytest

from compat_auth.concurrency.lanes import Lanes
from compat_auth.errors import BackendUnavailable

FAR_S = 10


def failing_after(go: threading.Event) -> Callable[[], None]:
    def fail() -> None:
        assert go.wait(FAR_S)
        raise ValueError("of the work")

    return fail


async def settled(lanes: Lanes) -> None:
    while lanes.chain.turns.present:  # noqa: ASYNC110  # it has no event
        await asyncio.sleep(0.001)
    # asyncio tells of an error that nobody took when its task is forgotten.
    await asyncio.sleep(0.01)
    gc.collect()


@pytest.mark.parametrize("timeout_s", [0.01, FAR_S], ids=["in-time", "by-the-caller"])
async def test_an_error_after_the_caller_has_gone_reaches_no_log(
    timeout_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    lanes, go = Lanes(threads=1, timeout_s=timeout_s), threading.Event()
    asking = asyncio.ensure_future(lanes.run("192.0.2.1", failing_after(go)))
    await asyncio.sleep(0.05)

    asking.cancel()
    with pytest.raises((BackendUnavailable, asyncio.CancelledError)):
        await asking
    go.set()
    await settled(lanes)

    assert caplog.text == ""
    lanes.close()


async def test_an_error_reaches_the_caller_who_waits() -> None:
    lanes, go = Lanes(threads=1), threading.Event()
    go.set()

    with pytest.raises(ValueError, match="of the work"):
        await lanes.run("192.0.2.1", failing_after(go))

    lanes.close()
