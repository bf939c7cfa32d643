"""An Apache password file: `name:hash`, one user a line, read again when it changes.

A user can never log in with a hash of a refused scheme or a hash that begins with `!` (disabled, as `passwd -l` does).
Nor can a name that is there twice, because nobody can tell which of the two passwords is the old one.

The file is UTF-8. A line whose name or hash is not UTF-8 disables only its own user. Comments and further fields may be
anything, and a byte order mark at the beginning does not count.
"""

from __future__ import annotations

import codecs
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compat_auth.config import Settings
from compat_auth.directory import DirectoryUser
from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.files import refuse_writable, refuse_writable_at
from compat_auth.passwords import HTPASSWD_DISABLED, decoy_like, find_fault, is_htpasswd_comment

# Under the second within which a change must be seen.
CHECK_INTERVAL_S = 0.5
SETTLED_S = 2.0  # the coarsest time stamps of a file system that is in use (FAT)
# What Apache's htpasswd writes by other options, by prefix.
_REFUSED = (("$apr1$", "MD5"), ("$1$", "MD5"), ("{SHA}", "SHA-1 without a salt"), ("$5$", "SHA-256-crypt"))
_DES_CHARS = 13
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HtpasswdContent:
    """The content of one version of the file.

    Attributes:
        users: By name; compared with case.
        problems: For people: the line, the problem and the remedy.
        decoy: A hash of no password, as costly as the costliest.
    """

    users: dict[str, DirectoryUser]
    problems: tuple[str, ...]
    decoy: str


class HtpasswdDirectory:
    """The users of an htpasswd file; names compare with case."""

    name = "htpasswd"
    needs = ("[htpasswd] file",)
    answers_without_flask = True
    knows_upstream_id = False

    def __init__(
        self, path: Path, *, monotonic: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._version: tuple[int, ...] | None = None
        self._content = HtpasswdContent({}, (), "")

    @classmethod
    def from_settings(cls, settings: Settings) -> HtpasswdDirectory:
        """Return the directory of `[htpasswd] file`.

        Raises:
            ConfigError: No file is named, or others may write to it.
        """
        if not settings.htpasswd.file:
            raise ConfigError("htpasswd.file: empty; name the file made by `compat-auth users add NAME --file FILE`")
        refuse_writable_at(Path(settings.htpasswd.file))
        return cls(Path(settings.htpasswd.file))

    def find(self, username: str) -> DirectoryUser | None:
        """Return the user of exactly that name, active or not.

        Raises:
            BackendUnavailable: The file cannot be read.
        """
        return self._current().users.get(username)

    def decoy(self) -> str:
        """Return a hash of no password, as costly to check as the costliest in the file.

        Raises:
            BackendUnavailable: The file cannot be read.
        """
        return self._current().decoy

    def problems(self) -> list[str]:
        """Return the problems of the file: where, why, and the remedy."""
        try:
            status = self._path.stat()
            refuse_writable(self._path, status)
            found = list(self._current().problems)
        except ConfigError as exc:
            return [str(exc)]
        except FileNotFoundError:
            how = f"create it: compat-auth users add NAME --file {self._path}, or correct the path"
            return [f"htpasswd.file: {self._path} does not exist; {how}"]
        except OSError as exc:
            return [
                f"htpasswd.file: {self._path} cannot be read ({exc.strerror or 'read error'}); correct the path, or chown the file"
            ]
        except BackendUnavailable as exc:
            return [f"{str(exc).partition(';')[0]}; let the user that we run as read the file, as UTF-8 text"]
        if status.st_mode & stat.S_IROTH:
            found.insert(0, f"{self._path}: everybody may read the hashes; chmod o-r {self._path}")
        return found

    def _current(self) -> HtpasswdContent:
        with self._lock:
            now = self._monotonic()
            if now - self._looked_at >= CHECK_INTERVAL_S:
                # Not the last content: an operator may have removed the file to lock everybody out.
                self._looked_at = float("-inf")
                self._reload()
                self._looked_at = now
            return self._content

    def _reload(self) -> None:
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                refuse_writable(self._path, status)
                version = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)
                if version == self._version:
                    return
                raw = file.read()
        except ConfigError as exc:
            self._version = None
            raise BackendUnavailable(f"htpasswd {exc}") from None
        except OSError as exc:
            self._version = None
            raise BackendUnavailable(
                f"htpasswd {self._path}: cannot be read ({exc.strerror or 'read error'}); see `compat-auth check`"
            ) from exc
        try:
            content = parse_htpasswd(raw, origin=str(self._path))
        except ValueError as exc:
            self._version = None
            raise BackendUnavailable(f"htpasswd {exc}") from None
        if content.problems and content.problems != self._content.problems:
            more = f" ({len(content.problems)} such lines; see `compat-auth check`)" if content.problems[1:] else ""
            _log.warning("htpasswd %s%s", content.problems[0], more)
        self._content = content
        # A file changed twice within one tick of the clock looks the same: believe only a version that has settled.
        self._version = version if self._now() - status.st_mtime > SETTLED_S else None


def parse_htpasswd(raw: bytes, *, origin: str) -> HtpasswdContent:
    """Return the users of an htpasswd file; a malformed line is a problem, never a user.

    Args:
        raw: The file.
        origin: The file's name in messages.

    Raises:
        ValueError: No user's line is UTF-8; says the next step.
    """
    if raw.startswith(_UTF16):
        problem = f"{origin}:1: the file is UTF-16, so nobody can log in; save it as UTF-8"
        return HtpasswdContent({}, (problem,), decoy_like(()))
    users: dict[str, DirectoryUser] = {}
    first_lines: dict[str, int] = {}
    problems: list[str] = []
    hashes: list[str] = []
    unreadable = 0
    # Not splitlines(), which also ends a line at characters that are data in a name.
    for number, line in enumerate(raw.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        entry = line.rstrip(b"\r")
        if not entry.strip() or is_htpasswd_comment(entry):
            continue
        where = f"{origin}:{number}"
        # What a further field holds is a comment of other tools, in any encoding.
        first, colon, rest = entry.partition(b":")
        try:
            name, stored = first.decode("utf-8"), rest.partition(b":")[0].decode("utf-8").strip()
        except UnicodeDecodeError:
            unreadable += 1
            shown = first.decode("utf-8", "replace")
            problems.append(f"{where}: {shown!r} cannot log in: the line is not UTF-8; save the file as UTF-8")
            continue
        if not colon or not name:
            problems.append(f"{where}: not of the form name:hash; the line is ignored; mend or delete it")
            continue
        if name in users:
            users[name] = DirectoryUser(name, active=False)
            problems.append(f"{where}: {name!r} is also on line {first_lines[name]}; neither can log in; delete one")
            continue
        first_lines[name] = number
        active = not stored.startswith(HTPASSWD_DISABLED)
        fault = _fault(stored.lstrip(HTPASSWD_DISABLED))
        if fault and active:
            problems.append(
                f"{where}: {name!r} cannot log in: {fault}; run `compat-auth users set-password {name} --file {origin}`"
            )
        usable = stored if active and not fault else ""
        users[name] = DirectoryUser(name, active=active, password_hash=usable)
        hashes.append(usable)
    if unreadable and not users:
        raise ValueError(f"{origin}: cannot be read: none of its lines is UTF-8; save it as UTF-8")
    return HtpasswdContent(users, tuple(problems), decoy_like(hashes))


def _fault(stored: str) -> str:
    for prefix, scheme in _REFUSED:
        if stored.startswith(prefix):
            return f"{scheme} is not accepted"
    if find_fault(stored) == find_fault(""):
        return "DES crypt is not accepted" if len(stored) == _DES_CHARS else "no hash, or plain text, is not accepted"
    return find_fault(stored)
