"""Start a module of Airflow 2 within a time, and again later where a network has failed.

Many modules fetch a key when they are imported or initialised. A start that hangs must not stop the program, and an
identity provider that was unavailable for a minute must not lock everybody out until the next restart.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

RETRY_AFTER_S = 30.0
"""Seconds between two attempts."""

_MAX_CAUSES = 8


class Start:
    """Runs the start of a module. Any thread may call.

    Args:
        attempt: Starts it; what it raises is why the module cannot run. It runs on a thread of its own, one at a time.
        describe: Returns what is wrong, for an exception of `attempt`.
        timeout_s: Seconds that the first attempt may take before the program continues without its end.
        monotonic: Clock, in seconds.
    """

    def __init__(
        self,
        attempt: Callable[[], None],
        describe: Callable[[BaseException], str],
        *,
        timeout_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attempt = attempt
        self._describe = describe
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended_at = 0.0
        self._failure: BaseException | None = None
        self._problem = ""

    def has_failed(self, failure: BaseException) -> None:
        """Record that a first attempt, which was made elsewhere, has failed; a later one is made as usual."""
        with self._lock:
            self._failure, self._problem, self._ended_at = failure, self._describe(failure), self._monotonic()

    def run(self) -> None:
        """Make the first attempt, and wait for it for `timeout_s` at most.

        Raises:
            KeyboardInterrupt: The attempt raised it.
        """
        thread = self._launch()
        thread.join(self._timeout_s)
        if isinstance(self._failure, KeyboardInterrupt):
            raise self._failure

    @property
    def problem(self) -> str:
        """Why the module cannot run now; "" where it can. Where a network was the reason, it is tried again."""
        with self._lock:
            thread = self._thread
            if thread is not None and thread.is_alive():
                return f"has not started within {self._timeout_s:g} s; it is used once it has"
            if not self._problem:
                return ""
            is_due = self._monotonic() - self._ended_at >= RETRY_AFTER_S
        if is_due and self._failure is not None and is_of_network(self._failure):
            self._launch()
        return self._problem

    def _launch(self) -> threading.Thread:
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return self._thread
            # The context: a module may look for the current app when it starts.
            context = contextvars.copy_context()
            thread = self._thread = threading.Thread(target=lambda: context.run(self._run), daemon=True)
            thread.start()
            return thread

    def _run(self) -> None:
        problem, failure = "", None
        try:
            self._attempt()
        except BaseException as exc:  # noqa: BLE001  # sys.exit() in a module must not end Airflow's API server
            failure, problem = exc, self._describe(exc)
        with self._lock:
            self._failure, self._problem, self._ended_at = failure, problem, self._monotonic()


class StartTimeout(TimeoutError):
    """A start took too long, and goes on."""


def within(timeout_s: float, start: Callable[[], T]) -> T:
    """Return the result of a function, which may go on behind if it takes longer.

    Raises:
        StartTimeout: It took longer.
        BaseException: The function raised it.
    """
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(start())
        except BaseException as exc:  # noqa: BLE001  # raised again where it is waited for
            failures.append(exc)

    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(run), daemon=True)
    thread.start()
    thread.join(timeout_s)
    if failures:
        raise failures[0]
    if not results:
        raise StartTimeout(f"has not started within {timeout_s:g} s")
    return results[0]


def is_of_network(error: BaseException) -> bool:
    """Return whether an exception says that a network or a server failed: it, or a cause of it, is an OSError.

    `requests`, `urllib`, `ldap3`, `httpx` and `jwt.PyJWKClient` raise such ones. A missing file is one, too.
    """
    seen: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if seen is None:
            return False
        if isinstance(seen, (OSError, EOFError)) and not isinstance(seen, (FileNotFoundError, PermissionError)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
