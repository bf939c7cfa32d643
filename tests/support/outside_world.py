"""What a fast test must not touch: the network, other processes, and time that passes.

Code under test may swallow an error that a guard raises, so what was touched is written down and asked for afterwards.
`time.sleep` raises no audit event before Python 3.13 and is imported by name: this module is imported before all others.
"""

from __future__ import annotations

import asyncio.base_events
import asyncio.futures
import contextvars
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, SupportsIndex

# A loop that gives way for a moment waits for nothing.
LONGEST_PAUSE = 0.05
_PROCESS = frozenset(
    ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "os.system", "pty.spawn")
)
_NETWORK = frozenset(("socket.bind", "socket.connect", "socket.sendto", "socket.gethostbyname", "socket.gethostbyaddr"))


class Touched:
    """What the test that runs now has touched, in the order of the first time."""

    def __init__(self) -> None:
        self.watching = False
        self._seen: dict[str, None] = {}
        self._earlier: frozenset[int | None] = frozenset()

    def begin(self) -> None:
        self._seen.clear()
        # A thread that outlives the test before may still pause, in the same process.
        self._earlier = frozenset(thread.ident for thread in threading.enumerate()) - {threading.get_ident()}
        self.watching = True

    def end(self) -> list[str]:
        self.watching = False
        return list(self._seen)

    def note(self, what: str) -> None:
        if self.watching:
            self._seen[what] = None

    def note_pause(self, what: str) -> None:
        if threading.get_ident() not in self._earlier:
            self.note(what)


touched = Touched()


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not touched.watching:
        return
    if event in _PROCESS:
        touched.note(f"a process ({event})")
    elif event in _NETWORK and not _leads_nowhere(args[-1]):
        touched.note(f"the network ({event} {args[-1]!r})")


def _leads_nowhere(address: object) -> bool:
    """Tell whether it is the path of a socket that is not there, such as a system's log that a test has taken away."""
    return isinstance(address, str) and address.startswith("/") and not Path(address).exists()


def _watch_time() -> None:
    sleep = time.sleep
    call_later = asyncio.base_events.BaseEventLoop.call_later
    wakes = asyncio.futures._set_result_unless_cancelled  # type: ignore[attr-defined]

    def watched_sleep(seconds: float | SupportsIndex, /) -> None:
        if seconds:
            touched.note_pause(f"time.sleep({seconds})")
        sleep(seconds)

    def watched_call_later(
        loop: asyncio.base_events.BaseEventLoop,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        if callback is not wakes or delay <= LONGEST_PAUSE:
            return call_later(loop, delay, callback, *args, context=context)

        # A task that is cancelled before its time has kept nobody waiting.
        def woken(*args: Any) -> None:
            touched.note(f"asyncio.sleep({delay})")
            callback(*args)

        return call_later(loop, delay, woken, *args, context=context)

    time.sleep = watched_sleep
    asyncio.base_events.BaseEventLoop.call_later = watched_call_later  # type: ignore[assignment, method-assign]


def watch() -> None:
    """Watch from now on; what is touched outside of a fast test is nobody's business."""
    if time.sleep.__module__ != __name__:
        sys.addaudithook(_audit)
        _watch_time()


watch()
