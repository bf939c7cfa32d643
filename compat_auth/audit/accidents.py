"""Unexpected exceptions in the log: their classes and places, without their messages, which may hold a secret.

The author of `raise ValueError(f"cannot check {password}")` did not think of logs. Only our own errors keep their
messages, because those never contain a credential.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, cast

from compat_auth.errors import CompatAuthError

if TYPE_CHECKING:
    # Only its stub has this name.
    from sys import UnraisableHookArgs

logger = logging.getLogger("compat_auth.server")

_CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
_MEANWHILE = "\nDuring handling of the above exception, another exception occurred:\n\n"
# A group within a group, and a cause of a cause: nobody reads more.
_MOST = 20


def traceback_without_messages(error: BaseException) -> str:
    """Return the traceback of an exception and of those that caused it; of each its class, not its message."""
    return "".join(_parts(error, set())).rstrip("\n")


def _parts(error: BaseException, seen: set[int]) -> Iterator[str]:
    if len(seen) >= _MOST or id(error) in seen:
        return
    seen.add(id(error))
    if error.__cause__ is not None:
        yield from _parts(error.__cause__, seen)
        yield _CAUSED
    elif error.__context__ is not None and not error.__suppress_context__:
        yield from _parts(error.__context__, seen)
        yield _MEANWHILE
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    yield f"{_shown(error)}\n"
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _parts(inner, seen)


def _shown(error: BaseException) -> str:
    name = type(error).__qualname__
    if isinstance(error, CompatAuthError):
        return f"{name}: {error}"
    # The text of a number is the system's own; strerror and the file's name could be anybody's.
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return f"{name}: {os.strerror(error.errno)}"
    return f"{name} (its message is not logged)"


def log_accidents() -> None:
    """Write the exceptions that nobody catches in this process, its threads and its destructors to the log.

    Python itself would write their messages to standard error.
    """
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _ignored
    logging.getLogger("asyncio").addFilter(_FirstLine())


class _FirstLine(logging.Filter):
    """Cuts what asyncio says about the task of an exception: it has the exception's repr."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, with the first line of its message."""
        if record.exc_info:
            record.msg, record.args = record.getMessage().partition("\n")[0], None
        return True


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logger.critical("the process ends by an unexpected exception", exc_info=(kind, error, trace))


def _uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is None or issubclass(arguments.exc_type, SystemExit):
        return
    name = arguments.thread.name if arguments.thread is not None else "unknown"
    logger.error("thread %s ended by an unexpected exception", name, exc_info=arguments.exc_value)


def _ignored(arguments: UnraisableHookArgs) -> None:
    # Not the object itself: its repr is anybody's text.
    logger.error("an exception in a %s was ignored", type(arguments.object).__qualname__, exc_info=arguments.exc_value)
