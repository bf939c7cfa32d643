"""One request at a time for code that was written for a worker with one request at a time.

One lock for the process, not one for each module: modules of a site share helper modules, and with them the variables
in which they keep the caller. A module that is declared safe for threads never meets the lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

from compat_auth.errors import BackendUnavailable


class FairLock:
    """A lock that serves waiting callers in the order in which they came."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._is_held = False
        self._waiting: deque[threading.Event] = deque()

    def acquire(self, timeout_s: float) -> bool:
        """Return whether the caller has the lock now, after at most that many seconds."""
        with self._guard:
            if not self._is_held:
                self._is_held = True
                return True
            turn = threading.Event()
            self._waiting.append(turn)
        if turn.wait(timeout_s):
            return True
        with self._guard:
            if turn.is_set():
                # It came between the end of the wait and here.
                return True
            self._waiting.remove(turn)
            return False

    def release(self) -> None:
        """Give the lock to the next."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_held = False


class Turn:
    """The time in which no other request is in the code."""

    def __init__(self) -> None:
        self.outlasts_check = False

    def keep(self) -> None:
        """Keep it until the view has run, if a view runs after the check in the same block of `until_answered`."""
        self.outlasts_check = True


_LOCK = FairLock()
_is_ours: ContextVar[bool] = ContextVar("compat_auth_is_ours", default=False)
_answer: ContextVar[ExitStack | None] = ContextVar("compat_auth_answer", default=None)


@contextmanager
def until_answered() -> Generator[None]:
    """Let a kept turn last until the end of the block: a view may use the values that the module left in its variables."""
    with ExitStack() as stack:
        token = _answer.set(stack)
        try:
            yield
        finally:
            _answer.reset(token)


@contextmanager
def alone(what: str, timeout_s: float) -> Generator[Turn]:
    """Run the block while no other request is in such a block; a block inside a block of the same request runs at once.

    Args:
        what: The code that waits to run, for the message.
        timeout_s: Seconds to wait.

    Raises:
        BackendUnavailable: The wait took longer.
    """
    turn = Turn()
    if _is_ours.get():
        yield turn
        return
    if not _LOCK.acquire(timeout_s):
        raise BackendUnavailable(f"{what}: another request has been in an Airflow 2 module for {timeout_s:g} s")
    with ExitStack() as mine:
        mine.callback(_LOCK.release)
        token = _is_ours.set(True)
        mine.callback(lambda: _is_ours.reset(token))
        yield turn
        if turn.outlasts_check and (stack := _answer.get()) is not None:
            stack.push(mine.pop_all())
