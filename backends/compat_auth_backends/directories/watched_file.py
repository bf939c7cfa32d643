"""A file that is read again when it changes; an old version is never used."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from compat_auth.errors import BackendUnavailable, ConfigError
from compat_auth.files import refuse_writable

T = TypeVar("T")

CHECK_INTERVAL_S = 0.5  # under the second within which a change must be seen
SETTLED_S = 2.0  # the coarsest time stamps of a file system that is in use (FAT)


class WatchedFile(Generic[T]):
    """The parsed content of a text file in UTF-8, with or without a byte order mark; any thread may ask.

    Args:
        path: The file.
        parse: Makes the content of the text; raises ValueError for a bad text, and its message says where and why.
        label: The file's name in messages.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[str], T],
        *,
        label: str,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._parse = parse
        self._label = label
        self._monotonic = monotonic
        self._now = now
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._version: tuple[int, ...] | None = None
        self._content: T | None = None

    def current(self) -> T:
        """Return the content, at most half a second old.

        Raises:
            BackendUnavailable: The file cannot be read or parsed.
        """
        with self._lock:
            now = self._monotonic()
            if self._content is None or now - self._looked_at >= CHECK_INTERVAL_S:
                content = self._reload(self._content)
                self._content, self._looked_at = content, now
                return content
            return self._content

    def _reload(self, known: T | None) -> T:
        # Not the last content: an operator may have removed the file to lock everybody out.
        self._content = None
        try:
            with self._path.open(encoding="utf-8-sig") as file:
                status = os.fstat(file.fileno())
                refuse_writable(self._path, status)
                version = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)
                if version == self._version and known is not None:
                    return known
                content = self._parse(file.read())
        except ConfigError as exc:
            raise BackendUnavailable(f"{self._label} {exc}") from None
        except OSError as exc:
            raise BackendUnavailable(f"{self._label} {self._path}: cannot be read ({exc.strerror})") from exc
        except UnicodeDecodeError as exc:
            raise BackendUnavailable(f"{self._label} {self._path}: not UTF-8") from exc
        except ValueError as exc:
            raise BackendUnavailable(f"{self._label} {self._path}: {exc}; see `compat-auth check`") from exc
        # A file changed twice within one tick of the clock looks the same: believe only a version that has settled.
        self._version = version if self._now() - status.st_mtime > SETTLED_S else None
        return content
