"""The time."""

from __future__ import annotations

import time


def unix_now() -> int:
    """Return the seconds since the epoch."""
    return int(time.time())
