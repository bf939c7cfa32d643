"""The path below which callers find us: that of Airflow's `[api] base_url`. No I/O, no Flask.

Airflow answers below its path and beside it, because a proxy in front may have taken the path off. So do we.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from compat_auth.config import Settings
from compat_auth.errors import ConfigError, InvalidPath
from compat_auth.http.paths import Prefixes

# Without a segment that begins with a dot: what comes is compared after dot segments are refused.
_ROOT = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+\Z")


class RootPath:
    """A path in front of all of ours.

    Args:
        path: Without a slash at the end; "" where there is none.
    """

    def __init__(self, path: str = "") -> None:
        self.path = path
        self._below = f"{path}/".encode("ascii")
        self._again = Prefixes([f"{path}/"])

    @classmethod
    def from_settings(cls, settings: Settings) -> RootPath:
        """Return what `[serve] root_path` says, and where it is empty the path of an Airflow's `[upstream] url`.

        Raises:
            ConfigError: The path of the URL has more than one spelling.
        """
        chosen = settings.serve.root_path
        if chosen or settings.upstream.profile == "generic":
            return cls(chosen.rstrip("/"))
        try:
            path = urlsplit(settings.upstream.url).path.rstrip("/")
        except ValueError:
            path = ""  # said where the URL is used
        if path and not _ROOT.match(path):
            raise ConfigError(
                "upstream.url: its path must be letters, digits, '-', '_', '~' and '.'; or set serve.root_path"
            )
        return cls(path)

    def strip(self, path: bytes) -> bytes:
        """Return a canonical path without the path in front, where it has it.

        Raises:
            InvalidPath: What is left, or another reading of the whole, begins with the path in front once more: the
                upstream would take off what we have not.
        """
        if not self.path:
            return path
        if path == self._below[:-1]:
            return b"/"
        left = path[len(self._below) - 1 :] if path.startswith(self._below) else path
        if self._again.cover(left):
            raise InvalidPath(f"path: {self.path} is there twice, or in another spelling")
        return left
