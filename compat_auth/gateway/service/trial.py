"""Tries a configuration in a process of its own, which ends with it: what is wrong there changes nothing here."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import time
from collections.abc import Callable

from compat_auth.errors import CompatAuthError
from compat_auth.gateway.service.forking import fork, send

TRIAL_S = 60.0
"""Seconds that a trial may take."""
_CHUNK_BYTES = 4096
_MAX_TEXT_BYTES = 8192
_GOOD, _BAD = b"+", b"-"


def problem_of(error: BaseException) -> str:
    """Return the text of a CompatAuthError, and only the type of any other error, whose text may hold a secret."""
    if isinstance(error, CompatAuthError):
        return str(error)
    return f"an unexpected {type(error).__name__} while it was built; report it with the output of compat-auth check"


class Trial:
    """A trial under way.

    Args:
        check: Raises where the configuration must not be used.
        prepare: Called first in the new process.

    Attributes:
        answers: Readable once the trial has ended.

    Raises:
        OSError: No process can be started.
    """

    def __init__(self, check: Callable[[], None], prepare: Callable[[], None]) -> None:
        self.answers, answer = os.pipe()
        os.set_blocking(self.answers, False)
        self._text = b""
        self._ends_at = time.monotonic() + TRIAL_S
        try:
            self._child = fork(lambda: _run(check, prepare, answer))
        except OSError:
            os.close(self.answers)
            raise
        finally:
            os.close(answer)

    def outcome(self) -> str | None:
        """Return None while it runs, "" if the configuration can be used, else why not."""
        is_over = time.monotonic() > self._ends_at
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.answers, _CHUNK_BYTES):
                self._text += data
            is_over = True
        if not is_over:
            return None
        self.end()
        if self._text.startswith(_BAD):
            return self._text[1:].decode("utf-8", "replace")
        if self._text == _GOOD:
            return ""
        return f"its check did not end within {TRIAL_S:g} s, or was killed; compat-auth check shows where it waits"

    def forget(self) -> None:
        """Close our end of the pipe, in a process that was forked."""
        with contextlib.suppress(OSError):
            os.close(self.answers)

    def end(self) -> None:
        """End it at once."""
        if self._child:
            send(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
            self._child = 0
            os.close(self.answers)


def _run(check: Callable[[], None], prepare: Callable[[], None], answer: int) -> int:
    prepare()
    # Also where the parent was killed: nobody else would end a check that hangs.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(math.ceil(TRIAL_S) + 5)
    # The parent says the same when it builds the configuration.
    logging.disable(logging.CRITICAL)
    try:
        check()
    except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the configuration before goes on
        text = problem_of(error).encode("utf-8", "replace")
        os.write(answer, _BAD + text[:_MAX_TEXT_BYTES])
        return 1
    os.write(answer, _GOOD)
    return 0
