"""The front proxy of `compat-auth serve --front`: a program beside the workers, which takes their clients' connections."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from compat_auth.config import ENV_PREFIX
from compat_auth.errors import ConfigError
from compat_auth.gateway.server import keeper
from compat_auth.gateway.server.tls import require_usable, state_of
from compat_auth.gateway.server.worker import GRACE_S
from compat_auth.gateway.server.worker_states import Stop, WorkerStates

logger = logging.getLogger("compat_auth.server")

EX_UNAVAILABLE = 69
"""Exit status after the front proxy has ended by itself (sysexits.h): another start may help."""
_LAST_ANSWERS_S = 6.0
FRONT_END_S = GRACE_S + _LAST_ANSWERS_S
"""How long the front proxy may take to end, in seconds: until then the workers accept its connections."""


@dataclass(slots=True)
class FrontFiles:
    """The files of a front proxy that may change while it runs.

    Attributes:
        certificate: Files with its certificate and key; (): it speaks plain HTTP.
        written: How often its configuration was written.
    """

    certificate: tuple[Path, ...] = ()
    written: int = 0


@dataclass(frozen=True, slots=True)
class FrontCommand:
    """How the front proxy is started.

    Attributes:
        arguments: Its program first; it must stay in the foreground.
        folder: For its files and the gateway's socket; nobody else may enter it.
        pid_file: It writes this file once it accepts connections.
        files: What it reads that may change while it runs.
    """

    arguments: tuple[str, ...]
    folder: Path
    pid_file: Path
    files: FrontFiles = field(default_factory=FrontFiles)

    @property
    def certificate(self) -> tuple[Path, ...]:
        """Files with its certificate and key; (): it speaks plain HTTP."""
        return self.files.certificate

    def renewed(self, certificate: tuple[Path, ...]) -> None:
        """Note that its configuration was written, with this certificate."""
        self.files.certificate = certificate
        self.files.written += 1

    @property
    def name(self) -> str:
        """The name of its program."""
        return Path(self.arguments[0]).name


class FrontProcess:
    """The running front proxy. nginx understands these signals: QUIT ends it once its requests are answered.

    Args:
        command: How it is started.
    """

    def __init__(self, command: FrontCommand) -> None:
        self.name = command.name
        self._command = command
        self._seen = state_of(command.certificate)
        self._written = command.files.written
        # Without what configures us, which may be secret.
        environ = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
        self._keeper = subprocess.Popen(  # noqa: S603  # our own program, and the proxy found in PATH
            [sys.executable, "-I", keeper.__file__, str(command.folder), *command.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            # A terminal's signals are for us alone: the proxy ends when we say so.
            start_new_session=True,
        )
        assert self._keeper.stdin is not None  # noqa: S101  # pipes, as asked for
        assert self._keeper.stdout is not None  # noqa: S101
        self._orders = self._keeper.stdin.fileno()
        self.ends = self._keeper.stdout.fileno()
        """Readable once the proxy has ended."""
        os.set_blocking(self.ends, False)
        self._lives = True

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        if self._lives:
            with contextlib.suppress(BlockingIOError):
                self._lives = bool(os.read(self.ends, 1))
        return self._lives

    @property
    def is_ready(self) -> bool:
        """Whether it accepts connections."""
        return self._command.pid_file.exists()

    def refresh(self) -> None:
        """Have it read its files again if they have changed."""
        if self._written != self._command.files.written or state_of(self._command.certificate) != self._seen:
            self.reload()

    def reload_certificate(self) -> None:
        """Have it read its certificate again; without one, its files if they have changed.

        A reload for nothing has a price: nginx closes the connections that are idle then, and a request may be on its way.
        """
        if self._command.certificate:
            self.reload()
        else:
            self.refresh()

    def reload(self) -> None:
        """Have it read its files again; with a certificate that cannot be used it goes on as before."""
        files = self._command.certificate
        self._seen, self._written = state_of(files), self._command.files.written
        try:
            if files:
                require_usable(files[0], files[1])
        except (ConfigError, OSError) as error:
            logger.error("%s; the certificate before it stays in use", error)  # noqa: TRY400  # nothing more to say
            return
        logger.info("%s reads its files again", self.name)
        self._order(signal.SIGHUP)

    def quit(self) -> None:
        """Let it answer its requests, and accept no connection."""
        self._order(signal.SIGQUIT)

    def end(self) -> None:
        """End what is left of it, at once."""
        if self._keeper.returncode is not None:
            return
        # Its keeper is our child and not yet waited for, so its id belongs to nobody else.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._keeper.pid, signal.SIGKILL)
        self._keeper.wait()
        self._lives = False
        self.forget()

    def forget(self) -> None:
        """Close our ends of its pipes; in a process that was forked, where they would hide our end from it."""
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _order(self, number: signal.Signals) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._orders, bytes([number]))


def watch_front(front: FrontProcess, states: WorkerStates) -> int:
    """Return 0 while the front proxy lives; stop the replica once it has ended, and return the exit status.

    It is not started again: what starts the gateway starts both in a known state, and a front proxy that cannot work
    would end again and again. Workers of the front proxy that end are replaced by itself.
    """
    if front.lives:
        front.refresh()
        return 0
    logger.error("%s has ended, so this gateway ends, too; its own lines above may say why", front.name)
    states.stop = Stop.SOON
    return EX_UNAVAILABLE


def end_front(front: FrontProcess, states: WorkerStates, wait: Callable[[], None], *, drain_s: float) -> None:
    """End the front proxy; meanwhile the workers answer the requests that it still sends.

    Args:
        front: The front proxy.
        states: The states of the workers; how quickly they stop decides how long its requests may take.
        wait: Waits for a moment, and obeys signals.
        drain_s: How long it still accepts connections.
    """
    began = time.monotonic()
    while front.lives and states.stop is Stop.DRAINED and time.monotonic() - began < drain_s:
        wait()
    front.quit()
    began = time.monotonic()
    while front.lives and states.stop is not Stop.NOW and time.monotonic() - began < GRACE_S:
        wait()
    if front.lives:
        # The workers answer 503 to what is left, and the front proxy passes that on.
        states.stop = Stop.NOW
        began = time.monotonic()
        while front.lives and time.monotonic() - began < _LAST_ANSWERS_S:
            wait()
    front.end()
    states.stop = max(states.stop, Stop.SOON)
