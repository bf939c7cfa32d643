"""Users whom Linux-PAM accepts on this machine, by a separate service file.

A few processes ask PAM: see `pam_worker`. Each is busy during its check, which after a wrong password takes
about two seconds; further checks wait, and clients take turns. A process that does not answer in time is
killed.

PAM's answer for a client's address is reused for that password during `[basic_auth] cache_ttl_s`: set it to 0 if
the service file distinguishes addresses (pam_access).
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import stat
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from compat_auth.config import ENV_PREFIX, PamSettings, Settings
from compat_auth.directory import DirectoryUser, PasswordAccepted, UserRefused, accepted_or_none
from compat_auth.errors import BackendUnavailable, ConfigError, Overloaded
from compat_auth.facts import client_address
from compat_auth.passwords import HashPool
from compat_auth.resilience import CircuitBreaker, network_of
from compat_auth_backends.directories import pam_worker

# Where Linux-PAM looks for service files.
SYSTEM_FOLDERS = (Path("/etc/pam.d"), Path("/usr/lib/pam.d"), Path("/usr/etc/pam.d"))
# Not meant for the network: "login" is the console's, "other" is what stands in for a service that is not there.
_NOT_OURS = frozenset({"login", "other"})
_SERVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
# Codes that say nothing of the user (Linux-PAM's <security/_pam_types.h>). PAM_SYSTEM_ERR (4) is not among them: it is
# what pam_exec makes of a script's no.
_UNAVAILABLE = {
    1: "PAM_OPEN_ERR",
    2: "PAM_SYMBOL_ERR",
    3: "PAM_SERVICE_ERR",
    5: "PAM_BUF_ERR",
    9: "PAM_AUTHINFO_UNAVAIL",
    26: "PAM_ABORT",
    28: "PAM_MODULE_UNKNOWN",
    31: "PAM_INCOMPLETE",
}
# Codes that are about a user who is known.
_REFUSED = {
    11: "locked (PAM_MAXTRIES)",
    12: "password to be changed first (PAM_NEW_AUTHTOK_REQD)",
    13: "account expired (PAM_ACCT_EXPIRED)",
    16: "credentials expired (PAM_CRED_EXPIRED)",
    27: "password expired (PAM_AUTHTOK_EXPIRED)",
}
_LONGEST_ANSWER = 65536
# PAM takes two seconds over a wrong password. Where it has answered nobody for longer, a module hangs.
_PATIENCE_S = 6.0


class PamDirectory:
    """Users of this machine, authenticated by a PAM service."""

    name = "pam"
    needs = ("[pam] service",)
    answers_without_flask = True

    def __init__(self, settings: PamSettings, *, max_waiting: int = 64) -> None:
        self._settings = settings
        self._pool = HashPool(settings.workers, max_waiting=max_waiting)
        self._outage = CircuitBreaker(patience_s=_PATIENCE_S)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []

    @classmethod
    def from_settings(cls, settings: Settings) -> PamDirectory:
        """Return the directory of `[pam] service`; its processes start at first use.

        Raises:
            ConfigError: No service is named, it must not be used by this program, or this machine has no Linux-PAM.
        """
        service = settings.pam.service
        if not service:
            raise ConfigError("pam.service: empty; name a service file of its own, such as compat_auth in /etc/pam.d")
        if service in _NOT_OURS or not _SERVICE.fullmatch(service):
            raise ConfigError(f"pam.service: {service!r} cannot be used; give compat_auth a service file of its own")
        _require_library(settings.pam)
        return cls(settings.pam, max_waiting=settings.basic_auth.max_waiting)

    def check(self, username: str, password: str) -> PasswordAccepted | None:
        """Return the user when PAM accepts password and account; None when it does not.

        Raises:
            BackendUnavailable: PAM could not ask, or did not answer in time.
            Overloaded: Too many checks wait.
        """
        return accepted_or_none(self.decide(username, password))

    def decide(self, username: str, password: str) -> PasswordAccepted | UserRefused | None:
        """Return the user when PAM accepts password and account; `UserRefused` when it refuses only the account.

        Raises:
            BackendUnavailable: PAM could not ask, or did not answer in time.
            Overloaded: Too many checks wait.
        """
        # PAM takes C strings: what follows a NUL would not count.
        if not password or "\0" in password or not username or not username.isprintable():
            return None
        host = client_address()
        try:
            with self._outage.trying():
                code, user = self._pool.run(lambda: self._ask(username, password, host), client=network_of(host))
        except ConnectionError as exc:
            raise Overloaded(f"pam {self._settings.service}: {exc}") from exc
        if code in _UNAVAILABLE:
            raise BackendUnavailable(
                f"pam {self._settings.service}: could not ask ({_UNAVAILABLE[code]}); see the system's log of authentication"
            )
        if code in _REFUSED:
            return UserRefused(_REFUSED[code])
        if code != pam_worker.PAM_SUCCESS and user:
            return UserRefused(f"the account may not be used (PAM's code {code})")
        if code != pam_worker.PAM_SUCCESS or not user or not user.isprintable():
            return None
        return PasswordAccepted(DirectoryUser(user))

    def problems(self) -> list[str]:
        """Return the problems of the service file: where, why, and the remedy."""
        folders = (Path(self._settings.confdir),) if self._settings.confdir else SYSTEM_FOLDERS
        files = [folder / self._settings.service for folder in folders if (folder / self._settings.service).is_file()]
        if not files:
            return [f"{folders[0] / self._settings.service}: no such file, so PAM would take 'other'; create it"]
        return [
            f"{path}: others may write to it, and so could log in as any user; chmod go-w {path}"
            for path in (files[0], files[0].parent)
            if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        ]

    def close(self) -> None:
        """End the processes that are idle; the next question starts a new one."""
        if self._pid != os.getpid():
            return
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()

    def _ask(self, username: str, password: str, host: str) -> tuple[int, str]:
        worker = self._take()
        try:
            answer = worker.ask(username, password, host, timeout_s=self._settings.timeout_s)
        except BaseException:
            worker.end()
            raise
        with self._lock:
            self._idle.append(worker)
        return answer

    def _take(self) -> _Worker:
        if self._pid != os.getpid():
            # Those processes are the children of the one that we were forked from.
            self._pid, self._lock, self._idle = os.getpid(), threading.Lock(), []
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive():
                    return worker
                worker.end()
        return _Worker(self._settings)


class _Worker:
    """One process in its own group, so that the children of its modules end with it."""

    def __init__(self, settings: PamSettings) -> None:
        self._label = f"pam {settings.service}"
        # -I: neither the working directory nor PYTHONPATH lends a module to what sees passwords.
        # What PAM starts has no business with our secrets.
        environ = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
        command = [sys.executable, "-I", pam_worker.__file__, settings.service, settings.confdir]
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own module, by this interpreter
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environ,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as exc:
            raise BackendUnavailable(f"{self._label}: no process can be started ({exc.strerror})") from exc
        self._end = weakref.finalize(self, _end, self._process)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._end()

    def ask(self, username: str, password: str, host: str, *, timeout_s: float) -> tuple[int, str]:
        """Return PAM's code and the user's name.

        Raises:
            BackendUnavailable: No answer in time, or the process has ended.
        """
        question = json.dumps({"user": username, "password": password, "host": host}) + "\n"
        try:
            _channel(self._process.stdin).write(question.encode())
            answer = self._read(timeout_s)
        except OSError as exc:
            raise BackendUnavailable(f"{self._label}: the process has ended ({exc.strerror})") from exc
        return int(cast("int", answer["code"])), str(answer["user"])

    def _read(self, timeout_s: float) -> dict[str, object]:
        channel = _channel(self._process.stdout)
        deadline = time.monotonic() + timeout_s
        line = b""
        while not line.endswith(b"\n") and len(line) < _LONGEST_ANSWER:
            poll = select.poll()
            poll.register(channel, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise BackendUnavailable(f"{self._label}: no answer within {timeout_s:g} s; the process was killed")
            part = channel.read(_LONGEST_ANSWER)
            if not part:
                raise BackendUnavailable(f"{self._label}: the process ended before it answered; a module has crashed")
            line += part
        return cast("dict[str, object]", json.loads(line))


def _channel(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:  # pragma: no cover  # both were asked for
        raise OSError(0, "no pipe")
    return stream


def _end(process: subprocess.Popen[bytes]) -> None:
    # Its own child and not yet waited for, so that the id cannot belong to anybody else.
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    process.wait()


def _require_library(settings: PamSettings) -> None:
    try:
        library = pam_worker.load_library()
    except OSError as exc:
        raise ConfigError(f"pam: {pam_worker.LIBRARY} cannot be loaded; install Linux-PAM (Debian: libpam0g)") from exc
    if not settings.confdir:
        return
    if not pam_worker.has_folders(library):
        raise ConfigError("pam.confdir: this Linux-PAM is older than 1.4; move the service file to /etc/pam.d")
    if not Path(settings.confdir).is_dir():
        raise ConfigError(f"pam.confdir: {settings.confdir}: no such folder; name the one with the service file")
