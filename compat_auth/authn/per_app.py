"""What there is once in a Flask app, in `app.extensions`: made at the first call, the same object at every other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, cast

from flask import Flask

T = TypeVar("T")
# What is made may need something else of the same app, hence a lock that the same thread may take twice.
_lock = threading.RLock()


def one_per_app(app: Flask, name: str, make: Callable[[], T]) -> T:
    """Return what the app has under the name, made now where it has nothing there.

    Args:
        app: The app.
        name: Key in `app.extensions`.
        make: Makes it; where this raises, nothing is kept, and the next call tries again.

    Raises:
        Exception: What `make` raises.
    """
    with _lock:
        if name not in app.extensions:
            app.extensions[name] = make()
        return cast("T", app.extensions[name])
