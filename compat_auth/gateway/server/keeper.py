"""A program that keeps a front proxy: it starts the proxy, passes orders on, and ends it when the gateway is gone.

    keeper.py FOLDER PROGRAM [ARGUMENT ...]

Each byte on standard input is the number of a signal for the proxy. The end of standard input says that the gateway has
ended without a word, as after SIGKILL: then the proxy ends, and the folder is removed. It leads the process group in which
all processes of the proxy are, and it imports nothing of compat_auth, so that it starts quickly and stays small.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from types import FrameType

_CAUGHT = (
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_END_S = 2.0
# Everything else in our environment may be a secret of the gateway.
_KEPT = ("PATH", "TZ", "LANG", "LC_ALL")


def keep(folder: str, command: list[str]) -> int:
    """Run the proxy to its end, and return its status as a shell would.

    Args:
        folder: Removed when the gateway is gone.
        command: The proxy and its arguments.
    """
    wakes, wake = os.pipe()
    os.set_blocking(wakes, False)
    os.set_blocking(wake, False)
    for number in _CAUGHT:
        # Handlers, which end with exec: an ignored signal would stay ignored in the proxy.
        signal.signal(number, _wake)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    environ = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # The gateway reads our standard output to learn of our end, so the proxy must not have it.
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environ) as proxy:  # noqa: S603
        while proxy.poll() is None:
            ready, _, _ = select.select([sys.stdin, wakes], [], [])
            with contextlib.suppress(BlockingIOError):
                os.read(wakes, 512)
            if sys.stdin in ready:
                orders = os.read(sys.stdin.fileno(), 512)
                if not orders:
                    _end_all(proxy, folder)
                for order in orders:
                    proxy.send_signal(order)
    # After SIGKILL of the proxy's first process its workers still serve.
    os.killpg(0, signal.SIGTERM)
    return proxy.returncode if proxy.returncode >= 0 else 128 - proxy.returncode


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the pipe wakes the loop."""


def _end_all(proxy: subprocess.Popen[bytes], folder: str) -> None:
    proxy.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        proxy.wait(_END_S)
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1], sys.argv[2:]))
