"""Forks a process of `compat-auth serve`: no handler of the parent runs in it, and it never returns to the parent's code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable

UNUSED_SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""By default, these signals end a process."""
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, *UNUSED_SIGNALS)
"""The signals that the parent interprets."""


def fork(run: Callable[[], int]) -> int:
    """Return the process id of a child that runs a function, and exits with the status that the function returns.

    Raises:
        OSError: No process can be started.
    """
    # A signal between the fork and the child's own handlers would run the parent's handlers.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        child = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else _wait_for_the_loop)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        status = run()
    except SystemExit:
        pass
    except BaseException as error:  # noqa: BLE001  # the process ends here, so nobody above would say what it was
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        # A child that waits for the thread of a stuck backend would never exit.
        os._exit(status)


def send(child: int, number: signal.Signals) -> None:
    """Send a signal to a child that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _wait_for_the_loop(_number: int, _frame: object) -> None:
    """Do nothing: the worker reads the shared memory once its event loop runs."""
