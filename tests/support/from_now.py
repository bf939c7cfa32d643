"""Times in claims that count from when a token is made: a whole run takes longer than many a token lives."""

from __future__ import annotations

import time
from collections.abc import Callable


class FromNow:
    """A time some seconds from now, taken when `json.dumps(…, default=written)` writes it.

    Args:
        seconds: From then on; negative before.
        shape: Makes of the time what the claim has instead of a number.
    """

    def __init__(self, seconds: float, shape: Callable[[float], object] = lambda at: at) -> None:
        self._seconds = seconds
        self._shape = shape

    def value(self) -> object:
        """Return the time in seconds since the epoch, in its shape; whole where the seconds are."""
        now = time.time()
        return self._shape((now if isinstance(self._seconds, float) else int(now)) + self._seconds)


def written(value: object) -> object:
    """Return what JSON has in the place of a `FromNow`.

    Raises:
        TypeError: It is another thing that JSON does not know.
    """
    if isinstance(value, FromNow):
        return value.value()
    raise TypeError(f"{type(value).__name__} is not JSON")
