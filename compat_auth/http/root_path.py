"""The root path: the path of our public URL, like that of Airflow's `[api] base_url`. No I/O, no Flask.

Airflow answers both with and without it, because a proxy in front may have removed the path. So do we.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from compat_auth.config import Settings
from compat_auth.errors import ConfigError, InvalidPath
from compat_auth.http.paths import Prefixes

# No segment with a leading dot: a request's path is compared after dot segments are refused.
_ROOT = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+\Z")


class RootPath:
    """The path of our public URL.

    Args:
        path: Without a final slash; "" where there is none.
    """

    def __init__(self, path: str = "") -> None:
        self.path = path
        self._below = f"{path}/".encode("ascii")
        self._again = Prefixes([f"{path}/"])

    @classmethod
    def from_settings(cls, settings: Settings) -> RootPath:
        """Return the path in `[serve] root_path`, or where that is empty the path of an Airflow's `[upstream] url`.

        Raises:
            ConfigError: The path of the URL has more than one spelling.
        """
        chosen = settings.serve.root_path
        if chosen or settings.upstream.profile == "generic":
            return cls(chosen.rstrip("/"))
        try:
            path = urlsplit(settings.upstream.url).path.rstrip("/")
        except ValueError:
            path = ""  # reported where the URL is used
        if path and not _ROOT.match(path):
            raise ConfigError(
                "upstream.url: its path must be letters, digits, '-', '_', '~' and '.'; or set serve.root_path"
            )
        return cls(path)

    def strip(self, path: bytes) -> bytes:
        """Return a canonical path without the root path, if it begins with it.

        Raises:
            InvalidPath: The rest, or another reading of the whole, begins with the root path again: the upstream would
                remove what we have not.
        """
        if not self.path:
            return path
        if path == self._below[:-1]:
            return b"/"
        left = path[len(self._below) - 1 :] if path.startswith(self._below) else path
        if self._again.cover(left):
            raise InvalidPath(f"path: {self.path} occurs twice, or in another spelling")
        return left
