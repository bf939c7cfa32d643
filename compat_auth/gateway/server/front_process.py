"""The front proxy of `compat-auth serve --front`: a program beside the workers, which takes their clients' connections."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from compat_auth.config import ENV_PREFIX
from compat_auth.errors import ConfigError
from compat_auth.gateway.server import keeper
from compat_auth.gateway.server.tls import require_usable, state_of

logger = logging.getLogger("compat_auth.server")

EX_UNAVAILABLE = 69
"""Exit status after the front proxy has ended by itself (sysexits.h): another start may help."""


@dataclass(frozen=True, slots=True)
class FrontCommand:
    """How the front proxy is started.

    Attributes:
        arguments: Its program first; it must stay in the foreground.
        folder: For its files and the gateway's socket; nobody else may enter it.
        pid_file: It writes this file once it accepts connections.
        certificate: Files with its certificate and key; (): it speaks plain HTTP.
    """

    arguments: tuple[str, ...]
    folder: Path
    pid_file: Path
    certificate: tuple[Path, ...] = ()

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
        """Have it read its certificate again if the files have changed."""
        if state_of(self._command.certificate) != self._seen:
            self.reload()

    def reload(self) -> None:
        """Have it read its files again; with a certificate that cannot be used it goes on as before."""
        files = self._command.certificate
        self._seen = state_of(files)
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
